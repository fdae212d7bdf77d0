// Several apiservers on one store: what one gives out, no other does.
import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { unwrapMessage } from "../../api/codec/protobuf-decode.ts";
import type * as core from "../../api/gen/core/v1.ts";
import type * as networking from "../../api/gen/networking/v1.ts";
import { isConflict, isNotFound, StatusError } from "../../api/status.ts";
import { type StoreClient, StoreError } from "../../client/etcd.ts";
import type { ApiTransport } from "../../client/transport.ts";
import { noEtcd, type RealEtcd, startEtcd } from "../../testing/etcd.ts";
import { MemoryStore } from "../../testing/memory-store.ts";
import { ApiServer, type ApiServerOptions } from "../mod.ts";
import { Storage } from "../storage/storage.ts";
import { NodePorts } from "./node-ports.ts";
import { PortBitmap } from "./port-bitmap.ts";

const services = { group: "", version: "v1", resource: "services", namespace: "default" };
const ipAddresses = { group: "networking.k8s.io", version: "v1", resource: "ipaddresses" };
const portKey = (prefix: string) => Buffer.from(`${prefix}/ranges/servicenodeports`);

const undo: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const f of undo.splice(0).reverse()) await f();
});

async function apiServer(store: StoreClient, prefix: string, options: Partial<ApiServerOptions> = {}): Promise<ApiTransport> {
  const api = new ApiServer({
    store,
    storePrefix: prefix,
    listen: [],
    tls: { cert: "", key: "", clientCa: "" },
    serviceAccount: { issuer: "https://kubernetes.default.svc", publicKeysPem: [] },
    serviceCidr: "10.96.0.0/16",
    ...options,
  });
  await api.start();
  undo.push(() => api.stop());
  return api.transport({ name: "admin", groups: ["system:masters"] });
}

const service = (name: string, spec: object = {}) => ({ metadata: { name }, spec: { type: "NodePort", ports: [{ port: 80 }], ...spec } });

/** What the store says is taken, beside what the services have. */
async function audit(admin: ApiTransport, store: StoreClient, prefix: string) {
  const { items } = await admin.list<core.Service>({ ...services, namespace: undefined });
  const addresses = await admin.list<networking.IPAddress>(ipAddresses);
  const { kvs } = await store.range(portKey(prefix));
  const stored = kvs[0] && (JSON.parse(Buffer.from(kvs[0].value).toString()) as core.RangeAllocation);
  const [from, to] = (stored?.range ?? "30000-32767").split("-").map(Number);
  return {
    ports: items.flatMap((s) => [...new Set(s.spec!.ports?.flatMap((p) => p.nodePort ?? []))]).sort((a, b) => a - b),
    ips: items.flatMap((s) => (s.spec!.clusterIPs ?? []).filter((ip) => ip !== "None")).sort(),
    portsTaken: stored ? [...PortBitmap.decode({ from: from!, to: to! }, stored).ports()] : [],
    ipsTaken: addresses.items.map((a) => a.metadata.name!).sort(),
  };
}

/** Every address and port has one service, and what is taken is what services have. */
async function expectNoDuplicates(admin: ApiTransport, store: StoreClient, prefix: string): Promise<void> {
  const { ports, ips, portsTaken, ipsTaken } = await audit(admin, store, prefix);
  expect(new Set(ports).size).toBe(ports.length);
  expect(new Set(ips).size).toBe(ips.length);
  expect(portsTaken).toEqual(ports);
  expect(ipsTaken).toEqual(ips);
}

