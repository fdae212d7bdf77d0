// StatefulSets, DaemonSets and Jobs on the API in memory; the test plays the kubelet.
import { afterEach, describe, expect, test } from "bun:test";
import type * as appsV1 from "../api/gen/apps/v1.ts";
import type * as batchV1 from "../api/gen/batch/v1.ts";
import type * as coreV1 from "../api/gen/core/v1.ts";
import {
  type Collection,
  controllerRevisions,
  daemonSets,
  jobs,
  nodes,
  persistentVolumeClaims,
  pods,
  resource,
  statefulSets,
} from "../client/resources.ts";
import { MemoryApi } from "../testing/memory-api.ts";
import { placement } from "./daemonset/placement.ts";
import { formatIndexes, parseIndexes } from "./job/core.ts";
import { ControllerManager } from "./mod.ts";

const running: ControllerManager[] = [];
afterEach(async () => {
  for (const m of running.splice(0)) await m.stop();
});

async function cluster(...controllers: string[]) {
  const api = new MemoryApi();
  const manager = new ControllerManager({ transport: api, controllers, log: { info() {}, warn() {}, error: console.error } });
  running.push(manager);
  await manager.start();
  const list = async () =>
    (await resource(api, pods, "default").list()).items.sort((a, b) => (a.metadata.name! < b.metadata.name! ? -1 : 1));
  return {
    api,
    list,
    names: async () => (await list()).map((p) => p.metadata.name),
    async set(name: string, phase: coreV1.PodPhase) {
      const pod = await resource(api, pods, "default").get(name);
      const ready = {
        type: "Ready" as const,
        status: (phase === "Running" ? "True" : "False") as coreV1.ConditionStatus,
        lastTransitionTime: "2026-01-01T00:00:00Z",
      };
      await resource(api, pods, "default").updateStatus({ ...pod, status: { phase, conditions: [ready] } });
    },
  };
}

