// The server under etcd's own client, and side by side with a real etcd.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Op } from "../../client/etcd.ts";
import { EtcdClient } from "../../client/etcd-grpc.ts";
import { Requests } from "../../client/etcd-grpc-endpoints.ts";
import { type Channel, connect, createClient } from "../../rpc/client.ts";
import { KV, Lease, Maintenance, Watch, type WatchRequestSchema, type WatchResponse } from "../../rpc/gen/etcd/rpc_pb.ts";
import { Code, type RpcError } from "../../rpc/types.ts";
import { testPki } from "../../testing/certificates.ts";
import { noEtcd, noEtcdctl, startEtcd } from "../../testing/etcd.ts";
import { Collector } from "../../testing/store-contract.ts";
import { Store, type StoreOptions } from "../mod.ts";
import { serveHttp } from "./http.ts";

const dir = mkdtempSync(join(tmpdir(), "kubun-server-"));
let folders = 0;
const LOCAL = { host: "127.0.0.1", port: 0 };

async function serve(options: Partial<StoreOptions> = {}): Promise<Store> {
  const store = new Store({ dataDir: join(dir, String(folders++)), listen: [LOCAL], ...options });
  await store.start();
  return store;
}

const bytes = (s: string) => new TextEncoder().encode(s);
const text = (b: Uint8Array) => new TextDecoder().decode(b);
const failure = async (promise: Promise<unknown>) =>
  (await promise.then(
    () => undefined,
    (e: unknown) => e,
  )) as RpcError;

let store: Store;
let channel: Channel;
beforeAll(async () => {
  store = await serve();
  const { port } = new URL(store.address!);
  channel = connect({ host: "127.0.0.1", port: Number(port) });
});
afterAll(async () => {
  channel.close();
  await store.stop();
  rmSync(dir, { recursive: true, force: true });
});

if (noEtcdctl) console.log(`skipped: etcdctl against the store: ${noEtcdctl}`);

