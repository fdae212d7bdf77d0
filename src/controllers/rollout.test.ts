// Deployments and ReplicaSets together, on the API in memory: each test plays
// the kubelet and says which pods are ready.
import { afterEach, describe, expect, test } from "bun:test";
import type * as appsV1 from "../api/gen/apps/v1.ts";
import type * as coreV1 from "../api/gen/core/v1.ts";
import { deployments, pods, replicaSets, resource } from "../client/resources.ts";
import { MemoryApi } from "../testing/memory-api.ts";
import { ControllerManager } from "./mod.ts";

const running: ControllerManager[] = [];
afterEach(async () => {
  for (const m of running.splice(0)) await m.stop();
});

async function cluster() {
  const api = new MemoryApi();
  const manager = new ControllerManager({
    transport: api,
    controllers: ["deployment-controller", "replicaset-controller"],
  });
  running.push(manager);
  await manager.start();
  const allPods = async () => (await resource(api, pods).list()).items;
  const d = resource(api, deployments, "default");
  return {
    api,
    d,
    allPods,
    sets: async () => (await resource(api, replicaSets, "default").list()).items,
    /** Marks up to `n` pods that are not ready as ready. */
    async ready(n = Number.POSITIVE_INFINITY) {
      for (const pod of await allPods()) {
        if (n <= 0) break;
        if (pod.status?.conditions?.length) continue;
        n--;
        const conditions = [{ type: "Ready" as const, status: "True" as const, lastTransitionTime: "2026-01-01T00:00:00Z" }];
        await resource(api, pods, "default").updateStatus({ ...pod, status: { phase: "Running", conditions } });
      }
    },
    async change(f: (d: appsV1.Deployment) => appsV1.Deployment) {
      for (;;) {
        try {
          return await d.update(f(await d.get("web")));
        } catch (error) {
          if ((error as { reason?: string }).reason !== "Conflict") throw error;
        }
      }
    },
  };
}

function web(replicas: number, strategy?: appsV1.DeploymentStrategy): appsV1.Deployment {
  return {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name: "web", namespace: "default" },
    spec: {
      replicas,
      selector: { matchLabels: { app: "web" } },
      template: { metadata: { labels: { app: "web" } }, spec: { containers: [{ name: "c", image: "v1" }] } },
      strategy: strategy ?? { type: "RollingUpdate", rollingUpdate: { maxSurge: "25%", maxUnavailable: "25%" } },
      revisionHistoryLimit: 10,
      progressDeadlineSeconds: 600,
    },
  };
}

const withImage = (image: string) => (d: appsV1.Deployment) => ({
  ...d,
  spec: { ...d.spec, template: { ...d.spec.template, spec: { containers: [{ name: "c", image }] } as coreV1.PodSpec } },
});

