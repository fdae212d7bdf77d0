// The sequence of a rolling update as data, and that no order of events breaks
// its bounds.
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { KubeObject } from "../../api/object.ts";
import type { Write } from "../framework/write.ts";
import { reconcileDeployment } from "./core.ts";
import { sameTemplate, templateHash } from "./hash.ts";
import { type Deployment, maxSurge, maxUnavailable, type ReplicaSet, replicasOf, scaled } from "./numbers.ts";

const start = Date.UTC(2026, 0, 1);

/** An apiserver and perfect ReplicaSets in a few lines: pods are numbers. */
class World {
  now = start;
  #version = 1;
  deployment: Deployment;
  sets = new Map<string, ReplicaSet>();
  events: string[] = [];

  constructor(d: Deployment) {
    this.deployment = d;
  }

  reconcile(): Write[] {
    const plan = reconcileDeployment({ deployment: this.deployment, sets: [...this.sets.values()], podsOf: () => [], now: this.now });
    for (const w of plan.writes) this.#apply(w);
    return plan.writes;
  }

  #apply(w: Write): void {
    if (w.op === "event") this.events.push(w.message);
    else if (w.op === "delete") this.sets.delete(w.on.metadata.name!);
    else if (w.op === "create" || w.op === "update") {
      const object = w.object as KubeObject;
      if (object.kind === "Deployment") {
        const d = object as Deployment;
        this.deployment = {
          ...this.deployment,
          metadata: { ...d.metadata, generation: this.deployment.metadata.generation },
          status: d.status,
        };
      } else {
        const rs = object as ReplicaSet;
        const name = rs.metadata.name!;
        const before = this.sets.get(name);
        const creationTimestamp = before?.metadata.creationTimestamp ?? new Date(start + this.#version++ * 1000).toISOString();
        const metadata = { ...rs.metadata, uid: name, creationTimestamp, generation: (before?.metadata.generation ?? 0) + 1 };
        this.sets.set(name, { ...rs, metadata, status: before?.status ?? { replicas: 0 } });
      }
    }
  }

  /** A ReplicaSet's pods come or go until it has what it asks for; those that go are unavailable ones first. */
  settle(rs: ReplicaSet): void {
    const available = Math.min(rs.status?.availableReplicas ?? 0, replicasOf(rs));
    this.#status(rs, replicasOf(rs), available);
  }

  /** `n` more of its pods become available, or fewer when negative. */
  ready(rs: ReplicaSet, n: number): void {
    const replicas = rs.status?.replicas ?? 0;
    this.#status(rs, replicas, Math.max(0, Math.min(replicas, (rs.status?.availableReplicas ?? 0) + n)));
  }

  #status(rs: ReplicaSet, replicas: number, available: number): void {
    const status = { replicas, readyReplicas: available, availableReplicas: available, observedGeneration: rs.metadata.generation };
    this.sets.set(rs.metadata.name!, { ...rs, status });
  }

  edit(change: (spec: Deployment["spec"]) => Deployment["spec"]): void {
    const { metadata, spec } = this.deployment;
    this.deployment = { ...this.deployment, metadata: { ...metadata, generation: (metadata.generation ?? 1) + 1 }, spec: change(spec) };
  }

  get total(): number {
    return [...this.sets.values()].reduce((n, rs) => n + Math.max(replicasOf(rs), 0), 0);
  }
  get available(): number {
    return [...this.sets.values()].reduce((n, rs) => n + (rs.status?.availableReplicas ?? 0), 0);
  }
  /** Sizes by image, as "v1:3 v2:1". */
  get sizes(): string {
    return [...this.sets.values()].map((rs) => `${rs.spec.template?.spec?.containers[0]?.image}:${replicasOf(rs)}`).join(" ");
  }
  byImage(image: string): ReplicaSet {
    return [...this.sets.values()].find((rs) => rs.spec.template?.spec?.containers[0]?.image === image)!;
  }

  /** Until nothing more is wanted while every pod becomes available. */
  finish(): void {
    for (let i = 0; i < 500; i++) {
      for (const rs of [...this.sets.values()]) this.settle(rs);
      for (const rs of [...this.sets.values()]) this.ready(this.sets.get(rs.metadata.name!)!, 1000);
      if (this.reconcile().length === 0) return;
    }
    throw new Error("never done");
  }
}

