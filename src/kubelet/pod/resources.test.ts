import { describe, expect, test } from "bun:test";
import { makePod } from "../testing/pods.ts";
import { cpuWeight } from "./cgroup.ts";
import { containerResources, cpuQuota, cpuShares, oomScoreAdj, podCgroup, podTotals, qosClass } from "./resources.ts";

const Gi = 2 ** 30;
const pod = (requests?: Record<string, string>, limits?: Record<string, string>) =>
  makePod({ containers: [{ name: "a", resources: { ...(requests ? { requests } : {}), ...(limits ? { limits } : {}) } }] });

describe("the QoS class", () => {
  const cases: [string, ReturnType<typeof pod>, string][] = [
    ["nothing asked for", pod(), "BestEffort"],
    ["a request", pod({ cpu: "1" }), "Burstable"],
    ["limits for both", pod(undefined, { cpu: "1", memory: "1Gi" }), "Guaranteed"],
    ["requests that equal limits in other words", pod({ cpu: "1000m", memory: "1024Mi" }, { cpu: "1", memory: "1Gi" }), "Guaranteed"],
    ["a limit for one only", pod(undefined, { cpu: "1" }), "Burstable"],
    ["a request below its limit", pod({ cpu: "1", memory: "1Gi" }, { cpu: "2", memory: "1Gi" }), "Burstable"],
  ];
  for (const [title, p, expected] of cases) test(`with ${title} is ${expected}`, () => expect(qosClass(p.spec)).toBe(expected as never));
});

test("CPU becomes shares, quota and weight within the kernel's ranges", () => {
  expect([0, 1, 250, 1000, 1_000_000].map(cpuShares)).toEqual([2, 2, 256, 1024, 262_144]);
  expect([0, 5, 250, 2000].map(cpuQuota)).toEqual([0, 1000, 25_000, 200_000]);
  expect([2, 1024, 262_144].map(cpuWeight)).toEqual([1, 39, 10_000]);
});

test("the OOM score follows the class and the share of memory", () => {
  const of = (p: ReturnType<typeof pod>) => oomScoreAdj(p, p.spec.containers[0]!, 4 * Gi);
  expect(of(pod())).toBe(1000);
  expect(of(pod(undefined, { cpu: "1", memory: "1Gi" }))).toBe(-997);
  expect(of(pod({ memory: "1Gi" }))).toBe(750);
  expect(of(pod({ memory: "4Gi" }))).toBe(3);
  expect(of(pod({ cpu: "1" }))).toBe(999);
});

test("a container's resources are its limits and requests", () => {
  const p = pod({ cpu: "100m" }, { cpu: "500m", memory: "64Mi" });
  expect(containerResources(p, p.spec.containers[0]!, 4 * Gi)).toMatchObject({
    cpuShares: 102n,
    cpuQuota: 50_000n,
    memoryLimitInBytes: 67_108_864n,
  });
});

test("a pod's totals are its containers and sidecars, or its largest init container", () => {
  const resources = (cpu: string) => ({ resources: { requests: { cpu }, limits: { cpu } } });
  const spec = makePod({
    initContainers: [
      { name: "big", ...resources("3") },
      { name: "side", restartPolicy: "Always", ...resources("1") },
    ],
    containers: [
      { name: "a", ...resources("1") },
      { name: "b", ...resources("500m") },
    ],
  }).spec;
  expect(podTotals(spec)).toMatchObject({ cpuRequest: 3000, cpuLimit: 3000, memoryLimit: undefined });
  expect(podTotals({ ...spec, overhead: { cpu: "250m" } }).cpuRequest).toBe(3250);
});

test("a pod's cgroup stands below its class", () => {
  expect(podCgroup("/kubun-x", pod())).toBe("/kubun-x/kubepods/besteffort/podu1");
  expect(podCgroup("/", pod({ cpu: "1" }))).toBe("/kubepods/burstable/podu1");
  expect(podCgroup("/", pod(undefined, { cpu: "1", memory: "1Gi" }))).toBe("/kubepods/podu1");
});
