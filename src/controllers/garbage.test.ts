// Garbage collection and namespaces, on the API in memory.
import { afterEach, describe, expect, test } from "bun:test";
import type * as coreV1 from "../api/gen/core/v1.ts";
import type { KubeObject } from "../api/object.ts";
import { isNotFound } from "../api/status.ts";
import { type Collection, configMaps, deployments, namespaces, nodes, pods, replicaSets, resource, secrets } from "../client/resources.ts";
import type { DeleteOptions } from "../client/transport.ts";
import { MemoryApi } from "../testing/memory-api.ts";
import { ControllerManager } from "./mod.ts";

const running: ControllerManager[] = [];
afterEach(async () => {
  for (const m of running.splice(0)) await m.stop();
});

async function cluster(...controllers: string[]) {
  const api = new MemoryApi();
  for (const of of [configMaps, secrets, pods, replicaSets, deployments, namespaces, nodes]) api.resources.push(of);
  const manager = new ControllerManager({ transport: api, controllers, rootCaPem: "PEM", clusterCidr: "10.244.0.0/16" });
  running.push(manager);
  await manager.start();
  return api;
}

const exists = async (api: MemoryApi, of: Collection, name: string) => {
  try {
    return await resource(api, of, of.namespaced ? "default" : undefined).get(name);
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
};

async function until<T>(what: string, look: () => Promise<T | undefined | false>): Promise<T> {
  const deadline = Date.now() + 30_000;
  for (;;) {
    const found = await look();
    if (found) return found;
    if (Date.now() > deadline) throw new Error(`never happened: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

const ref = (of: Collection, owner: KubeObject, block = true) => ({
  apiVersion: of.group ? `${of.group}/${of.version}` : of.version,
  kind: of.kind,
  name: owner.metadata.name!,
  uid: owner.metadata.uid!,
  controller: true,
  blockOwnerDeletion: block,
});

/** A Deployment, its ReplicaSet and that one's pod. */
async function family(api: MemoryApi) {
  const make = (of: Collection, name: string, owners: KubeObject["metadata"]["ownerReferences"] = [], finalizers: string[] = []) =>
    resource(api, of, "default").create({ metadata: { name, ownerReferences: owners, finalizers } });
  const d = await make(deployments as Collection, "d");
  const rs = await make(replicaSets as Collection, "rs", [ref(deployments as Collection, d)]);
  const pod = await make(pods as Collection, "p", [ref(replicaSets as Collection, rs)]);
  return { d, rs, pod, make };
}

const remove = (api: MemoryApi, of: Collection, name: string, options?: DeleteOptions) =>
  api.delete({ ...of, namespace: "default", name }, options ?? { propagationPolicy: "Background" });

describe("garbage collection", () => {
  test("in the background takes the owner first and then, level by level, what it owned", async () => {
    const api = await cluster("garbage-collector-controller");
    await family(api);
    await remove(api, deployments as Collection, "d");
    await until("all gone", async () => !(await exists(api, pods as Collection, "p")));
    const order = api.writes.filter((w) => w.verb === "delete").map((w) => w.target.resource);
    expect(order).toEqual(["deployments", "replicasets", "pods"]);
  });

  test("in the foreground keeps the owner until its last dependent is gone", async () => {
    const api = await cluster("garbage-collector-controller");
    const { pod } = await family(api);
    await api.patch({ ...pods, namespace: "default", name: "p" }, "merge", { metadata: { finalizers: ["example.com/hold"] } });
    await remove(api, deployments as Collection, "d", { propagationPolicy: "Foreground" });
    await until("the pod deleted", async () => (await exists(api, pods as Collection, "p"))?.metadata.deletionTimestamp);
    expect((await exists(api, deployments as Collection, "d"))?.metadata.finalizers).toEqual(["foregroundDeletion"]);
    expect(await exists(api, replicaSets as Collection, "rs")).toBeDefined();
    await api.patch({ ...pods, namespace: "default", name: "p" }, "merge", { metadata: { uid: pod.metadata.uid, finalizers: [] } });
    await until("all gone", async () => !(await exists(api, deployments as Collection, "d")));
    expect(await exists(api, replicaSets as Collection, "rs")).toBeUndefined();
  });

  test("orphaning lets the dependents live without their owner", async () => {
    const api = await cluster("garbage-collector-controller");
    await family(api);
    await remove(api, deployments as Collection, "d", { propagationPolicy: "Orphan" });
    await until("the owner gone", async () => !(await exists(api, deployments as Collection, "d")));
    expect((await exists(api, replicaSets as Collection, "rs"))?.metadata.ownerReferences ?? []).toEqual([]);
    expect((await exists(api, pods as Collection, "p"))?.metadata.ownerReferences?.length).toBe(1);
  });

  test("takes what names an owner that never was, and what names one of the same name made anew", async () => {
    const api = await cluster("garbage-collector-controller");
    const { make } = await family(api);
    const stranger = { ...ref(deployments as Collection, { metadata: { name: "d", uid: "another" } }) };
    await make(configMaps as Collection, "stale", [stranger]);
    await make(configMaps as Collection, "ghost", [ref(configMaps as Collection, { metadata: { name: "none", uid: "none" } })]);
    await until(
      "both gone",
      async () => !(await exists(api, configMaps as Collection, "stale")) && !(await exists(api, configMaps as Collection, "ghost")),
    );
    expect(await exists(api, deployments as Collection, "d")).toBeDefined();
  });

  test("keeps what has another owner that lives, and drops the reference to the one that does not", async () => {
    const api = await cluster("garbage-collector-controller");
    const { d, make } = await family(api);
    const second = await make(configMaps as Collection, "second");
    await make(secrets as Collection, "shared", [
      ref(deployments as Collection, d),
      { ...ref(configMaps as Collection, second), controller: false },
    ]);
    await remove(api, deployments as Collection, "d");
    await until("one owner", async () => (await exists(api, secrets as Collection, "shared"))?.metadata.ownerReferences?.length === 1);
    await remove(api, configMaps as Collection, "second");
    await until("no owner left", async () => !(await exists(api, secrets as Collection, "shared")));
  });

  test("leaves alone what names an owner of a kind it does not know", async () => {
    const api = await cluster("garbage-collector-controller");
    const { make } = await family(api);
    const owner = { apiVersion: "example.com/v1", kind: "Widget", name: "w", uid: "w" };
    await make(configMaps as Collection, "kept", [owner]);
    await make(configMaps as Collection, "ghost", [ref(configMaps as Collection, { metadata: { name: "none", uid: "none" } })]);
    await until("the ghost gone", async () => !(await exists(api, configMaps as Collection, "ghost")));
    expect(await exists(api, configMaps as Collection, "kept")).toBeDefined();
  });
});

describe("a namespace", () => {
  const space = (name: string): coreV1.Namespace => ({
    metadata: { name },
    spec: { finalizers: ["kubernetes"] },
    status: { phase: "Active" },
  });

  test("gets its default account and the cluster's authority", async () => {
    const api = await cluster("serviceaccount-controller", "root-ca-certificate-publisher-controller");
    await resource(api, namespaces).create(space("default"));
    const ca = await until(
      "the ConfigMap",
      async () => (await exists(api, configMaps as Collection, "kube-root-ca.crt")) as coreV1.ConfigMap | undefined,
    );
    expect(ca.data).toEqual({ "ca.crt": "PEM" });
    const accounts = () => api.list({ group: "", version: "v1", resource: "serviceaccounts" });
    await until("the account", async () => (await accounts()).items.length === 1);
    await remove(api, { group: "", version: "v1", resource: "serviceaccounts", kind: "ServiceAccount", namespaced: true }, "default");
    await until("the account again", async () => (await accounts()).items.length === 1);
  });

  test("that is deleted is emptied first, and tells what it waits for", async () => {
    const api = await cluster("namespace-controller");
    await resource(api, namespaces).create(space("default"));
    const maps = resource(api, configMaps, "default");
    await maps.create({ metadata: { name: "a" } });
    await maps.create({ metadata: { name: "held", finalizers: ["example.com/hold"] } });
    await resource(api, configMaps, "other").create({ metadata: { name: "b" } });
    await api.delete({ ...namespaces, name: "default" });
    const waiting = await until("a condition", async () => {
      const n = (await exists(api, namespaces as Collection, "default")) as coreV1.Namespace | undefined;
      return n?.status?.conditions?.some((c) => c.status === "True") && n;
    });
    expect(waiting.status?.phase).toBe("Terminating");
    expect(waiting.status?.conditions?.filter((c) => c.status === "True").map((c) => [c.reason, c.message])).toEqual([
      ["SomeResourcesRemain", "Some resources are remaining: configmaps. has 1 resource instances"],
      ["SomeFinalizersRemain", "Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances"],
    ]);
    await maps.patch("held", "merge", { metadata: { finalizers: [] } });
    await until("the namespace gone", async () => !(await exists(api, namespaces as Collection, "default")));
    expect((await resource(api, configMaps).list()).items.map((m) => m.metadata.name)).toEqual(["b"]);
  });
});

test("each node gets a range of its own, and a node that goes gives its back", async () => {
  const api = await cluster("node-ipam-controller");
  for (const name of ["a", "b"]) await resource(api, nodes).create({ metadata: { name }, spec: {} });
  const cidr = async (name: string) => ((await exists(api, nodes as Collection, name)) as coreV1.Node | undefined)?.spec?.podCIDR;
  await until("two ranges", async () => (await cidr("a")) && (await cidr("b")));
  expect([await cidr("a"), await cidr("b")]).toEqual(["10.244.0.0/24", "10.244.1.0/24"]);
  await api.delete({ ...nodes, name: "a" });
  await resource(api, nodes).create({ metadata: { name: "c" }, spec: {} });
  expect(await until("a range", () => cidr("c"))).toMatch(/^10\.244\.[02]\.0\/24$/);
});
