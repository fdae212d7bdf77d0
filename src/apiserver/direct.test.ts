// The API without sockets, on a store in memory and on Debian's etcd.
import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { generateKeyPairSync } from "node:crypto";
import type * as apps from "../api/gen/apps/v1.ts";
import type * as core from "../api/gen/core/v1.ts";
import type { StatusError } from "../api/status.ts";
import type { StoreClient } from "../client/etcd.ts";
import type { ApiTransport, WatchEvent } from "../client/transport.ts";
import { noEtcd, type RealEtcd, startEtcd } from "../testing/etcd.ts";
import { MemoryStore } from "../testing/memory-store.ts";
import { ApiServer } from "./mod.ts";

const keys = generateKeyPairSync("ec", { namedCurve: "P-256" });
const pem = (k: { export(o: { type: "pkcs8" | "spki"; format: "pem" }): string | Buffer }, type: "pkcs8" | "spki") =>
  String(k.export({ type, format: "pem" }));

const undo: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const f of undo.splice(0)) await f();
});

let etcd: RealEtcd | undefined;
let onEtcd = false;
const missing = noEtcd;
if (missing) console.log(`skipped on etcd: ${missing}`);

interface Cluster {
  store: StoreClient;
  prefix: string;
  admin: ApiTransport;
  api: ApiServer;
}

async function server(before?: Cluster): Promise<Cluster> {
  const store = before?.store ?? (onEtcd ? etcd!.client() : new MemoryStore());
  const prefix = before?.prefix ?? `/${crypto.randomUUID()}`;
  const api = new ApiServer({
    store,
    storePrefix: prefix,
    listen: [],
    tls: { cert: "", key: "", clientCa: "" },
    serviceAccount: {
      issuer: "https://kubernetes.default.svc",
      signingKeyPem: pem(keys.privateKey, "pkcs8"),
      publicKeysPem: [pem(keys.publicKey, "spki")],
    },
    serviceCidr: "10.96.0.0/16",
  });
  await api.start();
  undo.push(() => api.stop());
  return { store, prefix, api, admin: api.transport({ name: "admin", groups: ["system:masters"] }) };
}

const pods = { group: "", version: "v1", resource: "pods", namespace: "default" };
const configMaps = { group: "", version: "v1", resource: "configmaps", namespace: "default" };
const deployments = { group: "apps", version: "v1", resource: "deployments", namespace: "default" };

async function take<T>(events: AsyncIterable<WatchEvent<T>>, n: number): Promise<WatchEvent<T>[]> {
  const out: WatchEvent<T>[] = [];
  if (n === 0) return out;
  for await (const e of events) if (out.push(e) === n) break;
  return out;
}

async function failure(work: Promise<unknown>): Promise<StatusError> {
  try {
    await work;
  } catch (error) {
    return error as StatusError;
  }
  throw new Error("it did not fail");
}

const template = {
  metadata: { labels: { app: "web" } },
  spec: { containers: [{ name: "c", image: "x" }] },
};

