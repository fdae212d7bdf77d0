import { describe, expect, test } from "bun:test";
import type * as coreV1 from "../../api/gen/core/v1.ts";
import { container, exited, makePod, runtimePod, sandbox, verdicts } from "../testing/pods.ts";
import { computePodActions, type PodActions, restartsAfter, type Verdicts } from "./actions.ts";
import type { RuntimePod } from "./runtime-pod.ts";

/** One line for what is to be done, so that a table of cases can be read. */
function summary(a: PodActions): string {
  const parts = [
    a.killPod ? "kill pod" : "",
    a.createSandbox ? `sandbox ${a.attempt}` : "",
    ...a.kill.map((k) => `kill ${k.container.name} (${k.reason})`),
    ...a.initContainers.map((c) => `init ${c.name}`),
    ...a.ephemeralContainers.map((c) => `debug ${c.name}`),
    ...a.containers.map((c) => `start ${c.name}`),
  ];
  return parts.filter((p) => p !== "").join(", ") || "nothing";
}

const two: Partial<coreV1.PodSpec> = {
  containers: [
    { name: "a", image: "img:1" },
    { name: "b", image: "img:1" },
  ],
};
const inits: Partial<coreV1.PodSpec> = {
  initContainers: [
    { name: "i1", image: "img:1" },
    { name: "i2", image: "img:1" },
  ],
};
const sidecar: Partial<coreV1.PodSpec> = {
  initContainers: [
    { name: "side", image: "img:1", restartPolicy: "Always" },
    { name: "i2", image: "img:1" },
  ],
};
const up = [sandbox()];