function suite(makeStore: () => StoreClient): void {
  const prefix = () => `/${crypto.randomUUID()}`;

  test("services made at once through three servers have addresses and node ports of their own", async () => {
    const [store, at] = [makeStore(), prefix()];
    // Hardly more room than services, so that servers pick the same ones.
    const options = { serviceCidr: "10.96.0.0/25", nodePorts: { from: 30_000, to: 30_099 } };
    const admins = await Promise.all([0, 1, 2].map(() => apiServer(store, at, options)));
    await Promise.all(Array.from({ length: 96 }, (_, i) => admins[i % 3]!.create(services, service(`s${i}`))));
    await expectNoDuplicates(admins[0]!, store, at);
    expect((await audit(admins[1]!, store, at)).ports).toHaveLength(96);
  }, 30_000);

  test("services made, changed and deleted at random through three servers never share anything, and leave nothing behind", async () => {
    const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31));
    console.log(`seed ${seed}`);
    let state = seed;
    const random = (n: number) => {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) | 0;
      return ((state >>> 8) % n) as number;
    };
    const [store, at] = [makeStore(), prefix()];
    const options = { serviceCidr: "10.96.0.0/26", nodePorts: { from: 30_000, to: 30_031 } };
    const admins = await Promise.all([0, 1, 2].map(() => apiServer(store, at, options)));
    /** Refusals that are right where others are at work, or all is given out. */
    const expected = /already exists|not found|already allocated|range is full|has been modified|may not be/;
    const kinds = [{ type: "NodePort" }, { type: "ClusterIP" }, { clusterIP: "None", type: "ClusterIP" }];
    const step = async (admin: ApiTransport, act: number, name: string, kind: number, port: number, ip: number): Promise<void> => {
      const target = { ...services, name };
      const ports = [{ port: 80, ...(port < 8 && kind === 0 ? { nodePort: 30_000 + port } : {}) }];
      try {
        if (act < 4)
          await admin.create(
            services,
            service(name, { ...kinds[kind], ports, ...(ip < 8 && kind < 2 ? { clusterIP: `10.96.0.${40 + ip}` } : {}) }),
          );
        else if (act < 6) await admin.delete(target);
        else if (act < 8) await admin.patch(target, "merge", { spec: { type: kind === 0 ? "NodePort" : "ClusterIP", ports } });
        else if (act < 9)
          await admin.patch(target, "merge", { spec: { type: "ExternalName", externalName: "example.com", clusterIP: "" } });
        else await admin.patch(target, "merge", { spec: { type: "NodePort", externalName: null, ports } });
      } catch (error) {
        if (!(error instanceof StatusError) || !(isNotFound(error) || isConflict(error) || expected.test(error.message))) throw error;
      }
    };
    const worker = async (admin: ApiTransport) => {
      for (let i = 0; i < 40; i++) await step(admin, random(10), `s${random(12)}`, random(3), random(16), random(16));
    };
    for (let round = 0; round < 3; round++) {
      await Promise.all(Array.from({ length: 9 }, (_, i) => worker(admins[i % 3]!)));
      await expectNoDuplicates(admins[round]!, store, at);
    }
    const { items } = await admins[0]!.list<core.Service>(services);
    await Promise.all(
      items.filter((s) => s.metadata.name !== "kubernetes").map((s, i) => admins[i % 3]!.delete({ ...services, name: s.metadata.name! })),
    );
    expect(await audit(admins[0]!, store, at)).toEqual({ ports: [], ips: ["10.96.0.1"], portsTaken: [], ipsTaken: ["10.96.0.1"] });
  }, 60_000);

  test("a port and an address can be had again as soon as the deletion is answered, at another server too", async () => {
    const [store, at] = [makeStore(), prefix()];
    const admins = await Promise.all([0, 1].map(() => apiServer(store, at)));
    for (let i = 0; i < 10; i++) {
      const name = `s${i}`;
      await admins[i % 2]!.create(services, service(name, { clusterIP: "10.96.7.7", ports: [{ port: 80, nodePort: 30_080 }] }));
      await admins[(i >> 1) % 2]!.delete({ ...services, name });
    }
    await expectNoDuplicates(admins[0]!, store, at);
  });
}