describe.skipIf(noEtcdctl !== undefined)("etcdctl", () => {
  const env = { ...process.env, ETCDCTL_API: "3" };
  async function etcdctl(args: string[], input = ""): Promise<{ out: string; err: string; code: number }> {
    const child = Bun.spawn(["etcdctl", "--endpoints", store.address!, ...args], {
      env,
      stdin: bytes(input),
      stdout: "pipe",
      stderr: "pipe",
    });
    const [out, err, code] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text(), child.exited]);
    return { out, err, code };
  }
  const out = async (...args: string[]) => (await etcdctl(args)).out;

  test("puts, gets with its flags, and deletes", async () => {
    expect(await out("put", "/c/a", "1")).toBe("OK\n");
    await out("put", "/c/b", "0");
    expect(await out("put", "/c/b", "3", "--prev-kv")).toBe("OK\n/c/b\n0\n");
    expect(await out("get", "/c/a")).toBe("/c/a\n1\n");
    expect(await out("get", "/c/", "--prefix", "--sort-by=value", "--order=DESCEND", "--print-value-only")).toBe("3\n1\n");
    expect(await out("get", "/c/", "--prefix", "--keys-only", "--limit=1")).toBe("/c/a\n\n");
    expect(await out("get", "/c/a", "/c/b", "--print-value-only")).toBe("1\n");
    expect(await out("get", "/c/b", "--from-key", "-w", "fields")).toContain('"Count" : 1');
    const { header } = JSON.parse(await out("get", "/c/a", "-w", "json"));
    expect(await out("get", "/c/b", `--rev=${header.revision - 1}`, "--print-value-only")).toBe("0\n");
    expect(await out("del", "/c/", "--prefix", "--prev-kv")).toBe("2\n/c/a\n1\n/c/b\n3\n");
  });

  test("runs transactions from its input", async () => {
    const { out: printed } = await etcdctl(["txn", "-i"], 'create("/t") = "0"\n\nput /t 1\n\nget /t\n\n');
    expect(printed).toContain("SUCCESS\n\nOK");
    const again = await etcdctl(["txn", "-i"], 'create("/t") = "0"\n\nput /t 1\n\nget /t\n\n');
    expect(again.out).toContain("FAILURE\n\n/t\n1");
  });

  test("watches, from a revision too, and learns of compaction", async () => {
    const { header } = JSON.parse(await out("put", "/w", "1", "-w", "json"));
    const child = Bun.spawn(["etcdctl", "--endpoints", store.address!, "watch", "/w", `--rev=${header.revision}`, "--prev-kv"], {
      env,
      stdout: "pipe",
    });
    let seen = "";
    let rest: string[] | undefined = ["2", "3"];
    for await (const chunk of child.stdout) {
      seen += text(chunk);
      if (rest) {
        for (const value of rest) await out("put", "/w", value);
        await out("del", "/w");
        rest = undefined;
      }
      if (seen.includes("DELETE\n/w\n3\n/w\n\n")) child.kill();
    }
    expect(seen).toBe("PUT\n/w\n1\nPUT\n/w\n1\n/w\n2\nPUT\n/w\n2\n/w\n3\nDELETE\n/w\n3\n/w\n\n");
    await out("compaction", String(header.revision + 2));
    const refused = await etcdctl(["watch", "/w", `--rev=${header.revision}`]);
    expect(refused.err).toContain("etcdserver: mvcc: required revision has been compacted");
    expect((await etcdctl(["compaction", "1"])).err).toContain("etcdserver: mvcc: required revision has been compacted");
    expect((await etcdctl(["compaction", "100000"])).err).toContain("etcdserver: mvcc: required revision is a future revision");
  });

  test("grants, keeps, lists and revokes leases", async () => {
    const id = /lease (\w+) granted with TTL\(30s\)/.exec(await out("lease", "grant", "30"))![1]!;
    await out("put", "/l", "x", `--lease=${id}`);
    expect(await out("lease", "timetolive", id, "--keys")).toMatch(
      /granted with TTL\(30s\), remaining\(([12]\d|30)s\), attached keys\(\[\/l\]\)/,
    );
    expect(await out("lease", "list")).toContain(id);
    expect(await out("lease", "keep-alive", "--once", id)).toBe(`lease ${id} keepalived with TTL(30)\n`);
    expect(await out("lease", "revoke", id)).toBe(`lease ${id} revoked\n`);
    expect(await out("get", "/l")).toBe("");
    expect((await etcdctl(["lease", "revoke", id])).err).toContain("etcdserver: requested lease not found");
    expect(await out("lease", "timetolive", id)).toBe(`lease ${id} already expired\n`);
  });

  test("asks for status, health, hash, members and alarms", async () => {
    const [status] = JSON.parse(await out("endpoint", "status", "-w", "json"));
    expect(status.Status).toMatchObject({ version: "3.6.0", leader: status.Status.header.member_id });
    expect((await etcdctl(["endpoint", "health"])).code).toBe(0);
    expect(await out("endpoint", "hashkv", "--cluster")).toMatch(/^http:\/\/127\.0\.0\.1:\d+, \d+\n$/);
    expect(await out("member", "list")).toMatch(
      /^[0-9a-f]+, started, default, http:\/\/localhost:2380, http:\/\/127\.0\.0\.1:\d+, false\n$/,
    );
    expect(await out("defrag")).toStartWith("Finished defragmenting");
    expect(await out("alarm", "list")).toBe("");
    expect(await out("alarm", "disarm")).toBe("");
  });
});