function web(replicas: number, maxSurge: number | string = "25%", maxUnavailable: number | string = "25%"): Deployment {
  return {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name: "web", namespace: "default", uid: "d", generation: 1 },
    spec: {
      replicas,
      selector: { matchLabels: { app: "web" } },
      template: template("v1"),
      strategy: { type: "RollingUpdate", rollingUpdate: { maxSurge, maxUnavailable } },
      revisionHistoryLimit: 10,
      progressDeadlineSeconds: 600,
    },
  };
}
const template = (image: string) => ({ metadata: { labels: { app: "web" } }, spec: { containers: [{ name: "c", image }] } });

describe("a rolling update goes through these sizes", () => {
  // Each step: every ReplicaSet has the pods it asks for, one more new pod is available, one reconcile.
  const cases: [name: string, replicas: number, surge: number | string, unavailable: number | string, sizes: string[]][] = [
    ["one more at a time", 3, 1, 0, ["v1:3 v2:1", "v1:2 v2:1", "v1:2 v2:2", "v1:1 v2:2", "v1:1 v2:3", "v1:0 v2:3"]],
    ["one less at a time", 3, 0, 1, ["v1:2 v2:0", "v1:2 v2:1", "v1:1 v2:1", "v1:1 v2:2", "v1:0 v2:2", "v1:0 v2:3"]],
    ["all new ones first", 2, "100%", 0, ["v1:2 v2:2", "v1:1 v2:2", "v1:0 v2:2"]],
    ["a quarter both ways", 4, "25%", "25%", ["v1:3 v2:1", "v1:3 v2:2", "v1:1 v2:2", "v1:1 v2:4", "v1:0 v2:4"]],
  ];
  for (const [name, replicas, surge, unavailable, sizes] of cases) {
    test(`${name}: ${replicas} pods, maxSurge ${surge}, maxUnavailable ${unavailable}`, () => {
      const w = new World(web(replicas, surge, unavailable));
      w.reconcile();
      w.finish();
      w.edit((s) => ({ ...s, template: template("v2") }));
      const seen: string[] = [];
      for (let i = 0; i < 40; i++) {
        w.reconcile();
        if (w.sizes !== seen.at(-1)) seen.push(w.sizes);
        for (const rs of [...w.sets.values()]) w.settle(rs);
        w.ready(w.byImage("v2"), 1);
      }
      expect(seen).toEqual(sizes);
      expect(w.events).toContain(`Scaled up replica set web-${templateHash(template("v1"), undefined)} from 0 to ${replicas}`);
    });
  }
});

test("whatever becomes available or fails, and when, a rollout stays within its bounds and ends", () => {
  const step = fc.record({
    what: fc.constantFrom("ready", "fail", "settle", "reconcile"),
    which: fc.nat(3),
    n: fc.integer({ min: 1, max: 3 }),
  });
  const bound = fc.oneof(fc.integer({ min: 0, max: 4 }), fc.constantFrom("0%", "10%", "25%", "50%", "100%"));
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 12 }),
      bound,
      bound,
      fc.array(step, { maxLength: 80 }),
      fc.nat(2),
      (replicas, surge, unavailable, steps, edits) => {
        const w = new World(web(replicas, surge, unavailable));
        w.reconcile();
        w.finish();
        const d = w.deployment;
        const [most, least] = [replicas + maxSurge(d), replicas - maxUnavailable(d)];
        for (let e = 0; e <= edits; e++) {
          w.edit((s) => ({ ...s, template: template(`v${e + 2}`) }));
          for (const { what, which, n } of steps) {
            const rs = [...w.sets.values()][which % w.sets.size]!;
            if (what === "ready") w.ready(rs, n);
            else if (what === "settle") w.settle(rs);
            else if (what === "fail") w.ready(rs, -n);
            else {
              const before = [...w.sets.values()].reduce((x, r) => x + Math.min(replicasOf(r), r.status?.availableReplicas ?? 0), 0);
              w.reconcile();
              const after = [...w.sets.values()].reduce((x, r) => x + Math.min(replicasOf(r), r.status?.availableReplicas ?? 0), 0);
              // What it takes down itself never goes below the least.
              if (after < before) expect(after).toBeGreaterThanOrEqual(least);
            }
            expect(w.total).toBeLessThanOrEqual(most);
          }
        }
        w.finish();
        expect(w.available).toBe(replicas);
        const last = w.byImage(`v${edits + 2}`);
        expect(replicasOf(last)).toBe(replicas);
        expect(w.total).toBe(replicas);
        expect(w.deployment.status).toMatchObject({ replicas, updatedReplicas: replicas, availableReplicas: replicas });
        expect(w.deployment.status?.conditions?.find((c) => c.type === "Progressing")?.reason).toBe("NewReplicaSetAvailable");
      },
    ),
    { numRuns: 200 },
  );
});