function suite(): void {
  test("a created object is read, listed, updated and deleted again", async () => {
    const { admin } = await server();
    const made = await admin.create<core.ConfigMap>(configMaps, { metadata: { name: "a" }, data: { k: "1" } });
    expect(made).toMatchObject({ kind: "ConfigMap", apiVersion: "v1", metadata: { name: "a", namespace: "default" }, data: { k: "1" } });
    expect(made.metadata.uid).toMatch(/^[0-9a-f-]{36}$/);
    expect(Object.isFrozen(made.data)).toBe(true);
    expect(await admin.get<core.ConfigMap>({ ...configMaps, name: "a" })).toEqual(made);
    const list = await admin.list<core.ConfigMap>(configMaps);
    expect(list.items).toEqual([made]);
    const next = await admin.update<core.ConfigMap>({ ...configMaps, name: "a" }, { ...made, data: { k: "2" } });
    expect(next.data).toEqual({ k: "2" });
    expect(Number(next.metadata.resourceVersion)).toBeGreaterThan(Number(made.metadata.resourceVersion));
    await admin.delete({ ...configMaps, name: "a" });
    expect((await failure(admin.get({ ...configMaps, name: "a" }))).status).toMatchObject({
      code: 404,
      reason: "NotFound",
      message: 'configmaps "a" not found',
      details: { name: "a", kind: "configmaps" },
    });
  });

  test("an update of an old version is refused, and an unchanged one is not written", async () => {
    const { admin } = await server();
    const first = await admin.create<core.ConfigMap>(configMaps, { metadata: { name: "a" }, data: { k: "1" } });
    const second = await admin.update<core.ConfigMap>({ ...configMaps, name: "a" }, { ...first, data: { k: "2" } });
    const refused = await failure(admin.update({ ...configMaps, name: "a" }, { ...first, data: { k: "3" } }));
    expect(refused.message).toBe(
      'Operation cannot be fulfilled on configmaps "a": the object has been modified; please apply your changes to the latest version and try again',
    );
    expect(refused.code).toBe(409);
    const same = await admin.update<core.ConfigMap>({ ...configMaps, name: "a" }, second);
    expect(same.metadata.resourceVersion).toBe(second.metadata.resourceVersion);
  });

  test("a watch tells what was there, and what happens then", async () => {
    const { admin } = await server();
    const stop = new AbortController();
    const first = await admin.create<core.ConfigMap>(configMaps, { metadata: { name: "a", labels: { app: "x" } } });
    const events = take(admin.watch<core.ConfigMap>(configMaps, { labelSelector: "app=x" }, stop.signal), 4);
    await admin.create(configMaps, { metadata: { name: "b", labels: { app: "y" } } });
    await admin.patch({ ...configMaps, name: "b" }, "merge", { metadata: { labels: { app: "x" } } });
    await admin.patch({ ...configMaps, name: "b" }, "merge", { metadata: { labels: { app: "z" } } });
    await admin.delete({ ...configMaps, name: "a" });
    expect((await events).map((e) => [e.type, e.object.metadata.name])).toEqual([
      ["ADDED", "a"],
      ["ADDED", "b"],
      ["DELETED", "b"],
      ["DELETED", "a"],
    ]);
    const later = take(admin.watch<core.ConfigMap>(configMaps, { resourceVersion: first.metadata.resourceVersion }, stop.signal), 4);
    expect((await later).map((e) => e.type)).toEqual(["ADDED", "MODIFIED", "MODIFIED", "DELETED"]);
    stop.abort();
  });

  test("a watch from before the server's start is too old", async () => {
    const first = await server();
    await first.api.stop();
    const { admin } = await server(first);
    const error = await failure(take(admin.watch(configMaps, { resourceVersion: "1" }, new AbortController().signal), 1));
    expect(error.status).toMatchObject({ code: 410, reason: "Expired" });
    expect(error.message).toStartWith("too old resource version: 1 (");
  });

  test("a long list comes in pages of one revision", async () => {
    const { admin } = await server();
    for (let i = 0; i < 7; i++) await admin.create(configMaps, { metadata: { name: `c${i}` } });
    const first = await admin.list(configMaps, { limit: 3 });
    expect(first.items.map((i) => i.metadata.name)).toEqual(["c0", "c1", "c2"]);
    expect(first.metadata.remainingItemCount).toBe(4);
    await admin.create(configMaps, { metadata: { name: "c3x" } });
    const second = await admin.list(configMaps, { limit: 3, continue: first.metadata.continue });
    expect(second.items.map((i) => i.metadata.name)).toEqual(["c3", "c4", "c5"]);
    const third = await admin.list(configMaps, { limit: 3, continue: second.metadata.continue });
    expect(third.items.map((i) => i.metadata.name)).toEqual(["c6"]);
    expect(third.metadata.continue).toBeUndefined();
  });

  test("generation counts what is asked for, and status has its own door", async () => {
    const { admin } = await server();
    const spec = { selector: { matchLabels: { app: "web" } }, template };
    const made = await admin.create<apps.Deployment>(deployments, { metadata: { name: "web" }, spec, status: { replicas: 9 } });
    expect(made.metadata.generation).toBe(1);
    expect(made.spec.replicas).toBe(1);
    expect(made.status).toEqual({});
    const target = { ...deployments, name: "web" };
    const reported = await admin.update<apps.Deployment>(
      { ...target, subresource: "status" },
      { ...made, spec: { ...made.spec, replicas: 5 }, status: { replicas: 1, observedGeneration: 1 } },
    );
    expect(reported.spec.replicas).toBe(1);
    expect(reported.status?.replicas).toBe(1);
    expect(reported.metadata.generation).toBe(1);
    const scaled = await admin.patch<apps.Deployment>({ ...target, subresource: "scale" }, "merge", { spec: { replicas: 3 } });
    expect(scaled).toMatchObject({ kind: "Scale", spec: { replicas: 3 }, status: { replicas: 1, selector: "app=web" } });
    expect((await admin.get<apps.Deployment>(target)).metadata.generation).toBe(2);
  });

  test("a pod goes at once before it runs, and with grace after that", async () => {
    const { admin } = await server();
    await admin.create({ group: "", version: "v1", resource: "serviceaccounts", namespace: "default" }, { metadata: { name: "default" } });
    const pod = { metadata: { name: "p" }, spec: template.spec };
    const made = await admin.create<core.Pod>(pods, pod);
    expect(made.status).toMatchObject({ phase: "Pending", qosClass: "BestEffort" });
    expect(made.spec.volumes?.[0]?.name).toStartWith("kube-api-access-");
    await admin.delete({ ...pods, name: "p" });
    expect((await admin.list(pods)).items).toEqual([]);
    await admin.create(pods, pod);
    await admin.create({ ...pods, name: "p", subresource: "binding" }, { metadata: { name: "p" }, target: { kind: "Node", name: "n1" } });
    const bound = await admin.list<core.Pod>(pods, { fieldSelector: "spec.nodeName=n1" });
    expect(bound.items.map((p) => p.spec.nodeName)).toEqual(["n1"]);
    const going = await admin.delete<core.Pod>({ ...pods, name: "p" });
    expect(going.metadata.deletionGracePeriodSeconds).toBe(30);
    expect(going.metadata.deletionTimestamp).toBeDefined();
    await admin.delete({ ...pods, name: "p" }, { gracePeriodSeconds: 0 });
    expect((await admin.list(pods)).items).toEqual([]);
  });

  test("finalizers hold a deletion back until they are gone", async () => {
    const { admin } = await server();
    const target = { ...configMaps, name: "a" };
    await admin.create(configMaps, { metadata: { name: "a", finalizers: ["example.com/wait"] } });
    const held = await admin.delete<core.ConfigMap>(target);
    expect(held.metadata.deletionTimestamp).toBeDefined();
    await admin.patch(target, "json", [{ op: "remove", path: "/metadata/finalizers" }]);
    expect((await failure(admin.get(target))).code).toBe(404);
  });

  test("nothing is made in a namespace that is not there, or leaves", async () => {
    const { admin } = await server();
    expect((await failure(admin.create({ ...configMaps, namespace: "no" }, { metadata: { name: "a" } }))).message).toBe(
      'namespaces "no" not found',
    );
    const namespaces = { group: "", version: "v1", resource: "namespaces" };
    await admin.create(namespaces, { metadata: { name: "leaving" } });
    await admin.delete({ ...namespaces, name: "leaving" });
    const error = await failure(admin.create({ ...configMaps, namespace: "leaving" }, { metadata: { name: "a" } }));
    expect(error.message).toContain("because it is being terminated");
    const ns = await admin.get<core.Namespace>({ ...namespaces, name: "leaving" });
    expect(ns.status?.phase).toBe("Terminating");
    await admin.update({ ...namespaces, name: "leaving", subresource: "finalize" }, { ...ns, spec: { finalizers: [] } });
    expect((await failure(admin.get({ ...namespaces, name: "leaving" }))).code).toBe(404);
  });

  test("two writers of one object both succeed in the end", async () => {
    const { admin } = await server();
    await admin.create(configMaps, { metadata: { name: "a" } });
    const work = Array.from({ length: 20 }, (_, i) => admin.patch({ ...configMaps, name: "a" }, "merge", { data: { [`k${i}`]: "v" } }));
    await Promise.all(work);
    const found = await admin.get<core.ConfigMap>({ ...configMaps, name: "a" });
    expect(Object.keys(found.data ?? {})).toHaveLength(20);
  });

  test("a user without rights is refused in upstream's words", async () => {
    const { api } = await server();
    const jane = api.transport({ name: "jane", groups: ["system:authenticated"] });
    const error = await failure(jane.list(pods));
    expect(error.code).toBe(403);
    expect(error.message).toBe('pods is forbidden: User "jane" cannot list resource "pods" in API group "" in the namespace "default"');
  });

  test("server-side apply creates, merges and names who stands in the way", async () => {
    const { admin } = await server();
    const target = { ...configMaps, name: "a" };
    const config = (data: object) => ({ apiVersion: "v1", kind: "ConfigMap", metadata: { name: "a" }, data });
    const made = await admin.patch<core.ConfigMap>(target, "apply", config({ a: "1" }), { fieldManager: "one" });
    expect(made.metadata.managedFields?.map((m) => [m.manager, m.operation])).toEqual([["one", "Apply"]]);
    const both = await admin.patch<core.ConfigMap>(target, "apply", config({ b: "2" }), { fieldManager: "two" });
    expect(both.data).toEqual({ a: "1", b: "2" });
    const error = await failure(admin.patch(target, "apply", config({ a: "3" }), { fieldManager: "two" }));
    expect(error.code).toBe(409);
    expect(error.message).toContain('conflict with "one"');
  });
}

describe("on a store in memory", suite);

describe.skipIf(missing !== undefined)("on etcd", () => {
  beforeAll(async () => {
    etcd = await startEtcd();
    onEtcd = true;
  });
  afterAll(async () => {
    onEtcd = false;
    await etcd?.[Symbol.asyncDispose]();
  });
  suite();
});
