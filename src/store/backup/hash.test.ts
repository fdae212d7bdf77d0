// Hashes of random histories, side by side with Debian's etcd.
import { afterAll, describe, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import type { Op } from "../../client/etcd.ts";
import { EtcdClient } from "../../client/etcd-grpc.ts";
import { connect, createClient } from "../../rpc/client.ts";
import { DowngradeRequest_DowngradeAction as Action, Maintenance } from "../../rpc/gen/etcd/rpc_pb.ts";
import { Code, type RpcError } from "../../rpc/types.ts";
import { noEtcd, startEtcd } from "../../testing/etcd.ts";
import { Store } from "../mod.ts";

const dir = mkdtempSync(join(tmpdir(), "kubun-hash-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));
if (noEtcd) console.log(`skipped: hashes of a real etcd: ${noEtcd}`);

const bytes = (s: string) => new TextEncoder().encode(s);
let folders = 0;

async function serve() {
  const store = new Store({ dataDir: join(dir, String(folders++)), listen: [{ host: "127.0.0.1", port: 0 }] });
  await store.start();
  return Object.assign(store, { [Symbol.asyncDispose]: () => store.stop() });
}

function maintenance(endpoint: string) {
  const { hostname, port } = new URL(endpoint.includes("://") ? endpoint : `http://${endpoint}`);
  const channel = connect({ host: hostname, port: Number(port) });
  return Object.assign(createClient(Maintenance, channel), { [Symbol.dispose]: () => channel.close() });
}

const op = fc.oneof(
  { weight: 6, arbitrary: fc.record({ put: fc.nat(4), size: fc.nat(300) }) },
  { weight: 3, arbitrary: fc.record({ delete: fc.nat(4) }) },
  { weight: 1, arbitrary: fc.constant({ all: true as const }) },
);

const opOf = (o: { put?: number; size?: number; delete?: number; all?: true }): Op => {
  if (o.put !== undefined) return { type: "put", key: bytes(`k${o.put}`), value: new Uint8Array(o.size!).fill(1) };
  if (o.delete !== undefined) return { type: "delete", key: bytes(`k${o.delete}`) };
  return { type: "delete", key: Uint8Array.of(0), end: Uint8Array.of(0) };
};

describe.skipIf(noEtcd !== undefined)("beside Debian's etcd", () => {
  test("HashKV is the same at every revision, after compactions at any", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(op, { minLength: 8, maxLength: 30 }), fc.double({ min: 0, max: 1, noNaN: true }), async (ops, share) => {
        await using etcd = await startEtcd();
        await using ours = await serve();
        const clients = [etcd.client(), new EtcdClient({ endpoints: [ours.address!] })];
        using theirs = maintenance(etcd.endpoint);
        using own = maintenance(ours.address!);
        const hashes = async (revision: number) => {
          const answers = await Promise.all(
            [theirs, own].map((m) =>
              m.hashKV({ revision: BigInt(revision) }).then(
                ({ hash, compactRevision }) => ({ hash, compactRevision }),
                (e: RpcError) => ({ code: e.code, message: e.message }),
              ),
            ),
          );
          expect({ revision, answer: answers[1] }).toEqual({ revision, answer: answers[0]! });
        };
        let now = 1;
        for (const o of ops) for (const c of clients) now = (await c.txn([], [opOf(o)])).revision;
        for (let r = 0; r <= now + 1; r++) await hashes(r);
        const compacted = Math.round(share * now);
        if (compacted > 0) for (const c of clients) await c.compact(compacted, { physical: true });
        // At the compacted revision itself this etcd answers only since 3.5.5.
        for (let r = 0; r <= now + 1; r++) if (r !== compacted || compacted === 0) await hashes(r);
        for (const o of ops.slice(0, 5)) for (const c of clients) now = (await c.txn([], [opOf(o)])).revision;
        await hashes(0);
        await clients[1]!.close();
      }),
      { numRuns: 3, endOnFailure: true },
    );
  }, 60_000);
});

