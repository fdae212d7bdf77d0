// The way in: our store starts from a snapshot of Debian's etcd, or from a copy of its backend.
import { afterAll, describe, expect, test } from "bun:test";
import { copyFileSync, existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { RangeResult, StoreClient } from "../../client/etcd.ts";
import { noEtcd, noEtcdctl, startEtcd } from "../../testing/etcd.ts";
import { Collector } from "../../testing/store-contract.ts";
import { Store } from "../mod.ts";
import { restoreSnapshot } from "./restore.ts";

const dir = mkdtempSync(join(tmpdir(), "kubun-way-in-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));
const skipped = noEtcd ?? noEtcdctl;
if (skipped) console.log(`skipped: snapshots of a real etcd: ${skipped}`);

const bytes = (s: string) => new TextEncoder().encode(s);
const text = (b: Uint8Array) => new TextDecoder().decode(b);
const ALL = { key: Uint8Array.of(0), end: Uint8Array.of(0) };
const plain = ({ kvs }: RangeResult) =>
  kvs.map((kv) => [text(kv.key), Bun.hash(kv.value), kv.createRevision, kv.modRevision, kv.version, kv.lease]);

async function run(command: string[], env: Record<string, string> = {}): Promise<{ out: string; err: string; code: number }> {
  const child = Bun.spawn(command, { cwd: dir, env: { ...process.env, ...env }, stdout: "pipe", stderr: "pipe" });
  const [out, err, code] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text(), child.exited]);
  return { out, err, code };
}

async function etcdctl(...args: string[]): Promise<string> {
  const { out, err, code } = await run(["etcdctl", ...args], { ETCDCTL_API: "3" });
  if (code !== 0) throw new Error(`etcdctl ${args.join(" ")}: ${err}`);
  return out;
}

const kubun = (...args: string[]) => run([process.execPath, join(import.meta.dir, "../../main.ts"), "store", "snapshot", ...args]);
const hashOf = async (endpoint: string) =>
  JSON.parse(await etcdctl("--endpoints", endpoint, "endpoint", "hashkv", "-w", "json"))[0].HashKV.hash;

async function fill(client: StoreClient): Promise<bigint> {
  const put = (key: string, value: string, lease?: bigint) =>
    client.txn([], [{ type: "put", key: bytes(key), value: bytes(value), lease }]);
  for (let i = 0; i < 250; i++) await put(`k${i % 40}`, `value ${i}`);
  await client.txn([], [{ type: "delete", key: bytes("k2"), end: bytes("k20") }]);
  await client.compact(200, { physical: true });
  const { id } = await client.leaseGrant(600);
  await put("leased", "x", id);
  await put("large", "y".repeat(1_000_000));
  await client.txn([], [{ type: "delete", key: bytes("k30") }]);
  return id;
}

const sameHistory = async (a: StoreClient, b: StoreClient, from: number, last: string) => {
  const collectors = [new Collector(), new Collector()] as const;
  for (const [i, client] of [a, b].entries()) client.watch(ALL.key, { end: ALL.end, startRevision: from }, collectors[i]!);
  const whole = (c: Collector) => c.seen.some((e) => e.type === "delete" && text(e.kv.key) === last);
  for (const c of collectors) await c.until(whole, 20_000);
  const told = (c: Collector) => c.seen.map((e) => `${e.type} ${text(e.kv.key)} ${e.kv.modRevision} ${e.kv.value.length}`);
  expect(told(collectors[1])).toEqual(told(collectors[0]));
};

describe.skipIf(skipped !== undefined)("from Debian's etcd", () => {
  test("a snapshot brings keys, revisions, history, leases, users and roles", async () => {
    const theirDir = join(dir, "theirs");
    const file = join(dir, "theirs.db");
    await using etcd = await startEtcd(["--data-dir", theirDir]);
    const theirs = etcd.client();
    const lease = await fill(theirs);
    const ctl = (...args: string[]) => etcdctl("--endpoints", etcd.endpoint, ...args);
    await ctl("role", "add", "reader");
    await ctl("role", "grant-permission", "reader", "--prefix=true", "read", "k1");
    await ctl("user", "add", "root:secret");
    await ctl("user", "add", "alice:wonder");
    await ctl("user", "grant-role", "alice", "reader");
    const range = await theirs.range(ALL.key, { end: ALL.end });
    const hash = await hashOf(etcd.endpoint);
    await ctl("auth", "enable");
    const root = "--user=root:secret";
    await ctl(root, "snapshot", "save", file);

    const status = await kubun("status", file, "-w", "json");
    const { version, totalKey, ...told } = JSON.parse(status.out);
    expect(version).toBe("");
    expect(totalKey).toBe(range.count);
    // Debian's counts the pairs of all buckets, as etcd did before 3.6.
    const { totalKey: pairs, ...theirTold } = JSON.parse(await etcdctl("snapshot", "status", file, "-w", "json"));
    expect(told).toEqual(theirTold);
    expect(pairs).toBeGreaterThan(totalKey);
    const table = (await kubun("status", file, "-w", "table")).out;
    const theirTable = await etcdctl("snapshot", "status", file, "-w", "table");
    const columns = (out: string, from: number, to: number) => out.split("\n").map((line) => line.split(/[|+]/).slice(from, to).join("|"));
    expect(columns(table, 1, 3)).toEqual(columns(theirTable, 1, 3));
    expect(columns(table, 4, 5)).toEqual(columns(theirTable, 4, 5));
    expect((await kubun("status", file)).out.trim()).toBe(
      (await etcdctl("snapshot", "status", file)).trim().replace(` ${pairs},`, ` ${totalKey},`) + ",",
    );

    const ourDir = join(dir, "ours");
    const restored = await kubun("restore", file, "--data-dir", ourDir);
    expect(restored).toEqual({
      code: 0,
      err: "",
      out: `Restored ${range.count} keys at revision ${range.revision} to ${ourDir} (cluster cdf818194e3a8c32, member 8e9e05c52164694d)\n`,
    });
    const again = await kubun("restore", file, "--data-dir", ourDir);
    expect([again.code, again.err]).toEqual([1, `kubun: data-dir "${ourDir}" not empty or could not be read\n`]);

    const store = new Store({ dataDir: ourDir, listen: [{ host: "127.0.0.1", port: 0 }] });
    await store.start();
    try {
      const ours = store.client();
      expect(store.member.identity).toEqual({ clusterId: 0xcdf818194e3a8c32n, memberId: 0x8e9e05c52164694dn });
      const { auth } = store.member.state;
      expect(auth.enabled).toBe(true);
      expect(
        auth.dump().users.map((u) => [u.name, u.roles, Bun.password.verifySync(u.name === "root" ? "secret" : "wonder", u.password)]),
      ).toEqual([
        ["alice", ["reader"], true],
        ["root", ["root"], true],
      ]);
      await store.member.propose({ type: "auth", change: { do: "disable" } });
      const found = await ours.range(ALL.key, { end: ALL.end });
      expect(found.revision).toBe(range.revision);
      expect(plain(found)).toEqual(plain(range));
      expect(await hashOf(store.address!)).toBe(hash);
      await expect(ours.range(bytes("k1"), { revision: 199 })).rejects.toThrow("required revision has been compacted");
      expect([...store.member.state.lessor.get(lease)!.keys]).toEqual(["leased"]);

      await ctl(root, "auth", "disable");
      await sameHistory(theirs, ours, 200, "k30");
      expect((await ours.txn([], [{ type: "put", key: bytes("next"), value: bytes("1") }])).revision).toBe(range.revision + 1);
    } finally {
      await store.stop();
    }

    // And the way back, users and all: what ours writes, Debian's etcd reads.
    const back = new Store({ dataDir: ourDir, listen: [{ host: "127.0.0.1", port: 0 }] });
    await back.start();
    const saved = await kubun("save", join(dir, "back.db"), "--endpoints", back.address!);
    await back.stop();
    expect(saved).toEqual({ code: 0, err: "", out: `Snapshot saved at ${join(dir, "back.db")}\n` });
    await etcdctl("snapshot", "restore", join(dir, "back.db"), "--data-dir", join(dir, "theirs-again"));
    await using second = await startEtcd(["--data-dir", join(dir, "theirs-again")]);
    expect(await etcdctl("--endpoints", second.endpoint, "role", "get", "reader")).toBe(await ctl("role", "get", "reader"));
    expect(await etcdctl("--endpoints", second.endpoint, "user", "get", "alice")).toBe(await ctl("user", "get", "alice"));
    await etcdctl("--endpoints", second.endpoint, "auth", "enable");
    const asAlice = (...args: string[]) => etcdctl("--endpoints", second.endpoint, "--user=alice:wonder", ...args);
    await expect(asAlice("get", "next")).rejects.toThrow("permission denied");
    expect(await asAlice("get", "k1", "--print-value-only")).toBe("value 241\n");
  }, 60_000);

  test("the revision can be raised, so that no client has seen a later one", async () => {
    const file = join(dir, "bumped.db");
    let range: RangeResult;
    {
      await using etcd = await startEtcd();
      await fill(etcd.client());
      range = await etcd.client().range(ALL.key, { end: ALL.end });
      await etcdctl("--endpoints", etcd.endpoint, "snapshot", "save", file);
    }
    const restored = await kubun("restore", file, "--data-dir", join(dir, "bumped"), "--bump-revision=1000000", "--mark-compacted");
    expect(restored.out).toContain(`Restored ${range.count} keys at revision ${range.revision + 1_000_000} to`);
    const store = new Store({ dataDir: join(dir, "bumped") });
    await store.start();
    try {
      const client = store.client();
      const found = await client.range(ALL.key, { end: ALL.end });
      expect(found.revision).toBe(range.revision + 1_000_000);
      expect(plain(found)).toEqual(plain(range));
      const watch = new Collector();
      client.watch(ALL.key, { end: ALL.end, startRevision: range.revision + 1 }, watch);
      await watch.until((c) => c.end !== undefined, 20_000);
      expect(watch.end!.compacted).toBe(found.revision);
      expect((await client.txn([], [{ type: "put", key: bytes("next"), value: bytes("1") }])).revision).toBe(found.revision + 1);
    } finally {
      await store.stop();
    }
    for (const flag of ["--mark-compacted", "--bump-revision=5"]) {
      const wrong = await kubun("restore", file, "--data-dir", join(dir, "none"), flag);
      expect([wrong.code, wrong.err]).toEqual([2, "kubun: --mark-compacted required if --bump-revision > 0, and not without it\n"]);
    }
  }, 60_000);

  test("its data directory is refused, with the way that is open", async () => {
    const theirDir = join(dir, "live");
    let hash: number;
    {
      await using etcd = await startEtcd(["--data-dir", theirDir]);
      await fill(etcd.client());
      hash = await hashOf(etcd.endpoint);
      // bbolt has everything in the file once the backend has committed, 100 ms after a write at the latest; a snapshot forces it.
      await etcdctl("--endpoints", etcd.endpoint, "snapshot", "save", join(dir, "forced.db"));
      copyFileSync(join(theirDir, "member/snap/db"), join(dir, "copied.db"));
      const store = new Store({ dataDir: theirDir });
      await expect(store.start()).rejects.toThrow(
        /is the data directory of an etcd.*etcdctl snapshot save FILE.*kubun store snapshot restore FILE/,
      );
    }
    const unhashed = await kubun("restore", join(dir, "copied.db"), "--data-dir", join(dir, "copied"));
    expect([unhashed.code, unhashed.err]).toEqual([
      1,
      `kubun: ${join(dir, "copied.db")}: snapshot missing hash but --skip-hash-check=false\n`,
    ]);
    expect(existsSync(join(dir, "copied"))).toBe(false);
    expect((await kubun("restore", join(dir, "copied.db"), "--data-dir", join(dir, "copied"), "--skip-hash-check")).code).toBe(0);
    const store = new Store({ dataDir: join(dir, "copied"), listen: [{ host: "127.0.0.1", port: 0 }] });
    await store.start();
    try {
      expect(await hashOf(store.address!)).toBe(hash);
    } finally {
      await store.stop();
    }
  }, 60_000);

  test("a damaged snapshot and wrong arguments are refused", async () => {
    const file = join(dir, "damaged.db");
    {
      await using etcd = await startEtcd(["--data-dir", join(dir, "small")]);
      await etcd.client().txn([], [{ type: "put", key: bytes("a"), value: bytes("b") }]);
      await etcdctl("--endpoints", etcd.endpoint, "snapshot", "save", file);
    }
    const content = await Bun.file(file).bytes();
    content[content.length - 40]! ^= 1;
    await Bun.write(file, content);
    const options = {
      dataDir: join(dir, "none"),
      name: "a",
      initialCluster: "a=http://h1:1,b=http://h2:1",
      initialClusterToken: "t",
      initialAdvertisePeerUrls: ["http://h1:1"],
      skipHashCheck: false,
    };
    await expect(restoreSnapshot(file, options)).rejects.toThrow(/expected sha256 [0-9a-f]{64}, got [0-9a-f]{64}/);
    await Bun.write(file, content.subarray(0, 8192));
    const wrong: [string[], string][] = [
      [["restore", file, "--data-dir", options.dataDir, "--skip-hash-check"], `${file}: corrupt at offset 8192: the file ends before page`],
      [["restore", join(dir, "no.db"), "--data-dir", options.dataDir], "no such file"],
      [
        ["restore", file, "--name", "x", "--initial-cluster", "a=http://h:1"],
        `couldn't find local name "x" in the initial cluster configuration`,
      ],
      [["restore"], "snapshot restore requires exactly one argument, FILE (got 0)"],
      [["status", join(dir, "no.db")], "no such file"],
      [["status", file, "-w", "yaml"], '"yaml" for flag --write-out: must be one of simple, json, fields, table'],
      [["save", "x", "--endpoints", "ftp://h:1"], '"ftp://h:1" for flag --endpoints'],
    ];
    const results = await Promise.all(wrong.map(([args]) => kubun(...args)));
    for (const [i, { code, err }] of results.entries()) expect([code, err]).toEqual([2, expect.stringContaining(wrong[i]![1])]);
    expect(existsSync(options.dataDir)).toBe(false);
    expect(existsSync(`${options.dataDir}.restoring`)).toBe(false);
  }, 60_000);
});
