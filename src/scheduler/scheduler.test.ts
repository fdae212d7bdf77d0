import { describe, expect, test } from "bun:test";
import type * as coreV1 from "../api/gen/core/v1.ts";
import type * as eventsV1 from "../api/gen/events/v1.ts";
import { events, nodes, pods } from "../client/resources.ts";
import { Scheduler } from "./scheduler.ts";
import { BindingApi, node, pod, until } from "./testing.ts";

/** An apiserver with these nodes, and a scheduler that runs on it. */
async function cluster(...at: coreV1.Node[]) {
  const api = new BindingApi();
  for (const n of at) await api.create(nodes, n);
  const scheduler = new Scheduler({ transport: api, random: () => 0, queue: { initialBackoff: 20, maxBackoff: 100 } });
  await scheduler.start();
  const get = (name: string) => api.get<coreV1.Pod>({ ...pods, namespace: "default", name });
  return {
    api,
    scheduler,
    get,
    create: (p: coreV1.Pod) => api.create<coreV1.Pod>({ ...pods, namespace: "default" }, p),
    remove: (name: string) => api.delete({ ...pods, namespace: "default", name }, { gracePeriodSeconds: 0 }),
    updateNode: (n: coreV1.Node) => api.update({ ...nodes, name: n.metadata.name! }, n),
    bound: (name: string) => until(`${name} to be bound`, async () => (await get(name)).spec.nodeName),
    refused: (name: string) =>
      until(`${name} to be refused`, async () =>
        (await get(name)).status?.conditions?.find((c) => c.type === "PodScheduled" && c.status === "False"),
      ),
    events: async () => (await api.list<eventsV1.Event>(events)).items.map((e) => `${e.type} ${e.reason} ${e.note}`),
    [Symbol.asyncDispose]: () => scheduler.stop(),
  };
}