describe("the codes of refusals", () => {
  const cases: [what: string, call: () => Promise<unknown>, code: Code, message: string][] = [
    ["an empty key", () => createClient(KV, channel).put({}), Code.InvalidArgument, "etcdserver: key is not provided"],
    [
      "a future revision",
      () => createClient(KV, channel).range({ key: bytes("a"), revision: 99_999n }),
      Code.OutOfRange,
      "etcdserver: mvcc: required revision is a future revision",
    ],
    [
      "a lease that is not there",
      () => createClient(KV, channel).put({ key: bytes("a"), lease: 5n }),
      Code.NotFound,
      "etcdserver: requested lease not found",
    ],
    [
      "a lease twice",
      () =>
        createClient(Lease, channel)
          .leaseGrant({ TTL: 5n, ID: 77n })
          .then(() => createClient(Lease, channel).leaseGrant({ TTL: 5n, ID: 77n })),
      Code.FailedPrecondition,
      "etcdserver: lease already exists",
    ],
    [
      "too long a lease",
      () => createClient(Lease, channel).leaseGrant({ TTL: 9_000_000_001n }),
      Code.OutOfRange,
      "etcdserver: too large lease TTL",
    ],
    [
      "a value to be ignored",
      () => createClient(KV, channel).put({ key: bytes("a"), value: bytes("x"), ignoreValue: true }),
      Code.InvalidArgument,
      "etcdserver: value is provided",
    ],
    [
      "an unknown key whose value is kept",
      () => createClient(KV, channel).put({ key: bytes("none"), ignoreValue: true }),
      Code.InvalidArgument,
      "etcdserver: key not found",
    ],
    [
      "too many operations",
      () =>
        createClient(KV, channel).txn({
          success: Array.from({ length: 129 }, () => ({ request: { case: "requestRange" as const, value: { key: bytes("a") } } })),
        }),
      Code.InvalidArgument,
      "etcdserver: too many operations in txn request",
    ],
    [
      "a hash of a future revision",
      () => createClient(Maintenance, channel).hashKV({ revision: 99_999n }),
      Code.OutOfRange,
      "etcdserver: mvcc: required revision is a future revision",
    ],
  ];
  for (const [what, call, code, message] of cases) {
    test(`${what} is ${Code[code]}`, async () => {
      const error = await failure(call());
      expect([error.message, error.code]).toEqual([message, code]);
    });
  }
});