describe("on a store of our own", () => {
  suite(() => new MemoryStore());

  test("a store that upstream used is gone on with: ports that it noted are taken", async () => {
    const [store, at] = [new MemoryStore(), "/registry"];
    const theirs = new PortBitmap({ from: 30_000, to: 32_767 });
    theirs.set(30_080);
    const key = portKey(at);
    const value = { kind: "RangeAllocation", apiVersion: "v1", metadata: { creationTimestamp: null }, ...theirs.encode() };
    await store.txn([], [{ type: "put", key, value: Buffer.from(JSON.stringify(value)) }]);
    const admin = await apiServer(store, at);
    const ask = admin.create(services, service("a", { ports: [{ port: 80, nodePort: 30_080 }] }));
    expect((await ask.catch((e: Error) => e.message)) as string).toBe(
      'Service "a" is invalid: spec.ports[0].nodePort: Invalid value: 30080: provided port is already allocated',
    );
    const b = await admin.create<core.Service>(services, service("b", { ports: [{ port: 80, nodePort: 30_081 }] }));
    expect((await audit(admin, store, at)).portsTaken).toEqual([30_080, b.spec!.ports![0]!.nodePort!]);
  });

  test("services of a store without a list of ports have theirs, and an address each that is missing is made", async () => {
    const [store, at] = [new MemoryStore(), "/registry"];
    const old = {
      kind: "Service",
      apiVersion: "v1",
      metadata: { name: "old", namespace: "default", uid: crypto.randomUUID(), creationTimestamp: "2024-01-01T00:00:00Z" },
      spec: {
        type: "NodePort",
        clusterIP: "10.96.0.9",
        clusterIPs: ["10.96.0.9"],
        ports: [{ port: 80, protocol: "TCP", nodePort: 30_009 }],
      },
    };
    await store.txn([], [{ type: "put", key: Buffer.from(`${at}/services/specs/default/old`), value: Buffer.from(JSON.stringify(old)) }]);
    const admin = await apiServer(store, at);
    await expectNoDuplicates(admin, store, at);
    expect((await audit(admin, store, at)).portsTaken).toEqual([30_009]);
  });

  test("a port without a service is given back by the third repair in a row, and by none before", async () => {
    const json = { decode: () => ({ metadata: {} }), encode: () => undefined };
    const storage = new Storage(new MemoryStore(), "/registry", json);
    const used = new Set([30_001]);
    const ports = new NodePorts({ storage, range: { from: 30_000, to: 30_015 }, used: () => used });
    await storage.start();
    undo.push(async () => storage.stop());
    const taken = () => ports.change((bitmap) => [...bitmap.ports()]);
    await ports.change((bitmap) => bitmap.set(30_002));
    for (const left of [[30_001, 30_002], [30_001, 30_002], [30_001]]) {
      await ports.repair();
      expect(await taken()).toEqual(left);
    }
    // Its service came between.
    await ports.change((bitmap) => bitmap.set(30_003));
    await ports.repair();
    await ports.repair();
    used.add(30_003);
    await ports.repair();
    used.delete(30_003);
    await ports.repair();
    expect(await taken()).toEqual([30_001, 30_003]);
  });

  test("in upstream's form the list of ports is a RangeAllocation in protobuf, which servers of either form go on with", async () => {
    const [store, at] = [new MemoryStore(), "/registry"];
    const one = await apiServer(store, at, { storageMediaType: "application/vnd.kubernetes.protobuf" });
    await one.create(services, service("a", { ports: [{ port: 80, nodePort: 30_009 }] }));
    const { value } = (await store.range(portKey(at))).kvs[0]!;
    const { apiVersion, kind, raw } = unwrapMessage(value);
    expect([apiVersion, kind]).toEqual(["v1", "RangeAllocation"]);
    // Fields 2, the range, and 3, the number 2^9.
    expect(Buffer.from(raw).toString("hex")).toContain(`120b${Buffer.from("30000-32767").toString("hex")}1a020200`);
    const two = await apiServer(store, at);
    const refused = await two.create(services, service("b", { ports: [{ port: 80, nodePort: 30_009 }] })).catch((e: Error) => e.message);
    expect(refused).toContain("provided port is already allocated");
    await two.create(services, service("c", { ports: [{ port: 80, nodePort: 30_010 }] }));
    expect((await audit(one, store, at)).portsTaken).toEqual([30_009, 30_010]);
  });

  test("servers that are told different ranges don't give out each other's ports", async () => {
    const [store, at] = [new MemoryStore(), "/registry"];
    const one = await apiServer(store, at);
    await one.create(services, service("a"));
    const two = await apiServer(store, at, { nodePorts: { from: 30_000, to: 30_999 } });
    const refused = await one.create(services, service("b")).catch((e: Error) => e.message);
    expect(refused).toBe("Internal error occurred: failed to allocate a nodePort: the provided range does not match the current range");
    await two.create(services, service("c"));
    const { ports } = await audit(two, store, at);
    expect(new Set(ports).size).toBe(2);
  });

  test("where nobody knows whether a service was stored, its address goes with it and its port stays taken", async () => {
    for (const happened of [true, false]) {
      const store = new MemoryStore();
      const admin = await apiServer(store, "/registry");
      await admin.create(services, service("first"));
      const txn = store.txn.bind(store);
      store.txn = async (compare, success, failure) => {
        if (!success.some((op) => Buffer.from(op.key).toString().endsWith("/default/lost"))) return txn(compare, success, failure);
        if (happened) await txn(compare, success, failure);
        throw new StoreError("timeout", "etcdserver: request timed out");
      };
      expect(await admin.create(services, service("lost")).catch((e: Error) => e.message)).toBe("etcdserver: request timed out");
      const { ports, portsTaken, ips, ipsTaken } = await audit(admin, store, "/registry");
      expect(ips).toEqual(ipsTaken);
      expect(portsTaken).toHaveLength(2);
      expect(ports.every((port) => portsTaken.includes(port))).toBe(true);
    }
  });
});

const missing = noEtcd;
if (missing) console.log(`skipped on etcd: ${missing}`);
describe.skipIf(missing !== undefined)("on Debian's etcd", () => {
  let etcd: RealEtcd;
  beforeAll(async () => {
    etcd = await startEtcd();
  });
  afterAll(async () => {
    await etcd?.[Symbol.asyncDispose]();
  });
  suite(() => etcd.client());
});