const cases: [title: string, spec: Partial<coreV1.PodSpec>, rt: RuntimePod, expected: string, verdicts?: Partial<Verdicts>][] = [
  ["a new pod gets its sandbox and containers", two, runtimePod([], []), "kill pod, sandbox 0, start a, start b"],
  ["a running pod is left alone", two, runtimePod(up, [container("a"), container("b")]), "nothing"],
  ["a missing container is started", two, runtimePod(up, [container("a")]), "start b"],
  ["a container that ended is started again", two, runtimePod(up, [container("a"), exited("b", 0)]), "start b"],
  [
    "OnFailure starts only what failed",
    { ...two, restartPolicy: "OnFailure" },
    runtimePod(up, [exited("a", 0), exited("b", 1)]),
    "start b",
  ],
  [
    "Never starts nothing again and ends the pod",
    { ...two, restartPolicy: "Never" },
    runtimePod(up, [exited("a", 0), exited("b", 1)]),
    "kill pod",
  ],
  ["Never waits for what still runs", { ...two, restartPolicy: "Never" }, runtimePod(up, [exited("a", 0), container("b")]), "nothing"],
  ["a changed image replaces its container", {}, runtimePod(up, [container("a", { hash: "other" })]), "kill a (Changed), start a"],
  [
    "a failed liveness probe restarts",
    {},
    runtimePod(up, [container("a")]),
    "kill a (LivenessProbe), start a",
    { livenessFailed: () => true },
  ],
  [
    "a failed liveness probe only kills with Never",
    { restartPolicy: "Never" },
    runtimePod(up, [container("a")]),
    "kill a (LivenessProbe)",
    { livenessFailed: () => true },
  ],
  [
    "a failed startup probe restarts",
    {},
    runtimePod(up, [container("a")]),
    "kill a (StartupProbe), start a",
    { startupFailed: () => true },
  ],
  [
    "a dead sandbox is replaced by the next attempt",
    {},
    runtimePod([sandbox({ ready: false })], [exited("a", 137)]),
    "kill pod, sandbox 1, start a",
  ],
  ["a sandbox without an address is replaced", {}, runtimePod([sandbox({ ips: [] })], [container("a")]), "kill pod, sandbox 1, start a"],
  [
    "on the host's network no address is missed",
    { hostNetwork: true },
    runtimePod([sandbox({ ips: [], hostNetwork: true })], [container("a")]),
    "nothing",
  ],
  ["a finished pod gets no new sandbox", { restartPolicy: "Never" }, runtimePod([sandbox({ ready: false })], [exited("a", 0)]), "kill pod"],
  [
    "what succeeded under OnFailure gets no new sandbox",
    { restartPolicy: "OnFailure" },
    runtimePod([sandbox({ ready: false })], [exited("a", 0)]),
    "kill pod",
  ],
  ["init containers come first", inits, runtimePod([], []), "kill pod, sandbox 0, init i1"],
  ["a running init container holds up the rest", inits, runtimePod(up, [container("i1")]), "nothing"],
  ["the next init container follows one that succeeded", inits, runtimePod(up, [exited("i1", 0)]), "init i2"],
  ["a failed init container is tried again", inits, runtimePod(up, [exited("i1", 1)]), "init i1"],
  ["a failed init container ends a pod with Never", { ...inits, restartPolicy: "Never" }, runtimePod(up, [exited("i1", 1)]), "kill pod"],
  ["containers start after the last init container", inits, runtimePod(up, [exited("i1", 0), exited("i2", 0)]), "start a"],
  ["init containers don't run again while containers do", inits, runtimePod(up, [container("a")]), "nothing"],
  [
    "a new sandbox runs init containers again",
    inits,
    runtimePod([sandbox({ id: "s1", attempt: 1 }), sandbox({ ready: false })], [exited("a", 1), exited("i1", 0), exited("i2", 0)]),
    "init i1",
  ],
  ["a sidecar starts and the next init container waits for it", sidecar, runtimePod(up, []), "init side"],
  ["the next init container follows a started sidecar", sidecar, runtimePod(up, [container("side")]), "init i2"],
  ["a sidecar that has not started holds up the rest", sidecar, runtimePod(up, [container("side")]), "nothing", { started: () => false }],
  [
    "a sidecar that ended is started beside the containers",
    sidecar,
    runtimePod(up, [exited("side", 1), exited("i2", 0), container("a")]),
    "init side",
  ],
  [
    "a sidecar does not keep a finished pod",
    { ...sidecar, restartPolicy: "Never" },
    runtimePod(up, [container("side"), exited("i2", 0), exited("a", 0)]),
    "kill pod",
  ],
  [
    "a debug container starts beside the others",
    { ephemeralContainers: [{ name: "d", image: "img:1" }] },
    runtimePod(up, [container("a")]),
    "debug d",
  ],
  [
    "a debug container that ended is not started again",
    { ephemeralContainers: [{ name: "d", image: "img:1" }] },
    runtimePod(up, [container("a"), exited("d", 0)]),
    "nothing",
  ],
  [
    "a container of unknown state is killed and started",
    {},
    runtimePod(up, [container("a", { state: "unknown" })]),
    "kill a (Unknown), start a",
  ],
];

describe("computePodActions", () => {
  for (const [title, spec, rt, expected, v] of cases) {
    test(title, () => {
      expect(summary(computePodActions(makePod(spec), rt, verdicts(v)))).toBe(expected);
    });
  }

  test("a pod that is being deleted starts nothing", () => {
    const pod = makePod(two, { deletionTimestamp: "2026-01-01T00:00:00Z" });
    expect(summary(computePodActions(pod, runtimePod(up, [container("a")]), verdicts()))).toBe("nothing");
  });

  test("restart rules of a container win over the policies", () => {
    const spec = makePod({ restartPolicy: "Never" }).spec;
    const rules: coreV1.Container = {
      name: "a",
      restartPolicy: "Never",
      restartPolicyRules: [{ action: "Restart", exitCodes: { operator: "In", values: [42] } }],
    };
    expect([restartsAfter(rules, spec, 42), restartsAfter(rules, spec, 1), restartsAfter(rules, spec, 0)]).toEqual([true, false, false]);
  });
});