describe("Scheduler", () => {
  test("binds a pod and says so in an event", async () => {
    await using c = await cluster(node("a"));
    await c.create(pod("web"));
    await c.bound("web");
    await until("the event", async () => (await c.events()).includes("Normal Scheduled Successfully assigned default/web to a"));
  });

  test("says in upstream's words why no node takes a pod", async () => {
    await using c = await cluster(
      node("small", { cpu: "1" }),
      node("gpu", { taints: [{ key: "gpu", value: "true", effect: "NoSchedule" }] }),
      node("cordoned", { unschedulable: true }),
    );
    await c.create(pod("big", { requests: { cpu: "2" } }));
    const condition = await c.refused("big");
    expect(condition.reason).toBe("Unschedulable");
    expect(condition.message).toBe(
      "0/3 nodes are available: 1 Insufficient cpu, 1 node(s) had untolerated taint {gpu: true}, 1 node(s) were unschedulable. " +
        "preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling.",
    );
    await until("the event", async () => (await c.events()).includes(`Warning FailedScheduling ${condition.message}`));
  });

  test("says that there are no nodes, and binds when one comes", async () => {
    await using c = await cluster();
    await c.create(pod("web"));
    expect((await c.refused("web")).message).toBe("no nodes available to schedule pods");
    await c.api.create(nodes, node("late"));
    expect(await c.bound("web")).toBe("late");
  });

  test("spreads equal pods over nodes and never overcommits one", async () => {
    await using c = await cluster(node("a"), node("b"), node("c"));
    for (let i = 0; i < 12; i++) await c.create(pod(`p${i}`, { requests: { cpu: "1" } }));
    const at = await Promise.all(Array.from({ length: 12 }, (_, i) => c.bound(`p${i}`)));
    expect(["a", "b", "c"].map((n) => at.filter((x) => x === n).length)).toEqual([4, 4, 4]);
    await c.create(pod("thirteenth", { requests: { cpu: "1" } }));
    expect((await c.refused("thirteenth")).message).toStartWith("0/3 nodes are available: 3 Insufficient cpu.");
  });

  test("follows node selectors, required and preferred affinity", async () => {
    await using c = await cluster(
      node("a", { labels: { disk: "hdd" } }),
      node("b", { labels: { disk: "ssd", zone: "1" } }),
      node("c", { labels: { disk: "ssd", zone: "2" } }),
    );
    await c.create(pod("selected", { spec: { nodeSelector: { disk: "hdd" } } }));
    expect(await c.bound("selected")).toBe("a");
    const term = (key: string, ...values: string[]) => ({ matchExpressions: [{ key, operator: "In" as const, values }] });
    const affinity: coreV1.Affinity = {
      nodeAffinity: {
        requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: [term("disk", "ssd")] },
        preferredDuringSchedulingIgnoredDuringExecution: [{ weight: 50, preference: term("zone", "2") }],
      },
    };
    await c.create(pod("preferring", { spec: { affinity } }));
    expect(await c.bound("preferring")).toBe("c");
    await c.create(pod("nowhere", { spec: { nodeSelector: { disk: "tape" } } }));
    expect((await c.refused("nowhere")).message).toStartWith(
      "0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector.",
    );
  });

  test("lets a tolerating pod onto tainted nodes, and others as soon as the taint is gone", async () => {
    const taint: coreV1.Taint = { key: "dedicated", value: "db", effect: "NoSchedule" };
    await using c = await cluster(node("a", { taints: [taint] }));
    await c.create(pod("db", { spec: { tolerations: [{ key: "dedicated", operator: "Exists" }] } }));
    expect(await c.bound("db")).toBe("a");
    await c.create(pod("web"));
    await c.refused("web");
    await c.updateNode(node("a"));
    expect(await c.bound("web")).toBe("a");
  });

  test("avoids PreferNoSchedule taints while it can", async () => {
    await using c = await cluster(node("a", { taints: [{ key: "x", effect: "PreferNoSchedule" }] }), node("b"));
    await c.create(pod("web"));
    expect(await c.bound("web")).toBe("b");
  });

  test("gives a host port to one pod of a node, and to the next when it is free", async () => {
    await using c = await cluster(node("a"));
    await c.create(pod("first", { hostPort: 8080 }));
    await c.bound("first");
    await c.create(pod("second", { hostPort: 8080 }));
    expect((await c.refused("second")).message).toStartWith(
      "0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports.",
    );
    await c.remove("first");
    expect(await c.bound("second")).toBe("a");
  });

  test("counts extended resources, also more kinds than the kernel has columns", async () => {
    const names = Array.from({ length: 25 }, (_, i) => `example.com/r${i}`);
    await using c = await cluster(node("a", { more: Object.fromEntries(names.map((n) => [n, "1"])) }));
    const all = Object.fromEntries(names.map((n) => [n, "1"]));
    await c.create(pod("first", { requests: all }));
    await c.bound("first");
    for (const [i, name] of [names[0]!, names[24]!].entries()) {
      await c.create(pod(`next${i}`, { requests: { [name]: "1" } }));
      expect((await c.refused(`next${i}`)).message).toStartWith(`0/1 nodes are available: 1 Insufficient ${name}.`);
    }
  });

  test("leaves gated pods alone until the last gate is gone", async () => {
    await using c = await cluster(node("a"));
    const gated = await c.create(pod("gated", { spec: { schedulingGates: [{ name: "example.com/wait" }] } }));
    await c.create(pod("other"));
    await c.bound("other");
    expect((await c.get("gated")).spec.nodeName).toBeUndefined();
    await c.api.update({ ...pods, namespace: "default", name: "gated" }, { ...gated, spec: { ...gated.spec, schedulingGates: [] } });
    expect(await c.bound("gated")).toBe("a");
  });

  test("preempts the least important pods that make room, and nominates the node", async () => {
    await using c = await cluster(node("a", { cpu: "2" }), node("b", { cpu: "2" }));
    await c.create(pod("low", { requests: { cpu: "1500m" }, spec: { priority: 5, nodeName: "a" } }));
    await c.create(pod("lower", { requests: { cpu: "1500m" }, spec: { priority: 1, nodeName: "b" } }));
    await until("both to be seen", () => c.api.drained);
    await c.create(pod("important", { requests: { cpu: "1" }, spec: { priority: 100 } }));
    await until("a deletion", async () => (await c.get("lower")).metadata.deletionTimestamp);
    expect((await c.get("low")).metadata.deletionTimestamp).toBeUndefined();
    await until("the nomination", async () => (await c.get("important")).status?.nominatedNodeName === "b");
    // What the kubelet does at the end of the grace period.
    const refused = (await c.get("important")).spec.nodeName;
    expect(refused).toBeUndefined();
  });

  test("keeps a nominated place from pods of lower priority", async () => {
    await using c = await cluster(node("a", { cpu: "2" }));
    await c.create(pod("old", { requests: { cpu: "2" }, spec: { nodeName: "a" } }));
    await until("it to be seen", () => c.api.drained);
    await c.create(pod("important", { requests: { cpu: "2" }, spec: { priority: 100 } }));
    await until("the nomination", async () => (await c.get("important")).status?.nominatedNodeName === "a");
    await c.create(pod("meek", { requests: { cpu: "1" } }));
    await c.refused("meek");
    c.api.refuse = undefined;
    const old = await c.get("old");
    await c.api.update({ ...pods, namespace: "default", name: "old", subresource: "status" }, { ...old, status: { phase: "Failed" } });
    expect(await c.bound("important")).toBe("a");
    expect((await c.get("meek")).spec.nodeName).toBeUndefined();
  });

  test("tries again after a binding that failed, and tells", async () => {
    await using c = await cluster(node("a"));
    let failures = 2;
    c.api.refuse = (_verb, target) => {
      if (target.subresource === "binding" && failures-- > 0) throw new Error("etcd is away");
    };
    await c.create(pod("web"));
    expect(await c.bound("web")).toBe("a");
    expect(failures).toBeLessThan(0);
    expect((await c.events()).some((e) => e === "Warning FailedScheduling binding rejected: etcd is away")).toBe(true);
  });

  test("prefers the node that has the image", async () => {
    const images = [{ names: ["example/big:latest"], sizeBytes: 900 * 2 ** 20 }];
    await using c = await cluster(node("a"), node("b", { images }), node("c"));
    await c.create(pod("web", { image: "example/big" }));
    expect(await c.bound("web")).toBe("b");
  });

  test("leaves pods of other schedulers, and those that have ended, alone", async () => {
    await using c = await cluster(node("a", { pods: "1" }));
    await c.create(pod("theirs", { spec: { schedulerName: "other" } }));
    await c.create({ ...pod("done", { spec: { nodeName: "a" } }), status: { phase: "Succeeded" } });
    await c.create(pod("ours"));
    expect(await c.bound("ours")).toBe("a");
    expect((await c.get("theirs")).spec.nodeName).toBeUndefined();
  });
});
