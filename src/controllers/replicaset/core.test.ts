import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type * as coreV1 from "../../api/gen/core/v1.ts";
import { isActive } from "../framework/pods.ts";
import { burstReplicas, manage, nextLook, nextStatus, type ReplicaSpec } from "./core.ts";
import { podsToDelete } from "./ranking.ts";

const now = Date.UTC(2026, 0, 1);
const ago = (seconds: number) => new Date(now - seconds * 1000).toISOString();

interface Options {
  node?: string;
  phase?: coreV1.PodPhase;
  readyFor?: number;
  cost?: string;
  restarts?: number;
  age?: number;
  deleted?: boolean;
}

const pod = (name: string, o: Options = {}): coreV1.Pod => ({
  metadata: {
    name,
    uid: name,
    creationTimestamp: ago(o.age ?? 1000),
    labels: { app: "web" },
    ...(o.cost ? { annotations: { "controller.kubernetes.io/pod-deletion-cost": o.cost } } : {}),
    ...(o.deleted ? { deletionTimestamp: ago(0) } : {}),
  },
  spec: { containers: [], ...(o.node === "" ? {} : { nodeName: o.node ?? "n1" }) },
  status: {
    phase: o.phase ?? "Running",
    conditions: o.readyFor === undefined ? [] : [{ type: "Ready", status: "True", lastTransitionTime: ago(o.readyFor) }],
    containerStatuses: [{ name: "c", restartCount: o.restarts ?? 0 } as coreV1.ContainerStatus],
  },
});
const spec = (replicas: number, more: Partial<ReplicaSpec> = {}): ReplicaSpec => ({
  replicas,
  minReadySeconds: 0,
  templateLabels: { app: "web" },
  deleting: false,
  ...more,
});

describe("of two pods the first to be deleted is the one", () => {
  const cases: [why: string, first: coreV1.Pod, second: coreV1.Pod][] = [
    ["without a node", pod("b", { node: "" }), pod("a", { phase: "Pending" })],
    ["that is pending", pod("b", { phase: "Pending" }), pod("a")],
    ["that is not ready", pod("b"), pod("a", { readyFor: 10 })],
    ["that costs less", pod("b", { readyFor: 10, cost: "-5" }), pod("a", { readyFor: 10 })],
    ["that has been ready for a shorter time", pod("b", { readyFor: 10 }), pod("a", { readyFor: 1000 })],
    ["that restarted more often", pod("b", { readyFor: 10, restarts: 3 }), pod("a", { readyFor: 10 })],
    ["that is younger", pod("b", { readyFor: 10, age: 10 }), pod("a", { readyFor: 10, age: 1000 })],
  ];
  for (const [why, first, second] of cases)
    test(why, () => {
      expect(podsToDelete([second, first], [second, first], 1, now)[0]).toBe(first);
      expect(podsToDelete([first, second], [second, first], 1, now)[0]).toBe(first);
    });

  test("whose node has more pods of the family", () => {
    const alone = pod("a", { readyFor: 10, node: "n2" });
    const crowded = pod("b", { readyFor: 10, node: "n1" });
    const cousin = pod("c", { readyFor: 10, node: "n1" });
    expect(podsToDelete([alone, crowded], [alone, crowded, cousin], 1, now)).toEqual([crowded]);
  });
});

test("pods that are missing are made and pods too many are deleted, 500 at a time", () => {
  const five = Array.from({ length: 5 }, (_, i) => pod(`p${i}`));
  expect(manage(spec(7), five, () => five, now)).toEqual({ create: 2 });
  expect(manage(spec(2000), five, () => five, now)).toEqual({ create: burstReplicas });
  expect((manage(spec(3), five, () => five, now) as { remove: coreV1.Pod[] }).remove.length).toBe(2);
  expect(manage(spec(5), five, () => five, now)).toBeUndefined();
  expect(manage(spec(9, { deleting: true }), five, () => five, now)).toBeUndefined();
  // Pods that are finished or going do not count.
  expect(manage(spec(1), [pod("a", { phase: "Failed" }), pod("b", { deleted: true })], () => [], now)).toEqual({ create: 1 });
});

test("the status counts what is there, ready and available, and is written only when it changes", () => {
  const pods = [pod("a", { readyFor: 100 }), pod("b", { readyFor: 5 }), pod("c"), pod("d", { deleted: true })];
  const s = spec(3, { minReadySeconds: 30 });
  const status = nextStatus(s, 4, undefined, pods, undefined, now)!;
  expect(status).toEqual({ replicas: 3, fullyLabeledReplicas: 3, readyReplicas: 2, availableReplicas: 1, observedGeneration: 4 });
  expect(nextStatus(s, 4, status, pods, undefined, now)).toBeUndefined();
  expect(nextLook(s, pods, now)).toBe(25_000);
  const failed = nextStatus(s, 4, status, pods, { reason: "FailedCreate", message: "quota" }, now)!;
  expect(failed.conditions).toMatchObject([{ type: "ReplicaFailure", status: "True", reason: "FailedCreate", message: "quota" }]);
  expect(nextStatus(s, 4, failed, pods, undefined, now)).toEqual(status);
});

test("whatever order events come in, the pods end at the wanted number and never exceed it", () => {
  // "see" delivers the oldest event to the cache, "look" reconciles, the others change the world.
  const step = fc.constantFrom("see", "see", "look", "kill", "scale");
  fc.assert(
    fc.property(fc.array(step, { maxLength: 120 }), fc.infiniteStream(fc.nat(12)), (steps, numbers) => {
      const real = new Map<string, coreV1.Pod>();
      const cache = new Map<string, coreV1.Pod>();
      const events: (() => void)[] = [];
      let [made, expectedCreations, wanted, most] = [0, 0, 3, 3];
      const expectedDeletions = new Set<string>();
      const drop = (name: string) => {
        real.delete(name);
        events.push(() => {
          cache.delete(name);
          expectedDeletions.delete(name);
        });
      };
      const look = () => {
        if (expectedCreations > 0 || expectedDeletions.size > 0) return;
        const todo = manage(spec(wanted), [...cache.values()], () => [...cache.values()], now);
        if (todo && "create" in todo) {
          expectedCreations = todo.create;
          for (let i = 0; i < todo.create; i++) {
            const p = pod(`p${made++}`);
            real.set(p.metadata.name!, p);
            events.push(() => {
              cache.set(p.metadata.name!, p);
              expectedCreations--;
            });
          }
        } else if (todo)
          for (const p of todo.remove) {
            expectedDeletions.add(p.metadata.name!);
            if (real.has(p.metadata.name!)) drop(p.metadata.name!);
          }
      };
      for (const s of steps) {
        if (s === "see") events.shift()?.();
        else if (s === "look") look();
        else if (s === "kill") {
          const names = [...real.keys()];
          const name = names[numbers.next().value % Math.max(1, names.length)];
          if (name) drop(name);
        } else {
          wanted = numbers.next().value;
          most = Math.max(most, wanted);
        }
        expect([...real.values()].filter(isActive).length).toBeLessThanOrEqual(most);
      }
      for (let i = 0; i < 100; i++) {
        while (events.length > 0) events.shift()!();
        look();
      }
      expect(real.size).toBe(wanted);
    }),
    { numRuns: 300 },
  );
});
