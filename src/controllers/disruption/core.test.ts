import { expect, test } from "bun:test";
import type * as coreV1 from "../../api/gen/core/v1.ts";
import type * as policyV1 from "../../api/gen/policy/v1.ts";
import { reconcileBudget } from "./core.ts";

const now = Date.UTC(2026, 0, 1);
const pods = (ready: number, unready = 0): coreV1.Pod[] =>
  Array.from({ length: ready + unready }, (_, i) => ({
    metadata: { name: `p${i}` },
    spec: { containers: [] },
    status: { phase: "Running", conditions: [{ type: "Ready", status: i < ready ? "True" : "False" }] },
  }));
const budget = (
  spec: policyV1.PodDisruptionBudgetSpec,
  status?: Partial<policyV1.PodDisruptionBudgetStatus>,
): policyV1.PodDisruptionBudget => ({
  metadata: { name: "b", generation: 2 },
  spec,
  status: status as policyV1.PodDisruptionBudgetStatus,
});

const cases: [spec: policyV1.PodDisruptionBudgetSpec, ready: number, unready: number, scale: number, allowed: number, desired: number][] = [
  [{ minAvailable: 2 }, 3, 0, 3, 1, 2],
  [{ minAvailable: 2 }, 2, 1, 3, 0, 2],
  [{ minAvailable: "50%" }, 3, 0, 3, 1, 2],
  [{ maxUnavailable: 1 }, 3, 0, 3, 1, 2],
  [{ maxUnavailable: 1 }, 2, 1, 3, 0, 2],
  [{ maxUnavailable: "30%" }, 10, 0, 10, 3, 7],
  [{ minAvailable: 0 }, 0, 0, 0, 0, 0],
];
for (const [spec, ready, unready, scale, allowed, desired] of cases)
  test(`with ${JSON.stringify(spec)}, ${ready} ready and ${unready} not of ${scale}, ${allowed} may be evicted`, () => {
    const { status } = reconcileBudget({ budget: budget(spec), pods: pods(ready, unready), scale, now });
    expect(status).toMatchObject({ disruptionsAllowed: allowed, desiredHealthy: desired, currentHealthy: ready, observedGeneration: 2 });
    expect(status.conditions?.[0]).toMatchObject({ type: "DisruptionAllowed", status: allowed > 0 ? "True" : "False" });
  });

test("an eviction that was allowed counts until its pod goes, or for two minutes", () => {
  const b = budget({ minAvailable: 1 }, { disruptedPods: { p0: new Date(now - 60_000).toISOString(), p9: new Date(now).toISOString() } });
  const look = reconcileBudget({ budget: b, pods: pods(3), scale: 3, now });
  expect(look.status).toMatchObject({ currentHealthy: 2, disruptionsAllowed: 1 });
  expect(Object.keys(look.status.disruptedPods!)).toEqual(["p0"]);
  expect(look.requeueAfter).toBe(60_000);
  expect(reconcileBudget({ budget: b, pods: pods(3), scale: 3, now: now + 60_000 }).status).toMatchObject({
    currentHealthy: 3,
    disruptionsAllowed: 2,
  });
});

test("where the wanted number is not known nothing may be evicted, unless the budget names a number", () => {
  const scale = new Error('found no controllers for pod "p0"');
  expect(reconcileBudget({ budget: budget({ maxUnavailable: 1 }), pods: pods(3), scale, now }).status).toMatchObject({
    disruptionsAllowed: 0,
    conditions: [{ reason: "SyncFailed", message: scale.message }],
  });
  expect(reconcileBudget({ budget: budget({ minAvailable: 1 }), pods: pods(3), scale, now }).status.disruptionsAllowed).toBe(2);
});