test("Hash is of the data, and not of how far the log is", async () => {
  await using store = await serve();
  using api = maintenance(store.address!);
  const client = store.client();
  await client.txn([], [{ type: "put", key: bytes("a"), value: bytes("1") }]);
  const { hash } = await api.hash({});
  // An entry that is refused moves the log alone.
  await client.compact(999).catch(() => {});
  expect((await api.hash({})).hash).toBe(hash);
  await client.txn([], [{ type: "put", key: bytes("a"), value: bytes("1") }]);
  expect((await api.hash({})).hash).not.toBe(hash);
}, 30_000);

test("defragmentation frees the disk of what was compacted away", async () => {
  await using store = await serve();
  using api = maintenance(store.address!);
  const client = store.client();
  const data = join(dir, String(folders - 1));
  const used = () =>
    ["wal", "snap"]
      .flatMap((d) => readdirSync(join(data, d)).map((f) => statSync(join(data, d, f)).blocks * 512))
      .reduce((a, b) => a + b, 0);
  for (let i = 0; i < 40; i++) await client.txn([], [{ type: "put", key: bytes("k"), value: new Uint8Array(1_250_000).fill(i) }]);
  const before = await api.status({});
  expect(Number(before.dbSizeInUse)).toBeGreaterThan(50_000_000);
  expect(used()).toBeGreaterThan(50_000_000);
  await client.compact(41, { physical: true });
  const after = await api.status({});
  expect(Number(after.dbSizeInUse)).toBeLessThan(2_000_000);
  expect(used()).toBeGreaterThan(50_000_000);
  await api.defragment({});
  // The pair, the segment that the log is in, and the one that waits to be the next.
  expect(used()).toBeLessThan(36_000_000);
  expect((await client.range(bytes("k"))).kvs[0]!.value.length).toBe(1_250_000);
}, 30_000);

test("a downgrade is checked, agreed on, told, kept over a restart, and called off", async () => {
  await using store = await serve();
  using api = maintenance(store.address!);
  const refused = (action: Action, version: string) =>
    api.downgrade({ action, version }).then(
      () => undefined,
      (e: RpcError) => [e.code, e.message],
    );
  expect(await refused(Action.VALIDATE, "x")).toEqual([Code.InvalidArgument, "etcdserver: wrong downgrade target version format"]);
  expect(await refused(Action.ENABLE, "")).toEqual([Code.InvalidArgument, "etcdserver: wrong downgrade target version format"]);
  for (const target of ["3.4", "3.6.0", "4.5", "3.7.0"]) {
    expect(await refused(Action.ENABLE, target)).toEqual([Code.InvalidArgument, "etcdserver: invalid downgrade target version"]);
  }
  expect((await api.downgrade({ action: Action.VALIDATE, version: "3.5" })).version).toBe("3.6");
  expect((await api.status({})).downgradeInfo).toMatchObject({ enabled: false, targetVersion: "" });
  expect((await api.downgrade({ action: Action.ENABLE, version: "3.5.0" })).version).toBe("3.6");
  expect(await refused(Action.ENABLE, "3.5.0")).toEqual([Code.FailedPrecondition, "etcdserver: cluster has a downgrade job in progress"]);
  const { storageVersion, downgradeInfo } = await api.status({});
  expect([storageVersion, downgradeInfo]).toMatchObject(["3.5.0", { enabled: true, targetVersion: "3.5.0" }]);

  await store.stop();
  const again = new Store({ dataDir: join(dir, String(folders - 1)) });
  await again.start();
  expect(again.member.state.clusterVersion).toBe("3.5.0");
  await again.member.snapshot();
  await again.stop();
  const restored = new Store({ dataDir: join(dir, String(folders - 1)), listen: [{ host: "127.0.0.1", port: 0 }] });
  await restored.start();
  using second = maintenance(restored.address!);
  expect((await second.status({})).downgradeInfo).toMatchObject({ enabled: true, targetVersion: "3.5.0" });
  await second.downgrade({ action: Action.CANCEL });
  expect((await second.status({})).storageVersion).toBe("3.6.0");
  await restored.stop();
}, 30_000);