describe("a watch stream", () => {
  async function stream(requests: MessageInitShape<typeof WatchRequestSchema>["requestUnion"][]) {
    const queue = new Requests<MessageInitShape<typeof WatchRequestSchema>>();
    const stop = new AbortController();
    const answers = createClient(Watch, channel).watch(queue, { signal: stop.signal })[Symbol.asyncIterator]();
    for (const requestUnion of requests) queue.push({ requestUnion });
    return {
      push: (requestUnion: MessageInitShape<typeof WatchRequestSchema>["requestUnion"]) => queue.push({ requestUnion }),
      next: async () => (await answers.next()).value as WatchResponse,
      [Symbol.asyncDispose]: async () => stop.abort(),
    };
  }
  const create = (value: object) => ({ case: "createRequest" as const, value });

  test("numbers its watches, takes numbers, and refuses one twice and an empty range", async () => {
    await using s = await stream([
      create({ key: bytes("a") }),
      create({ key: bytes("b"), watchId: 7n }),
      create({ key: bytes("c"), watchId: 7n }),
      create({ key: bytes("d") }),
      create({ key: bytes("b"), rangeEnd: bytes("a") }),
    ]);
    expect((await s.next()).watchId).toBe(0n);
    expect((await s.next()).watchId).toBe(7n);
    expect(await s.next()).toMatchObject({
      watchId: -1n,
      created: true,
      canceled: true,
      cancelReason: "mvcc: duplicate watch ID provided on the WatchStream",
    });
    expect((await s.next()).watchId).toBe(1n);
    expect(await s.next()).toMatchObject({ watchId: -1n, canceled: true, cancelReason: "mvcc: watcher range is empty" });
    s.push({ case: "cancelRequest", value: { watchId: 7n } });
    expect(await s.next()).toMatchObject({ watchId: 7n, canceled: true, created: false });
    s.push({ case: "progressRequest", value: {} });
    const progress = await s.next();
    expect([progress.watchId, progress.events.length, Number(progress.header!.revision)]).toEqual([
      -1n,
      0,
      store.member.state.mvcc.revision,
    ]);
  });

  test("filters puts or deletes, and splits what is large where that is asked for", async () => {
    const kv = createClient(KV, channel);
    const { header } = await kv.put({ key: bytes("f/0"), value: bytes("x") });
    const success = Array.from({ length: 3 }, (_, i) => ({
      request: { case: "requestPut" as const, value: { key: bytes(`f/${i}`), value: new Uint8Array(400_000) } },
    }));
    await kv.txn({ success });
    await kv.txn({
      success: success.map(({ request }) => ({
        request: { ...request, value: { ...request.value, prevKv: true, key: bytes(`g${text(request.value.key)}`) } },
      })),
    });
    await kv.deleteRange({ key: bytes("f/"), rangeEnd: bytes("f0") });
    const range = { key: bytes("f/"), rangeEnd: bytes("f0"), startRevision: header!.revision };
    await using s = await stream([create({ ...range, filters: [0] }), create({ ...range, filters: [1], fragment: true, prevKv: true })]);
    const byId = new Map<bigint, WatchResponse[]>();
    for (let events = 0; events < 3 + 4; ) {
      const r = await s.next();
      events += r.events.length;
      byId.set(r.watchId, [...(byId.get(r.watchId) ?? []), r]);
    }
    expect(byId.get(0n)!.flatMap((r) => r.events.map((e) => `${e.type} ${text(e.kv!.key)}`))).toEqual(["1 f/0", "1 f/1", "1 f/2"]);
    expect(byId.get(1n)!.flatMap((r) => r.events)).toHaveLength(4);
    expect(byId.get(1n)!.every((r) => r.events.every((e) => e.type === 0))).toBe(true);
  });

  test("a reader that falls behind loses nothing", async () => {
    await using s = await stream([create({ key: bytes("slow/"), rangeEnd: bytes("slow0") })]);
    expect((await s.next()).created).toBe(true);
    const kv = createClient(KV, channel);
    const value = new Uint8Array(100_000);
    for (let i = 0; i < 300; i++) await kv.put({ key: bytes(`slow/${String(i).padStart(3, "0")}`), value });
    const seen: string[] = [];
    while (seen.length < 300) seen.push(...(await s.next()).events.map((e) => text(e.kv!.key).slice(5)));
    expect(seen).toEqual(Array.from({ length: 300 }, (_, i) => String(i).padStart(3, "0")));
  });

  const goesOn = async (address: string) => {
    const { port } = new URL(address);
    using own = connect({ host: "127.0.0.1", port: Number(port) });
    const stop = new AbortController();
    async function* one() {
      yield { requestUnion: create({ key: bytes("half") }) };
    }
    const answers = createClient(Watch, own).watch(one(), { signal: stop.signal })[Symbol.asyncIterator]();
    expect(((await answers.next()).value as WatchResponse).created).toBe(true);
    for (const value of ["1", "2"]) {
      await createClient(KV, own).put({ key: bytes("half"), value: bytes(value) });
      const { events } = (await answers.next()).value as WatchResponse;
      expect(events.map((e) => Buffer.from(e.kv!.value).toString())).toEqual([value]);
    }
    stop.abort();
  };
  test("of ours goes on when its client sends no more requests", () => goesOn(store.address!));

  if (noEtcd) console.log(`skipped: a real etcd's watch: ${noEtcd}`);
  test.skipIf(noEtcd !== undefined)("of a real etcd goes on when its client sends no more requests", async () => {
    await using etcd = await startEtcd();
    await goesOn(`http://${etcd.endpoint}`);
  });

  test("idle watches that ask for it are told the revision now and then", async () => {
    const quick = await serve({ progressInterval: 30 });
    try {
      using own = connect({ host: "127.0.0.1", port: Number(new URL(quick.address!).port) });
      const queue = new Requests<MessageInitShape<typeof WatchRequestSchema>>();
      queue.push({ requestUnion: create({ key: bytes("a"), progressNotify: true }) });
      const answers = createClient(Watch, own).watch(queue)[Symbol.asyncIterator]();
      expect(((await answers.next()).value as WatchResponse).created).toBe(true);
      expect((await answers.next()).value).toMatchObject({ watchId: 0n, created: false, canceled: false, events: [] });
      await answers.return?.();
    } finally {
      await quick.stop();
    }
  });
});

if (noEtcd) console.log(`skipped: the hash of a real etcd: ${noEtcd}`);

