// What a store holds after a process died, a disk filled up, or a file was damaged.
import { afterEach, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { StoreClient, StoreError } from "../client/etcd.ts";
import { Collector } from "../testing/store-contract.ts";
import { Store, type StoreOptions } from "./mod.ts";

const cleanup: (() => void | Promise<void>)[] = [];
afterEach(async () => {
  for (const undo of cleanup.splice(0).reverse()) await undo();
});

function folder(): string {
  const dir = mkdtempSync(join(tmpdir(), "kubun-durability-"));
  cleanup.push(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

async function open(dataDir: string, options: Partial<StoreOptions> = {}): Promise<{ store: Store; client: StoreClient }> {
  const store = new Store({ dataDir, ...options });
  await store.start();
  cleanup.push(() => store.stop());
  return { store, client: store.client() };
}

const bytes = (s: string) => new TextEncoder().encode(s);
const text = (b: Uint8Array) => new TextDecoder().decode(b);
const END = Uint8Array.of(0);
const everything = (client: StoreClient) => client.range(END, { end: END });
const put = (client: StoreClient, key: string, value: string | Uint8Array, lease?: bigint) =>
  client.txn([], [{ type: "put", key: bytes(key), value: typeof value === "string" ? bytes(value) : value, lease }]);
const refusal = async (promise: Promise<unknown>) =>
  (await promise.then(
    () => undefined,
    (e: unknown) => e,
  )) as StoreError;

/** Writes with 16 clients until it is killed; says on stdout what was acknowledged. */
const WRITER = `
const { Store } = await import(process.argv[1]);
const store = new Store({ dataDir: process.argv[2], segmentBytes: 65536, snapshotCount: 200 });
await store.start();
const client = store.client();
const round = process.argv[3];
const encoder = new TextEncoder();
let n = 0;
for (let w = 0; w < 16; w++) (async () => {
  for (;;) {
    const id = round + "-" + w + "-" + n++;
    await client.txn([], [{ type: "put", key: encoder.encode("/k/" + id), value: encoder.encode(id.repeat(20)) }]);
    process.stdout.write(id + "\\n");
  }
})();
`;

test("whatever was acknowledged before a kill -9 is there afterwards, time after time", async () => {
  const dir = folder();
  const acknowledged: string[] = [];
  for (let round = 0; round < 6; round++) {
    const child = Bun.spawn([process.execPath, "-e", WRITER, join(import.meta.dir, "mod.ts"), dir, String(round)], { stderr: "pipe" });
    const enough = 150 + round * 170;
    let seen = "";
    for await (const chunk of child.stdout) {
      seen += text(chunk);
      if (seen.split("\n").length > enough) child.kill("SIGKILL");
    }
    await child.exited;
    expect(await new Response(child.stderr).text()).toBe("");
    acknowledged.push(...seen.split("\n").slice(0, -1));

    const { store, client } = await open(dir, { segmentBytes: 65_536, snapshotCount: 200 });
    const { kvs, revision, count } = await everything(client);
    const found = new Map(kvs.map((kv) => [text(kv.key).slice(3), text(kv.value)]));
    for (const id of acknowledged) expect(found.get(id)).toBe(id.repeat(20));
    // Nothing was invented: each revision made one key.
    expect(revision).toBe(count + 1);
    await store.stop();
  }
  expect(acknowledged.length).toBeGreaterThan(2000);
  expect(readdirSync(join(dir, "snap"))).toHaveLength(1);
}, 120_000);

test("a second store does not get the directory of the first, and gets it after it", async () => {
  const dir = folder();
  const { store } = await open(dir);
  const second = new Store({ dataDir: dir });
  expect((await refusal(second.start())).message).toBe(`data directory ${dir} is in use by process ${process.pid}`);
  await store.stop();
  await open(dir);
});

test("keys, leases, history and watches from the past survive a restart, from the log and from a snapshot", async () => {
  const dir = folder();
  let { store, client } = await open(dir);
  const { id } = await client.leaseGrant(100);
  const first = (await put(client, "a", "1")).revision;
  await put(client, "a", "2");
  await put(client, "leased", "x", id);
  await client.txn([], [{ type: "delete", key: bytes("a") }]);
  const { revision } = await put(client, "a", "3");
  for (const snapshot of [false, true]) {
    if (snapshot) await store.member.snapshot();
    await store.stop();
    ({ store, client } = await open(dir));
    expect((await client.status()).revision).toBe(revision);
    expect((await client.range(bytes("a"))).kvs[0]).toMatchObject({ version: 1, createRevision: revision });
    expect(text((await client.range(bytes("a"), { revision: first })).kvs[0]!.value)).toBe("1");
    expect(await client.leaseKeepAlive(id)).toEqual({ ttl: 100 });
    const seen = new Collector();
    client.watch(bytes("a"), { startRevision: first, prevKv: true }, seen);
    await seen.until((s) => s.seen.length === 4);
    expect(seen.lines()).toEqual(["put a=1", "put a=2", "delete a", "put a=3"]);
    expect(text(seen.seen[2]!.prevKv!.value)).toBe("2");
  }
  await client.leaseRevoke(id);
  expect((await everything(client)).kvs.map((kv) => text(kv.key))).toEqual(["a"]);
});

test("a snapshot lets the log before it go, and writes made meanwhile are not lost", async () => {
  const dir = folder();
  const { store, client } = await open(dir, { segmentBytes: 32_768, snapshotCount: 100_000 });
  const value = new Uint8Array(1000).fill(7);
  for (let i = 0; i < 2000; i += 100) await Promise.all(Array.from({ length: 100 }, (_, j) => put(client, `k${i + j}`, value)));
  await client.compact(1000);
  const before = readdirSync(join(dir, "wal")).length;
  const writing = store.member.snapshot();
  await Promise.all(Array.from({ length: 500 }, (_, j) => put(client, `during${j}`, value)));
  await client.compact(1500);
  await writing;
  expect(readdirSync(join(dir, "wal")).length).toBeLessThan(before);
  await store.stop();
  const again = await open(dir);
  expect((await everything(again.client)).count).toBe(2500);
  expect((await refusal(again.client.range(bytes("k1"), { revision: 1400 }))).reason).toBe("compacted");
});

test("a damaged snapshot is refused, naming file and offset", async () => {
  const dir = folder();
  const { store, client } = await open(dir);
  await put(client, "a", "1");
  await store.member.snapshot();
  await store.stop();
  const path = join(dir, "snap", readdirSync(join(dir, "snap"))[0]!);
  const whole = readFileSync(path);
  for (let at = 0; at < whole.length; at += 3) {
    const damaged = Buffer.from(whole);
    damaged[at]! ^= 4;
    writeFileSync(path, damaged);
    expect((await refusal(new Store({ dataDir: dir }).start())).message).toMatch(/\.snap: corrupt at offset \d+/);
  }
  for (const size of [whole.length - 1, whole.length - 12, 20, 3]) {
    writeFileSync(path, whole.subarray(0, size));
    expect((await refusal(new Store({ dataDir: dir }).start())).message).toMatch(/\.snap: corrupt at offset \d+/);
  }
  writeFileSync(path, whole);
  await open(dir);
});

test("the files of an etcd are not taken for our own", async () => {
  const dir = folder();
  mkdirSync(join(dir, "member"));
  expect((await refusal(new Store({ dataDir: dir }).start())).message).toContain("is the data directory of an etcd");
});

test("a store as large as its quota raises NOSPACE, and takes puts again after compaction, defragmentation and disarming", async () => {
  const { store, client } = await open(folder(), { quotaBackendBytes: 100_000 });
  const value = new Uint8Array(10_000);
  let error: StoreError | undefined;
  for (let i = 0; i < 20 && !error; i++) error = await refusal(put(client, "a", value));
  expect([error?.reason, error?.message]).toEqual(["no-space", "etcdserver: mvcc: database space exceeded"]);
  const { revision, errors } = await client.status();
  expect(errors).toEqual([`memberID:${store.member.identity.memberId} alarm:NOSPACE `]);
  expect(store.notReady()).toBe("alarm NOSPACE");
  await client.compact(revision, { physical: true });
  expect((await refusal(put(client, "a", "small"))).reason).toBe("no-space");
  const nospace = { memberId: store.member.identity.memberId, kind: "nospace" } as const;
  await store.member.alarm(false, nospace);
  // What is freed and not given back still counts, as in etcd.
  expect((await refusal(put(client, "a", value))).reason).toBe("no-space");
  await store.member.defragment();
  await store.member.alarm(false, nospace);
  await put(client, "a", value);
  expect(store.notReady()).toBeUndefined();
});

test("a request larger than the limit is refused", async () => {
  const { client } = await open(folder());
  expect((await refusal(put(client, "a", new Uint8Array(1.5 * 1024 * 1024)))).message).toBe("etcdserver: request is too large");
});

/** Why no small file system can be mounted here. */
const noMount = process.getuid?.() === 0 && Bun.which("mount") ? undefined : "needs root and mount(8)";
if (noMount) console.log(`skipped: a full disk: ${noMount}`);

test.skipIf(noMount !== undefined)("a full disk stops the writes, says so, and loses nothing", async () => {
  const dir = folder();
  const run = (...argv: string[]) => expect(Bun.spawnSync(argv).exitCode).toBe(0);
  run("mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", dir);
  cleanup.push(() => run("umount", dir));
  const filler = join(dir, "filler");
  writeFileSync(filler, new Uint8Array(512 * 1024));
  const dataDir = join(dir, "data");
  let { store, client } = await open(dataDir, { segmentBytes: 256 * 1024 });
  const acknowledged: string[] = [];
  let error: StoreError | undefined;
  for (let i = 0; i < 1000 && !error; i++) {
    error = await refusal(put(client, `k${i}`, new Uint8Array(5000).fill(i)));
    if (!error) acknowledged.push(`k${i}`);
  }
  expect([error?.reason, error?.message]).toEqual(["no-space", "etcdserver: mvcc: database space exceeded"]);
  expect(acknowledged.length).toBeGreaterThan(100);
  expect(store.member.alarms).toEqual([{ memberId: store.member.identity.memberId, kind: "nospace" }]);
  expect(store.notReady()).toMatch(/no space left on device/);
  // Still serves reads.
  expect((await everything(client)).count).toBe(acknowledged.length);

  await store.stop();
  ({ store, client } = await open(dataDir, { segmentBytes: 256 * 1024 }));
  expect((await everything(client)).kvs.map((kv) => text(kv.key)).sort()).toEqual(acknowledged.sort());
  expect((await refusal(put(client, "still-full", new Uint8Array(300_000)))).reason).toBe("no-space");
  rmSync(filler);
  const { memberId } = store.member.identity;
  expect(await store.member.alarm(false, { memberId, kind: "nospace" })).toBe(true);
  await put(client, "room", "again");
  expect(store.notReady()).toBeUndefined();
  await store.stop();
  ({ client } = await open(dataDir));
  expect((await everything(client)).count).toBe(acknowledged.length + 1);
});