test("scaling in the middle of a rollout is shared out in proportion", () => {
  const w = new World(web(10, 3, 2));
  w.reconcile();
  w.finish();
  w.edit((s) => ({ ...s, template: template("v2") }));
  w.reconcile();
  expect(w.sizes).toBe("v1:8 v2:3");
  for (const rs of [...w.sets.values()]) w.settle(rs);
  w.reconcile();
  expect(w.sizes).toBe("v1:8 v2:5");
  w.edit((s) => ({ ...s, replicas: 15 }));
  w.reconcile();
  // https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#proportional-scaling
  expect(w.sizes).toBe("v1:11 v2:7");
});

test("a rollout that makes no progress for its deadline says so, and is over it when it does", () => {
  const w = new World(web(2));
  w.reconcile();
  w.finish();
  w.edit((s) => ({ ...s, template: template("broken") }));
  for (let i = 0; i < 5; i++) {
    w.reconcile();
    for (const rs of [...w.sets.values()]) w.settle(rs);
  }
  const d = w.deployment;
  const plan = reconcileDeployment({ deployment: d, sets: [...w.sets.values()], podsOf: () => [], now: w.now });
  expect(plan.requeueAfter).toBe(601_000);
  w.now += 601_000;
  w.reconcile();
  const stuck = w.deployment.status?.conditions?.find((c) => c.type === "Progressing");
  expect(stuck).toMatchObject({ status: "False", reason: "ProgressDeadlineExceeded" });
  expect(stuck?.message).toMatch(/^ReplicaSet "web-\w+" has timed out progressing\.$/);
  w.edit((s) => ({ ...s, template: template("v1") }));
  w.finish();
  expect(w.deployment.status?.conditions?.find((c) => c.type === "Progressing")?.reason).toBe("NewReplicaSetAvailable");
});

test("an empty selector is told of and nothing is done", () => {
  const d = web(1);
  const plan = reconcileDeployment({ deployment: { ...d, spec: { ...d.spec, selector: {} } }, sets: [], podsOf: () => [], now: start });
  expect(plan.writes.map((w) => w.op)).toEqual(["event", "update"]);
});

test("percentages round up for the surge and down for what may be missing", () => {
  expect([scaled("25%", 10, true), scaled("25%", 10, false), scaled(3, 10, true), scaled("x", 10, true)]).toEqual([3, 2, 3, 0]);
  expect(maxUnavailable(web(3, 0, 0))).toBe(1);
});

test("a template's hash depends on what it says and not on the order it is written in", () => {
  const a = { metadata: { labels: { x: "1", y: "2" } }, spec: { containers: [{ name: "c", image: "i", env: [] }] } };
  const b = { spec: { containers: [{ image: "i", name: "c" }] }, metadata: { labels: { y: "2", x: "1", "pod-template-hash": "abc" } } };
  expect(templateHash(a, undefined)).toBe(templateHash(b, undefined));
  expect(sameTemplate(a, b)).toBe(true);
  expect(templateHash(a, 1)).not.toBe(templateHash(a, undefined));
  expect(sameTemplate(a, { ...b, spec: { containers: [{ image: "j", name: "c" }] } })).toBe(false);
  // What is set to nothing is not the same as what is not set.
  const volume = (v: object) => ({ spec: { containers: [], volumes: [{ name: "v", ...v }] } });
  expect(sameTemplate(volume({ emptyDir: {} }), volume({}))).toBe(false);
});
