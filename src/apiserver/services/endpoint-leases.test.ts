// The endpoints of the service "kubernetes", as several apiservers keep them.
import { afterEach, expect, test } from "bun:test";
import type * as core from "../../api/gen/core/v1.ts";
import type * as discovery from "../../api/gen/discovery/v1.ts";
import type { StoreClient } from "../../client/etcd.ts";
import { MemoryStore } from "../../testing/memory-store.ts";
import { ApiServer, type ApiServerOptions } from "../mod.ts";

const undo: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const f of undo.splice(0).reverse()) await f();
});

async function apiServer(store: StoreClient, address: string, options: Partial<ApiServerOptions> = {}): Promise<ApiServer> {
  const api = new ApiServer({
    store,
    listen: [],
    tls: { cert: "", key: "", clientCa: "" },
    serviceAccount: { issuer: "https://kubernetes.default.svc", publicKeysPem: [] },
    serviceCidr: "10.96.0.0/16",
    advertiseAddress: address,
    ...options,
  });
  await api.start();
  undo.push(() => api.stop());
  return api;
}

const at = { namespace: "default", name: "kubernetes" };
async function endpoints(api: ApiServer): Promise<string[]> {
  const admin = api.transport({ name: "admin", groups: ["system:masters"] });
  const [old, slice] = await Promise.all([
    admin.get<core.Endpoints>({ group: "", version: "v1", resource: "endpoints", ...at }),
    admin.get<discovery.EndpointSlice>({ group: "discovery.k8s.io", version: "v1", resource: "endpointslices", ...at }),
  ]);
  const addresses = old.subsets?.flatMap((s) => s.addresses?.map((a) => a.ip) ?? []) ?? [];
  expect(slice.endpoints!.flatMap((e) => e.addresses)).toEqual(addresses);
  return addresses;
}

async function until(what: string, api: ApiServer, wanted: string[]): Promise<void> {
  const deadline = Date.now() + 30_000;
  for (let seen: string[] = []; ; seen = await endpoints(api).catch(() => [])) {
    if (Bun.deepEquals(seen, wanted)) return;
    if (Date.now() > deadline) throw new Error(`${what}: ${wanted.join()}, but they are ${seen.join()}`);
    await Bun.sleep(5);
  }
}

const leases = async (store: StoreClient) => {
  const { kvs } = await store.range(Buffer.from("/registry/masterleases/"), { end: Buffer.from("/registry/masterleases0") });
  return kvs;
};

test("every server that runs is an endpoint, one that stops is none at once, and one that comes back is again", async () => {
  const store = new MemoryStore();
  const [a] = await Promise.all(["10.0.0.3", "10.0.0.1", "10.0.0.2"].map((ip) => apiServer(store, ip)));
  await until("three", a!, ["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
  const b = await apiServer(store, "10.0.0.9");
  expect(await endpoints(b)).toContain("10.0.0.9");
  await b.stop();
  expect(await endpoints(a!)).toEqual(["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
  await apiServer(store, "10.0.0.9");
  await until("it again", a!, ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.9"]);
});

test("leases lie where upstream's do, as Endpoints with one address, and end with a lease of the store", async () => {
  const store = new MemoryStore();
  await apiServer(store, "10.0.0.1");
  const [kv, ...more] = await leases(store);
  expect(more).toEqual([]);
  expect(Buffer.from(kv!.key).toString()).toBe("/registry/masterleases/10.0.0.1");
  expect(JSON.parse(Buffer.from(kv!.value).toString())).toEqual({
    kind: "Endpoints",
    apiVersion: "v1",
    metadata: { generation: 1 },
    subsets: [{ addresses: [{ ip: "10.0.0.1" }] }],
  });
  expect(await store.leaseKeepAlive(kv!.lease)).toEqual({ ttl: 15 });
});

test("a server that was killed leaves the endpoints when its lease runs out, and upstream's stay while theirs lasts", async () => {
  const store = new MemoryStore();
  const theirs = { kind: "Endpoints", apiVersion: "v1", metadata: { generation: 7 }, subsets: [{ addresses: [{ ip: "10.0.0.7" }] }] };
  const { id } = await store.leaseGrant(15);
  await store.txn(
    [],
    [{ type: "put", key: Buffer.from("/registry/masterleases/10.0.0.7"), value: Buffer.from(JSON.stringify(theirs)), lease: id }],
  );
  const a = await apiServer(store, "10.0.0.1");
  expect(await endpoints(a)).toEqual(["10.0.0.1", "10.0.0.7"]);
  // What the store does when nobody renews it.
  await store.leaseRevoke(id);
  await until("one", a, ["10.0.0.1"]);
});

test("a lease that somebody else takes away is taken again", async () => {
  const store = new MemoryStore();
  const a = await apiServer(store, "10.0.0.1");
  const [kv] = await leases(store);
  await store.leaseRevoke(kv!.lease);
  const deadline = Date.now() + 30_000;
  while ((await leases(store)).length === 0 && Date.now() < deadline) await Bun.sleep(5);
  expect(await leases(store)).toHaveLength(1);
  await until("it", a, ["10.0.0.1"]);
});

test("the last server's address stays when it stops, for pods that wait for it; with the reconciler off nothing is written", async () => {
  const store = new MemoryStore();
  const a = await apiServer(store, "10.0.0.1");
  await a.stop();
  expect(await leases(store)).toEqual([]);
  const b = await apiServer(store, "10.0.0.2", { endpointReconciler: "none" });
  expect(await endpoints(b)).toEqual(["10.0.0.1"]);
  expect(await leases(store)).toEqual([]);
});
