// The client of a store over gRPC where things go wrong, against a real etcd
// and against members that misbehave.
import { afterEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer as createTcpServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Store } from "../store/mod.ts";
import { noEtcd, startEtcd } from "../testing/etcd.ts";
import { Collector } from "../testing/store-contract.ts";
import { type StoreClient, StoreError } from "./etcd.ts";
import { EtcdClient } from "./etcd-grpc.ts";
import { progressInOrder } from "./etcd-grpc-progress.ts";

const open: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close();
});

const bytes = (s: string) => new TextEncoder().encode(s);
const put = async (c: StoreClient, key: string, value = "x") =>
  (await c.txn([], [{ type: "put", key: bytes(key), value: bytes(value) }])).revision;

async function store(): Promise<{ endpoint: string; stop(): Promise<void> }> {
  const dir = mkdtempSync(join(tmpdir(), "kubun-client-"));
  const store = new Store({ dataDir: join(dir, "data"), listen: [{ host: "127.0.0.1", port: 0 }] });
  await store.start();
  open.push(async () => {
    await store.stop();
    rmSync(dir, { recursive: true, force: true });
  });
  return { endpoint: store.urls[0]!, stop: () => store.stop() };
}

/** A port that takes connections and never says a word. */
async function silent(): Promise<string> {
  const sockets = new Set<{ destroy(): void }>();
  const server: Server = createTcpServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => socket.destroy());
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  open.push(() => {
    for (const s of sockets) s.destroy();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as { port: number }).port}`;
}

function client(endpoints: string[], options: { requestTimeout?: number } = {}): EtcdClient {
  const c = new EtcdClient({ endpoints, ...options });
  open.push(() => c.close());
  return c;
}

if (noEtcd) console.log(`skipped: watches of a real etcd: ${noEtcd}`);

test("versions that tell progress ahead of their events are known", () => {
  for (const v of ["3.4.23", "3.4.24", "3.5.0", "3.5.7", "3.3.10"]) expect([v, progressInOrder(v)]).toEqual([v, false]);
  for (const v of ["3.4.25", "3.5.8", "3.5.21", "3.6.0", "3.6.0-alpha.0", "4.0.0"]) expect([v, progressInOrder(v)]).toEqual([v, true]);
});

test.skipIf(noEtcd !== undefined)(
  "progress on a real etcd never runs ahead of the events before it, whatever the version",
  async () => {
    await using etcd = await startEtcd();
    const writer = etcd.client();
    const c = etcd.client();
    const seen = new Collector();
    const w = c.watch(bytes("/own/"), { end: bytes("/own0") }, seen);
    await seen.until((s) => s.createdAt !== undefined);
    for (let i = 0; i < 20; i++) {
      const own = await put(writer, "/own/a", "v".repeat(10_000));
      const foreign = await put(writer, "/other/a");
      let early = false;
      seen.progress = (revision) => {
        early ||= revision >= own && seen.seen.at(-1)?.kv.modRevision !== own;
        Collector.prototype.progress.call(seen, revision);
      };
      w.requestProgress();
      await seen.until((s) => (s.progressAt ?? 0) >= foreign);
      expect(early).toBe(false);
    }
    expect(seen.seen).toHaveLength(20);
    w.cancel();
  },
  30_000,
);

test.skipIf(noEtcd !== undefined)("a watch that can't be told what it missed, as that was compacted, ends with that reason", async () => {
  await using etcd = await startEtcd();
  const c = etcd.client();
  const seen = new Collector();
  const w = c.watch(bytes("/own/"), { end: bytes("/own0") }, seen);
  await seen.until((s) => s.createdAt !== undefined);
  if (progressInOrder((await c.status()).version)) return;
  await put(c, "/other/a");
  const last = await put(c, "/other/a");
  await c.compact(last, { physical: true });
  w.requestProgress();
  await seen.until((s) => s.end !== undefined);
  expect(seen.end).toMatchObject({ compacted: last, error: { reason: "compacted" } });
});

test("reads and writes go on to the next endpoint when one is not there", async () => {
  const { endpoint } = await store();
  const c = client(["http://127.0.0.1:1", endpoint]);
  expect(await put(c, "a")).toBeGreaterThan(1);
  expect((await c.range(bytes("a"))).count).toBe(1);
});

test("a member that stays silent costs a read a part of its time, and the next call none", async () => {
  const { endpoint } = await store();
  const c = client([await silent(), endpoint], { requestTimeout: 9000 });
  expect((await c.range(bytes("a"))).count).toBe(0);
  const started = performance.now();
  await put(c, "a");
  expect(performance.now() - started).toBeLessThan(2500);
}, 20_000);

test("a write that a silent member may have carried out is not made again", async () => {
  const { endpoint } = await store();
  const c = client([await silent(), endpoint], { requestTimeout: 600 });
  const error = await put(c, "a").catch((e: unknown) => e);
  expect(error).toBeInstanceOf(StoreError);
  // Either it never left, as no connection came to be, or its end is not known.
  expect(["deadline", "unavailable"]).toContain((error as StoreError).reason);
  // Asked without a limit of time as short as that.
  expect((await client([endpoint]).range(bytes("a"))).count).toBe(0);
}, 20_000);

test("a store that is not there is waited for, up to the request's time", async () => {
  const started = performance.now();
  const error = await client(["http://127.0.0.1:1"], { requestTimeout: 700 })
    .range(bytes("a"))
    .catch((e: unknown) => e);
  expect((error as StoreError).reason).toBe("unavailable");
  expect((error as StoreError).message).toContain("connection to 127.0.0.1:1 failed");
  expect(performance.now() - started).toBeGreaterThan(200);
});

test.skipIf(noEtcd !== undefined)(
  "a watch goes on at another member, without a gap and without a repetition",
  async () => {
    await using etcd = await startEtcd();
    // Two ways to one store, of which the first is cut.
    const { createServer, connect } = await import("node:net");
    const [host, port] = etcd.endpoint.split(":") as [string, string];
    const pairs = new Set<() => void>();
    const way = createServer((socket) => {
      const onward = connect(Number(port), host);
      const cut = () => {
        socket.destroy();
        onward.destroy();
      };
      pairs.add(cut);
      for (const s of [socket, onward]) s.on("error", cut).on("close", cut);
      socket.pipe(onward).pipe(socket);
    });
    await new Promise<void>((done) => way.listen(0, "127.0.0.1", done));
    open.push(() => way.close());
    const c = client([`http://127.0.0.1:${(way.address() as { port: number }).port}`, `http://${etcd.endpoint}`]);
    const writer = etcd.client();
    const seen = new Collector();
    const w = c.watch(bytes("/k/"), { end: bytes("/k0") }, seen);
    await seen.until((s) => s.createdAt !== undefined);
    for (let i = 0; i < 30; i++) {
      await put(writer, "/k/a", String(i));
      if (i === 10) {
        way.close();
        for (const cut of pairs) cut();
      }
    }
    await seen.until((s) => s.seen.length >= 30, 15_000);
    expect(seen.lines()).toEqual(Array.from({ length: 30 }, (_, i) => `put /k/a=${i}`));
    w.cancel();
  },
  30_000,
);
