import { describe, expect, test } from "bun:test";
import type * as coreV1 from "../api/gen/core/v1.ts";
import { podRequests } from "./requests.ts";

const container = (cpu: string, more: Partial<coreV1.Container> = {}): coreV1.Container =>
  ({ name: "c", resources: { requests: { cpu } }, ...more }) as coreV1.Container;

describe("podRequests", () => {
  test("takes the larger of all containers together and each init container with the sidecars before it", () => {
    const spec = {
      containers: [container("100m"), container("200m")],
      initContainers: [container("50m", { restartPolicy: "Always" }), container("400m"), container("10m", { restartPolicy: "Always" })],
    } as coreV1.PodSpec;
    expect(podRequests(spec).get("cpu")).toBe(450);
  });

  test("lets pod-level requests take the place of sums, and adds the overhead", () => {
    const spec = { containers: [container("100m")], resources: { requests: { cpu: "1" } }, overhead: { cpu: "20m" } } as coreV1.PodSpec;
    expect(podRequests(spec).get("cpu")).toBe(1020);
  });

  test("counts a container without requests as 100m and 200Mi when it is scored", () => {
    const spec = { containers: [{ name: "c" }] } as coreV1.PodSpec;
    expect([...podRequests(spec)]).toEqual([]);
    expect(podRequests(spec, true)).toEqual(
      new Map([
        ["cpu", 100],
        ["memory", 200 * 2 ** 20],
      ]),
    );
  });
});
