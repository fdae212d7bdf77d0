// The way out: Debian's etcdctl takes a snapshot of our store and restores it,
// and Debian's etcd starts from that with all that was in ours.
import { afterAll, describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { RangeResult } from "../../client/etcd.ts";
import { EtcdClient } from "../../client/etcd-grpc.ts";
import { noEtcd, noEtcdctl, startEtcd } from "../../testing/etcd.ts";
import { Collector } from "../../testing/store-contract.ts";
import { Store } from "../mod.ts";

const dir = mkdtempSync(join(tmpdir(), "kubun-way-out-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));
const skipped = noEtcd ?? noEtcdctl;
if (skipped) console.log(`skipped: snapshots into a real etcd: ${skipped}`);

const bytes = (s: string) => new TextEncoder().encode(s);
const text = (b: Uint8Array) => new TextDecoder().decode(b);
const ALL = { key: Uint8Array.of(0), end: Uint8Array.of(0) };

const plain = ({ kvs }: RangeResult) =>
  kvs.map((kv) => [text(kv.key), Bun.hash(kv.value), kv.createRevision, kv.modRevision, kv.version, kv.lease]);

async function etcdctl(...args: string[]): Promise<string> {
  const child = Bun.spawn(["etcdctl", ...args], { env: { ...process.env, ETCDCTL_API: "3" }, stdout: "pipe", stderr: "pipe" });
  const [out, err, code] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text(), child.exited]);
  if (code !== 0) throw new Error(`etcdctl ${args.join(" ")}: ${err}`);
  return out;
}

const hashOf = async (endpoint: string) => JSON.parse(await etcdctl("--endpoints", endpoint, "endpoint", "hashkv", "-w", "json"))[0].HashKV;

describe.skipIf(skipped !== undefined)("a snapshot of ours in Debian's etcd", () => {
  test("has every key, revision and lease, and the hash of what it was taken from", async () => {
    const store = new Store({ dataDir: join(dir, "ours"), listen: [{ host: "127.0.0.1", port: 0 }] });
    await store.start();
    try {
      const client = store.client();
      const put = (key: string, value: string, lease?: bigint) =>
        client.txn([], [{ type: "put", key: bytes(key), value: bytes(value), lease }]);
      for (let i = 0; i < 300; i++) await put(`k${i % 40}`, `value ${i}`);
      await client.compact(150);
      await client.txn([], [{ type: "delete", key: bytes("k1"), end: bytes("k19") }]);
      const { id } = await client.leaseGrant(600);
      await put("leased", "x", id);
      await put("large", "y".repeat(1_000_000));
      await put("empty", "");

      const file = join(dir, "ours.db");
      const ours = store.address!;
      await etcdctl("--endpoints", ours, "snapshot", "save", file);
      const before = await client.range(ALL.key, { end: ALL.end });
      const status = JSON.parse(await etcdctl("snapshot", "status", file, "-w", "json"));
      expect(status.revision).toBe(before.revision);

      const restored = join(dir, "theirs");
      await etcdctl("snapshot", "restore", file, "--data-dir", restored);
      await using etcd = await startEtcd(["--data-dir", restored]);
      const theirs = etcd.client();
      const after = await theirs.range(ALL.key, { end: ALL.end });
      expect(after.revision).toBe(before.revision);
      expect(plain(after)).toEqual(plain(before));
      expect(await hashOf(etcd.endpoint)).toEqual({ ...(await hashOf(ours)), header: expect.anything() });

      const [fromOurs, fromTheirs] = [new Collector(), new Collector()];
      client.watch(ALL.key, { end: ALL.end, startRevision: 151 }, fromOurs);
      theirs.watch(ALL.key, { end: ALL.end, startRevision: 151 }, fromTheirs);
      const whole = (c: Collector) => c.seen.some((e) => text(e.kv.key) === "empty");
      for (const collector of [fromOurs, fromTheirs]) await collector.until(whole, 20_000);
      const told = (c: Collector) => c.seen.map((e) => `${e.type} ${text(e.kv.key)} ${e.kv.modRevision} ${e.kv.value.length}`);
      expect(told(fromTheirs)).toEqual(told(fromOurs));
      await expect(theirs.range(bytes("k1"), { revision: 140 })).rejects.toThrow("required revision has been compacted");

      const lease = await etcdctl("--endpoints", etcd.endpoint, "lease", "timetolive", id.toString(16), "--keys");
      expect(lease).toMatch(/granted with TTL\(600s\).*attached keys\(\[leased\]\)/);
      await theirs.leaseRevoke(id);
      expect((await theirs.range(bytes("leased"))).count).toBe(0);
      expect((await theirs.txn([], [{ type: "put", key: bytes("next"), value: bytes("1") }])).revision).toBe(before.revision + 2);
    } finally {
      await store.stop();
    }
  }, 60_000);

  test("is streamed in little memory, while writes go on", async () => {
    const child = Bun.spawn(
      [
        process.execPath,
        join(import.meta.dir, "../../main.ts"),
        "store",
        "--data-dir",
        join(dir, "large"),
        "--listen-client-urls",
        "http://127.0.0.1:0",
      ],
      { stdout: "ignore", stderr: "pipe" },
    );
    try {
      let log = "";
      let url: string | undefined;
      for await (const chunk of child.stderr) {
        log += text(chunk);
        url = /urls="([^"]+)"/.exec(log)?.[1];
        if (url) break;
      }
      const client = new EtcdClient({ endpoints: [url!] });
      const COUNT = 30_000;
      for (let i = 0; i < COUNT; i += 100) {
        const ops = Array.from({ length: 100 }, (_, k) => ({
          type: "put" as const,
          key: bytes(`key${i + k}`),
          value: new Uint8Array(1024).fill(i + k),
        }));
        await client.txn([], ops);
      }
      const peak = () => Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${child.pid}/status`, "utf8"))![1]) * 1024;
      const file = join(dir, "large.db");
      // The first write in a megabyte of values again, and all along.
      let saving = true;
      const before = peak();
      const saved = etcdctl("--endpoints", url!, "snapshot", "save", file).finally(() => (saving = false));
      let revision = 0;
      while (saving) revision = (await client.txn([], [{ type: "put", key: bytes("meanwhile"), value: bytes("x") }])).revision;
      await saved;
      const grown = peak() - before;
      const status = JSON.parse(await etcdctl("snapshot", "status", file, "-w", "json"));
      expect(status.totalSize).toBeGreaterThan(COUNT * 1100);
      expect(status.revision).toBeGreaterThan(COUNT / 100);
      expect(status.revision).toBeLessThan(revision);
      // Holding the file, or a copy of the values, would be all of it.
      expect(grown).toBeLessThan(status.totalSize * 0.75);
      console.log(
        `a snapshot of ${Math.round(status.totalSize / 1e6)} MB raised the peak of the store's memory by ${Math.round(grown / 1e6)} MB`,
      );
      await client.close();
    } finally {
      child.kill("SIGKILL");
      await child.exited;
    }
  }, 60_000);
});