test.skipIf(noEtcd !== undefined)("the same history hashes to what a real etcd says", async () => {
  await using etcd = await startEtcd();
  const ours = await serve();
  const clients = [new EtcdClient({ endpoints: [etcd.endpoint] }), new EtcdClient({ endpoints: [ours.address!] })];
  const hashes: unknown[] = [];
  try {
    for (const [i, client] of clients.entries()) {
      await client.leaseGrant(100, 5n);
      const put = (k: string, v: string, lease?: bigint): Op => ({ type: "put", key: bytes(k), value: bytes(v), lease });
      await client.txn([], [put("a", "1"), put("b", "2", 5n)]);
      await client.txn([], [put("a", "3"), { type: "delete", key: bytes("b") }]);
      for (let n = 0; n < 20; n++) await client.txn([], [put(`k${n % 7}`, "v".repeat(n * 20))]);
      await client.txn([], [{ type: "delete", key: bytes("k1"), end: bytes("k4") }]);
      await client.compact(14, { physical: true });
      await client.txn([], [put("a", "last")]);
      using direct = connect(
        i === 0
          ? { host: "127.0.0.1", port: Number(etcd.endpoint.split(":")[1]) }
          : { host: "127.0.0.1", port: Number(new URL(ours.address!).port) },
      );
      const { hash, compactRevision, header } = await createClient(Maintenance, direct).hashKV({});
      hashes.push({ hash, compactRevision, revision: header!.revision });
    }
    expect(hashes[1]).toEqual(hashes[0]!);
  } finally {
    await Promise.all(clients.map((c) => c.close()));
    await ours.stop();
  }
});

test("a client goes on watching when the server comes back, and turns to another endpoint meanwhile", async () => {
  const options = { dataDir: join(dir, "again"), listen: [{ unix: join(dir, "again.sock") }] };
  let server = new Store(options);
  await server.start();
  const client = new EtcdClient({ endpoints: [`unix://${join(dir, "nobody.sock")}`, server.address!] });
  try {
    const put = (v: string) => client.txn([], [{ type: "put", key: bytes("a"), value: bytes(v) }]);
    const w = new Collector();
    await put("1");
    const { id } = await client.leaseGrant(60);
    expect(await client.leaseKeepAlive(id)).toEqual({ ttl: 60 });
    const watch = client.watch(bytes("a"), { startRevision: 2 }, w);
    await w.until((s) => s.seen.length === 1);
    await server.stop();
    server = new Store(options);
    await server.start();
    await put("2");
    await put("3");
    await w.until((s) => s.seen.length === 3);
    expect(w.lines()).toEqual(["put a=1", "put a=2", "put a=3"]);
    expect(await client.leaseKeepAlive(id)).toEqual({ ttl: 60 });
    watch.cancel();
  } finally {
    await client.close();
    await server.stop();
  }
});

test("TLS asks clients for their certificate", async () => {
  const pki = await testPki();
  const server = await pki.issue("etcd");
  const user = await pki.issue("apiserver");
  const secured = await serve({ tls: { ...server, clientCa: pki.ca, requireClientCert: true } });
  expect(secured.address).toStartWith("https://127.0.0.1:");
  const good = new EtcdClient({ endpoints: [secured.address!], tls: { ca: pki.ca, ...user } });
  const anonymous = new EtcdClient({ endpoints: [secured.address!], tls: { ca: pki.ca }, requestTimeout: 1000 });
  try {
    expect((await good.status()).revision).toBe(1);
    expect(await failure(anonymous.status())).toMatchObject({ reason: "unavailable" });
  } finally {
    await good.close();
    await anonymous.close();
    await secured.stop();
  }
});

test("health, version and metrics are served under etcd's names", async () => {
  const health = serveHttp(store, LOCAL);
  const get = async (path: string) => (await fetch(`http://127.0.0.1:${health.port}${path}`)).text();
  try {
    expect(JSON.parse(await get("/health"))).toEqual({ health: "true", reason: "" });
    expect(JSON.parse(await get("/version"))).toEqual({ etcdserver: "3.6.0", etcdcluster: "3.6.0", storage: "3.6.0" });
    expect(await get("/metrics")).toMatch(/^etcd_server_has_leader 1$/m);
  } finally {
    await health.stop(true);
  }
});