async function until<T>(what: string, look: () => Promise<T | undefined | false>): Promise<T> {
  const deadline = Date.now() + 30_000;
  for (;;) {
    const found = await look();
    if (found) return found;
    if (Date.now() > deadline) throw new Error(`never happened: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

/** Long enough for every event under way to have been worked on. */
const quiet = () => new Promise((resolve) => setTimeout(resolve, 30));
const template = (image: string): coreV1.PodTemplateSpec => ({
  metadata: { labels: { app: "db" } },
  spec: { containers: [{ name: "c", image }] },
});
const images = (all: coreV1.Pod[]) => all.map((p) => p.spec.containers[0]!.image);

describe("a StatefulSet", () => {
  const db = (replicas: number, more: Partial<appsV1.StatefulSetSpec> = {}): appsV1.StatefulSet => ({
    metadata: { name: "db", namespace: "default" },
    spec: {
      replicas,
      selector: { matchLabels: { app: "db" } },
      serviceName: "db",
      template: template("v1"),
      updateStrategy: { type: "RollingUpdate", rollingUpdate: { partition: 0 } },
      volumeClaimTemplates: [{ metadata: { name: "data" }, spec: {} as coreV1.PersistentVolumeClaimSpec }],
      ...more,
    },
  });

  test("makes its pods one after the other, each with a name, a place in DNS and a claim of its own", async () => {
    const c = await cluster("statefulset-controller");
    await resource(c.api, statefulSets, "default").create(db(2));
    await until("the first pod", async () => (await c.list()).length === 1);
    await quiet();
    expect(await c.names()).toEqual(["db-0"]);
    await c.set("db-0", "Running");
    await until("the second pod", async () => (await c.list()).length === 2);
    const [first] = await c.list();
    expect(first!.spec).toMatchObject({
      hostname: "db-0",
      subdomain: "db",
      volumes: [{ name: "data", persistentVolumeClaim: { claimName: "data-db-0" } }],
    });
    expect(first!.metadata.labels).toMatchObject({ "statefulset.kubernetes.io/pod-name": "db-0", "apps.kubernetes.io/pod-index": "0" });
    const claims = (await resource(c.api, persistentVolumeClaims, "default").list()).items.map((x) => x.metadata.name);
    expect(claims).toEqual(["data-db-0", "data-db-1"]);
  });

  test("updates from the highest ordinal down, and scales down in that order too", async () => {
    const c = await cluster("statefulset-controller");
    const sets = resource(c.api, statefulSets, "default");
    await sets.create(db(3));
    const fill = async (image: string) =>
      until(`three pods of ${image}`, async () => {
        for (const p of await c.list()) if (p.status?.phase !== "Running") await c.set(p.metadata.name!, "Running").catch(() => undefined);
        const all = await c.list();
        return all.length === 3 && images(all).every((i) => i === image);
      });
    await fill("v1");
    c.api.writes.length = 0;
    await sets.patch("db", "merge", { spec: { template: template("v2") } });
    await fill("v2");
    const deleted = () => c.api.writes.filter((w) => w.verb === "delete").map((w) => w.target.name);
    expect(deleted()).toEqual(["db-2", "db-1", "db-0"]);
    const status = (
      await until("the end of it", async () => {
        for (const p of await c.list()) if (p.status?.phase !== "Running") await c.set(p.metadata.name!, "Running").catch(() => undefined);
        const s = await sets.get("db");
        return s.status?.currentRevision === s.status?.updateRevision && s.status?.readyReplicas === 3 && s;
      })
    ).status!;
    expect(status).toMatchObject({ replicas: 3, currentReplicas: 3, updatedReplicas: 3 });
    expect((await resource(c.api, controllerRevisions, "default").list()).items.map((r) => r.revision)).toEqual([1, 2]);
    await sets.patch("db", "merge", { spec: { replicas: 1 } });
    await until("one pod", async () => (await c.list()).length === 1);
    expect(deleted().slice(3)).toEqual(["db-2", "db-1"]);
  });

  test("with a partition leaves the lower ordinals at the old revision", async () => {
    const c = await cluster("statefulset-controller");
    const sets = resource(c.api, statefulSets, "default");
    await sets.create(
      db(3, { podManagementPolicy: "Parallel", updateStrategy: { type: "RollingUpdate", rollingUpdate: { partition: 2 } } }),
    );
    await until("all three at once", async () => (await c.list()).length === 3);
    for (const name of ["db-0", "db-1", "db-2"]) await c.set(name, "Running");
    await until("a status", async () => (await sets.get("db")).status?.readyReplicas === 3);
    await sets.patch("db", "merge", { spec: { template: template("v2") } });
    await until("the last one updated", async () => images(await c.list()).join() === "v1,v1,v2");
    // One of the old ones that is lost comes back as it was.
    await c.set("db-2", "Running");
    await c.api.delete({ ...pods, namespace: "default", name: "db-0" });
    await until("its return", async () => (await c.list()).length === 3);
    expect(images(await c.list())).toEqual(["v1", "v1", "v2"]);
  });
});

describe("a DaemonSet", () => {
  const node = (name: string, taints: coreV1.Taint[] = [], labels: Record<string, string> = {}): coreV1.Node => ({
    metadata: { name, labels },
    spec: { taints },
  });
  const agent = (spec: Partial<coreV1.PodSpec> = {}): appsV1.DaemonSet => ({
    metadata: { name: "agent", namespace: "default" },
    spec: {
      selector: { matchLabels: { app: "db" } },
      template: { ...template("v1"), spec: { ...template("v1").spec!, ...spec } },
      updateStrategy: { type: "RollingUpdate", rollingUpdate: { maxUnavailable: 1 } },
    },
  });

  test("has a pod on each node that it may run on, and follows nodes that come and go", async () => {
    const c = await cluster("daemonset-controller");
    const all = resource(c.api, nodes);
    await all.create(node("a"));
    await all.create(node("b"));
    await all.create(node("c", [{ key: "dedicated", effect: "NoSchedule" }]));
    await resource(c.api, daemonSets, "default").create(agent());
    const where = async () =>
      (await c.list())
        .map(
          (p) =>
            p.spec.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution?.nodeSelectorTerms[0]?.matchFields?.[0]
              ?.values?.[0],
        )
        .sort();
    await until("two pods", async () => (await c.list()).length === 2);
    expect(await where()).toEqual(["a", "b"]);
    await all.create(node("d"));
    await until("a third", async () => (await where()).join() === "a,b,d");
    await all.patch("c", "merge", { spec: { taints: [] } });
    await until("a fourth", async () => (await where()).join() === "a,b,c,d");
    await all.patch("a", "merge", { spec: { taints: [{ key: "x", effect: "NoExecute" }] } });
    await until("one less", async () => (await where()).join() === "b,c,d");
    const status = await until("a status", async () => {
      const s = (await resource(c.api, daemonSets, "default").get("agent")).status;
      return s?.desiredNumberScheduled === 3 && s.currentNumberScheduled === 3 && s;
    });
    expect(status).toMatchObject({ numberReady: 0, numberUnavailable: 3, updatedNumberScheduled: 3 });
  });

  test("replaces one ready pod at a time", async () => {
    const c = await cluster("daemonset-controller");
    for (const n of ["a", "b", "c"]) await resource(c.api, nodes).create(node(n));
    await resource(c.api, daemonSets, "default").create(agent());
    await until("three pods", async () => (await c.list()).length === 3);
    for (const n of await c.names()) await c.set(n!, "Running");
    await until("three ready", async () => (await resource(c.api, daemonSets, "default").get("agent")).status?.numberAvailable === 3);
    await resource(c.api, daemonSets, "default").patch("agent", "merge", { spec: { template: template("v2") } });
    await until("all replaced", async () => {
      const all = await c.list();
      expect(all.filter((p) => p.status?.phase === "Running").length).toBeGreaterThanOrEqual(2);
      const fresh = all.find((p) => !p.status?.phase);
      if (fresh) {
        await quiet();
        expect((await c.list()).filter((p) => p.status?.phase === "Running").length).toBeGreaterThanOrEqual(2);
        await c.set(fresh.metadata.name!, "Running");
      }
      return all.length === 3 && images(all).every((i) => i === "v2");
    });
  });

  test("runs where selector, affinity, taints and its own tolerations allow", () => {
    const on = (n: coreV1.Node, spec: Partial<coreV1.PodSpec> = {}) => placement(agent(spec).spec.template, n);
    expect(on(node("a"))).toEqual({ run: true, stay: true });
    expect(on(node("a", [{ key: "node.kubernetes.io/unschedulable", effect: "NoSchedule" }]))).toEqual({ run: true, stay: true });
    expect(on(node("a", [{ key: "k", effect: "NoSchedule" }]))).toEqual({ run: false, stay: true });
    expect(on(node("a", [{ key: "k", effect: "NoExecute" }]))).toEqual({ run: false, stay: false });
    expect(on(node("a", [{ key: "k", effect: "NoExecute" }]), { tolerations: [{ operator: "Exists" }] })).toEqual({
      run: true,
      stay: true,
    });
    expect(on(node("a"), { nodeSelector: { disk: "ssd" } }).run).toBe(false);
    expect(on(node("a", [], { disk: "ssd" }), { nodeSelector: { disk: "ssd" } }).run).toBe(true);
    const terms = [{ matchExpressions: [{ key: "cores", operator: "Gt" as const, values: ["4"] }] }];
    const affinity = { nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: terms } } };
    expect([on(node("a", [], { cores: "8" }), { affinity }).run, on(node("a", [], { cores: "2" }), { affinity }).run]).toEqual([
      true,
      false,
    ]);
  });
});

describe("a Job", () => {
  const work = (spec: Partial<batchV1.JobSpec>): batchV1.Job => ({
    metadata: { name: "work", namespace: "default" },
    spec: { selector: { matchLabels: { app: "db" } }, parallelism: 1, completions: 1, backoffLimit: 6, template: template("v1"), ...spec },
  });
  const condition = async (c: Awaited<ReturnType<typeof cluster>>, type: string) =>
    (await resource(c.api, jobs, "default").get("work")).status?.conditions?.find((x) => x.type === type && x.status === "True");

  test("runs as many at a time as it may until enough have succeeded", async () => {
    const c = await cluster("job-controller");
    await resource(c.api, jobs, "default").create(work({ parallelism: 2, completions: 5 }));
    const done = new Set<string>();
    await until("its completion", async () => {
      const active = (await c.list()).filter((p) => !p.status?.phase);
      expect(active.length).toBeLessThanOrEqual(2);
      for (const p of active) {
        done.add(p.metadata.name!);
        await c.set(p.metadata.name!, "Succeeded");
      }
      return condition(c, "Complete");
    });
    expect(done.size).toBe(5);
    const { status } = await resource(c.api, jobs, "default").get("work");
    expect(status).toMatchObject({ succeeded: 5, uncountedTerminatedPods: {} });
    expect(status?.active).toBeUndefined();
    expect(status?.completionTime).toBeDefined();
    await until("no finalizers", async () => (await c.list()).every((p) => !p.metadata.finalizers?.length));
  });

  test("by index runs each of them once", async () => {
    const c = await cluster("job-controller");
    await resource(c.api, jobs, "default").create(work({ completionMode: "Indexed", parallelism: 3, completions: 4 }));
    await until("its completion", async () => {
      for (const p of await c.list()) if (!p.status?.phase) await c.set(p.metadata.name!, "Succeeded");
      return condition(c, "Complete");
    });
    const all = await c.list();
    expect(all.map((p) => p.spec.hostname).sort()).toEqual(["work-0", "work-1", "work-2", "work-3"]);
    expect(all[0]!.spec.containers[0]!.env?.[0]?.name).toBe("JOB_COMPLETION_INDEX");
    expect((await resource(c.api, jobs, "default").get("work")).status).toMatchObject({ succeeded: 4, completedIndexes: "0-3" });
  });

  test("that fails too often is failed, and its other pods are stopped", async () => {
    const c = await cluster("job-controller");
    await resource(c.api, jobs, "default").create(work({ parallelism: 2, completions: 2, backoffLimit: 0 }));
    await until("two pods", async () => (await c.list()).length === 2);
    await c.set((await c.names())[0]!, "Failed");
    const failed = await until("its failure", () => condition(c, "Failed"));
    expect(failed).toMatchObject({ reason: "BackoffLimitExceeded", message: "Job has reached the specified backoff limit" });
  });

  test("that is suspended has no pods until it is resumed", async () => {
    const c = await cluster("job-controller");
    await resource(c.api, jobs, "default").create(work({ suspend: true }));
    await until("the condition", () => condition(c, "Suspended"));
    expect(await c.list()).toEqual([]);
    await resource(c.api, jobs, "default").patch("work", "merge", { spec: { suspend: false } });
    await until("a pod", async () => (await c.list()).length === 1);
    expect(await condition(c, "Suspended")).toBeUndefined();
  });

  test("that is finished goes after its time to live", async () => {
    const c = await cluster("job-controller", "ttl-after-finished-controller");
    await resource(c.api, jobs as Collection<batchV1.Job>, "default").create(work({ ttlSecondsAfterFinished: 0 }));
    await until("a pod", async () => (await c.list()).length === 1);
    await c.set((await c.names())[0]!, "Succeeded");
    await until("its deletion", async () => c.api.writes.some((w) => w.verb === "delete" && w.target.resource === "jobs"));
  });

  test("writes its indexes short", () => {
    for (const text of ["", "0", "0,1", "0-2", "1,3-5,7,9,10"]) expect(formatIndexes(parseIndexes(text))).toBe(text);
    expect(() => parseIndexes("1-x")).toThrow(RangeError);
  });
});