async function until<T>(what: string, look: () => Promise<T | undefined | false>): Promise<T> {
  const deadline = Date.now() + 30_000;
  for (;;) {
    const found = await look();
    if (found) return found;
    if (Date.now() > deadline) throw new Error(`never happened: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

const progressing = (d: appsV1.Deployment) => d.status?.conditions?.find((c) => c.type === "Progressing");
const done = (d: appsV1.Deployment) =>
  d.status?.observedGeneration === d.metadata.generation &&
  d.status?.updatedReplicas === d.spec.replicas &&
  d.status?.replicas === d.spec.replicas &&
  d.status?.availableReplicas === d.spec.replicas;

describe("a Deployment", () => {
  test("makes its pods, and says so in the words of upstream", async () => {
    const c = await cluster();
    await c.d.create(web(3));
    await until("three pods", async () => (await c.allPods()).length === 3);
    const pod = (await c.allPods())[0]!;
    expect(pod.metadata.labels?.["pod-template-hash"]).toMatch(/^[bcdfghjklmnpqrstvwxz2456789]{1,10}$/);
    let d = await until("a status", async () => {
      const x = await c.d.get("web");
      return x.status?.replicas === 3 && x;
    });
    expect(d.metadata.annotations?.["deployment.kubernetes.io/revision"]).toBe("1");
    expect(progressing(d)).toMatchObject({ status: "True", reason: expect.stringMatching(/NewReplicaSetCreated|ReplicaSetUpdated/) });
    expect(d.status?.conditions?.find((x) => x.type === "Available")).toMatchObject({
      status: "False",
      reason: "MinimumReplicasUnavailable",
      message: "Deployment does not have minimum availability.",
    });
    await c.ready();
    d = await until("the end of the rollout", async () => {
      const x = await c.d.get("web");
      return done(x) && progressing(x)?.reason === "NewReplicaSetAvailable" && x;
    });
    const name = (await c.sets())[0]!.metadata.name;
    expect(progressing(d)?.message).toBe(`ReplicaSet "${name}" has successfully progressed.`);
    expect(d.status?.unavailableReplicas).toBeUndefined();
  });

  test("replaces pods under maxSurge and maxUnavailable, keeps the old set, and goes back to it", async () => {
    const c = await cluster();
    await c.d.create(web(4, { type: "RollingUpdate", rollingUpdate: { maxSurge: 1, maxUnavailable: 1 } }));
    await until("four pods", async () => (await c.allPods()).length === 4);
    await c.ready();
    await until("the first rollout", async () => done(await c.d.get("web")));
    await c.change(withImage("v2"));
    await until("the second rollout", async () => {
      const all = await c.allPods();
      expect(all.length).toBeLessThanOrEqual(5);
      await c.ready(1);
      return done(await c.d.get("web"));
    });
    const images = async () => (await c.allPods()).map((p) => p.spec.containers[0]!.image);
    expect(await images()).toEqual(["v2", "v2", "v2", "v2"]);
    const revisions = async () =>
      (await c.sets()).map((rs) => [rs.metadata.annotations?.["deployment.kubernetes.io/revision"], rs.spec.replicas]).sort();
    expect(await revisions()).toEqual([
      ["1", 0],
      ["2", 4],
    ]);
    await c.change(withImage("v1"));
    await until("the rollback", async () => {
      await c.ready(1);
      return done(await c.d.get("web"));
    });
    expect(await images()).toEqual(["v1", "v1", "v1", "v1"]);
    expect(await revisions()).toEqual([
      ["2", 0],
      ["3", 4],
    ]);
    const back = (await c.sets()).find((rs) => rs.spec.replicas === 4)!;
    expect(back.metadata.annotations?.["deployment.kubernetes.io/revision-history"]).toBe("1");
    expect((await c.d.get("web")).metadata.annotations?.["deployment.kubernetes.io/revision"]).toBe("3");
  });

  test("with Recreate has no new pod before the last old one is gone", async () => {
    const c = await cluster();
    await c.d.create(web(3, { type: "Recreate" }));
    await until("three pods", async () => (await c.allPods()).length === 3);
    await c.ready();
    await until("the first rollout", async () => done(await c.d.get("web")));
    await c.change(withImage("v2"));
    await until("new pods", async () => {
      const images = new Set((await c.allPods()).map((p) => p.spec.containers[0]!.image));
      expect(images.size).toBeLessThanOrEqual(1);
      return images.has("v2") && (await c.allPods()).length === 3;
    });
    await c.ready();
    await until("the second rollout", async () => done(await c.d.get("web")));
  });

  test("that is paused makes no new set, but scales, and goes on when resumed", async () => {
    const c = await cluster();
    await c.d.create(web(2));
    await until("two pods", async () => (await c.allPods()).length === 2);
    await c.ready();
    await until("the rollout", async () => done(await c.d.get("web")));
    await c.change((d) => ({ ...d, spec: { ...d.spec, paused: true } }));
    await until(
      "the pause",
      async () =>
        progressing(await c.d.get("web"))?.reason === "DeploymentPaused" || (await c.d.get("web")).status?.observedGeneration === 2,
    );
    await c.change((d) => ({ ...withImage("v2")(d), spec: { ...withImage("v2")(d).spec, replicas: 4 } }));
    await until("four old pods", async () => (await c.allPods()).length === 4);
    expect(new Set((await c.allPods()).map((p) => p.spec.containers[0]!.image))).toEqual(new Set(["v1"]));
    expect((await c.sets()).length).toBe(1);
    await c.ready();
    await c.change((d) => ({ ...d, spec: { ...d.spec, paused: false } }));
    await until("the rollout of v2", async () => {
      await c.ready(1);
      return done(await c.d.get("web")) && (await c.allPods()).every((p) => p.spec.containers[0]!.image === "v2");
    });
  });

  test("keeps no more old sets than its history limit", async () => {
    const c = await cluster();
    await c.d.create({ ...web(1), spec: { ...web(1).spec, revisionHistoryLimit: 1 } });
    for (const image of ["v2", "v3", "v4"]) {
      await until("the rollout", async () => {
        await c.ready();
        return done(await c.d.get("web"));
      });
      await c.change(withImage(image));
    }
    await until("one old set", async () => {
      await c.ready();
      return done(await c.d.get("web")) && (await c.sets()).length === 2;
    });
  });

  test("whose pods the apiserver refuses tells why in its conditions", async () => {
    const c = await cluster();
    c.api.refuse = (verb, target) => {
      if (verb === "create" && target.resource === "pods") throw new Error("exceeded quota");
    };
    await c.d.create(web(2));
    const d = await until("a failure", async () => {
      const x = await c.d.get("web");
      return x.status?.conditions?.some((k) => k.type === "ReplicaFailure") && x;
    });
    expect(d.status?.conditions?.find((k) => k.type === "ReplicaFailure")).toMatchObject({
      status: "True",
      reason: "FailedCreate",
      message: "exceeded quota",
    });
    c.api.refuse = undefined;
    await until("two pods", async () => (await c.allPods()).length === 2);
    await until("no failure", async () => !(await c.d.get("web")).status?.conditions?.some((k) => k.type === "ReplicaFailure"));
  });
});

describe("a ReplicaSet", () => {
  test("adopts pods that match, and lets go those that do not", async () => {
    const c = await cluster();
    const stray = await resource(c.api, pods, "default").create({
      metadata: { name: "stray", labels: { app: "web" } },
      spec: { containers: [{ name: "c" }] },
    });
    const spec = web(2).spec;
    await resource(c.api, replicaSets, "default").create({
      metadata: { name: "rs" },
      spec: { replicas: 2, selector: spec.selector, template: spec.template },
    });
    await until("two pods", async () => (await c.allPods()).length === 2);
    const adopted = await until("an owner", async () => {
      const p = await resource(c.api, pods, "default").get("stray");
      return p.metadata.ownerReferences?.[0]?.name === "rs" && p;
    });
    expect(adopted.metadata.uid).toBe(stray.metadata.uid);
    await resource(c.api, pods, "default").patch("stray", "merge", { metadata: { labels: { app: "other" } } });
    await until("a release and a third pod", async () => {
      const p = await resource(c.api, pods, "default").get("stray");
      return (p.metadata.ownerReferences ?? []).length === 0 && (await c.allPods()).length === 3;
    });
  });

  test("makes no pod twice while its cache lags behind", async () => {
    const c = await cluster();
    const spec = web(50).spec;
    await resource(c.api, replicaSets, "default").create({
      metadata: { name: "rs" },
      spec: { replicas: 50, selector: spec.selector, template: spec.template },
    });
    await until("fifty pods in the status", async () => (await resource(c.api, replicaSets, "default").get("rs")).status?.replicas === 50);
    expect(c.api.writes.filter((w) => w.verb === "create" && w.target.resource === "pods").length).toBe(50);
  });
});
