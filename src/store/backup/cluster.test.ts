// A snapshot becomes a cluster of three: of ours from a real etcd's, and of real etcds from ours.
import { afterAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { noEtcd, noEtcdctl, type RealEtcd, startEtcd } from "../../testing/etcd.ts";
import { freePorts } from "../../testing/ports.ts";
import { parseMetrics } from "../../testing/prometheus.ts";
import type { Store } from "../mod.ts";
import { Members, until } from "../testing/members.ts";
import { restoreSnapshot } from "./restore.ts";

const dir = mkdtempSync(join(tmpdir(), "kubun-restored-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));
const skipped = noEtcd ?? noEtcdctl;
if (skipped) console.log(`skipped: snapshots for clusters: ${skipped}`);

const NAMES = ["a", "b", "c"];
const bytes = (s: string) => new TextEncoder().encode(s);
const put = (key: string, value: string) => [{ type: "put" as const, key: bytes(key), value: bytes(value) }];

async function etcdctl(...args: string[]): Promise<string> {
  const child = Bun.spawn(["etcdctl", ...args], { env: { ...process.env, ETCDCTL_API: "3" }, stdout: "pipe", stderr: "pipe" });
  const [out, err, code] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text(), child.exited]);
  if (code !== 0) throw new Error(`etcdctl ${args.join(" ")}: ${err}`);
  // What it logs says the cluster's id.
  return out + err;
}

/** The hash of every member of the cluster that an endpoint belongs to. */
async function hashes(endpoint: string): Promise<number[]> {
  const found = JSON.parse(await etcdctl("--endpoints", endpoint, "endpoint", "hashkv", "--cluster", "-w", "json")) as {
    HashKV: { hash: number };
  }[];
  return found.map((f) => f.HashKV.hash);
}

/** The hash that all three members of a cluster come to, once they have applied and compacted as much. */
const oneHash = (endpoint: string) =>
  until("one hash of all", async () => {
    const found = await hashes(endpoint);
    return found.length === 3 && new Set(found).size === 1 && found[0];
  });

/** Resolves when a member knows where all of them serve clients. */
const published = (store: Store) =>
  until("the client URLs of all", () => store.member.state.membership.members.every((m) => m.clientUrls.length > 0));

/** What its /health, /livez and /readyz say of a member that can't reach the others. */
async function alone(store: Store) {
  const get = async (path: string) => {
    const response = await fetch(`${store.address}${path}`);
    return [response.status, await response.text()] as const;
  };
  const [status, body] = await get("/health");
  expect([status, JSON.parse(body)]).toEqual([503, { health: "false", reason: "RAFT NO LEADER" }]);
  expect((await get("/health?serializable=true"))[0]).toBe(200);
  expect(await get("/livez")).toEqual([200, "ok\n"]);
  const [ready, report] = await get("/readyz");
  expect(ready).toBe(503);
  expect(report).toContain("[+]serializable_read ok\n[-]linearizable_read failed: range error: etcdserver: ");
}

describe.skipIf(skipped !== undefined)("a cluster of three", () => {
  test("of ours starts from a real etcd's snapshot, with the ids that etcd gives it", async () => {
    const file = join(dir, "theirs.db");
    let hash: number;
    let revision = 0;
    {
      await using etcd = await startEtcd();
      const client = etcd.client();
      for (let i = 0; i < 50; i++) ({ revision } = await client.txn([], put(`k${i % 9}`, `v${i}`)));
      await client.compact(20, { physical: true });
      [hash] = (await hashes(etcd.endpoint)) as [number];
      await etcdctl("--endpoints", etcd.endpoint, "snapshot", "save", file);
    }
    await using members = new Members();
    const initialCluster = NAMES.map((name) => `${name}=${members.peerUrl(name)}`).join();
    for (const name of NAMES) {
      const options = { name, initialCluster, initialClusterToken: "restored", initialAdvertisePeerUrls: [members.peerUrl(name)] };
      const restored = await restoreSnapshot(file, { ...options, dataDir: members.dataDir(name), skipHashCheck: false });
      const flags = ["--name", name, "--initial-cluster", initialCluster, "--initial-cluster-token", "restored"];
      const theirs = join(dir, `theirs-${name}`);
      const said = await etcdctl(
        "snapshot",
        "restore",
        file,
        ...flags,
        "--initial-advertise-peer-urls",
        members.peerUrl(name),
        "--data-dir",
        theirs,
      );
      expect(said).toContain(restored.clusterId.toString(16));
      expect(said).toContain(restored.memberId.toString(16));
    }
    await Promise.all(NAMES.map((name) => members.start(name)));
    const leader = await members.leader();
    await published(leader);
    expect(await hashes(leader.address!)).toEqual([hash, hash, hash]);
    for (const name of NAMES) {
      revision++;
      expect((await members.get(name).client().txn([], put("after", name))).revision).toBe(revision);
    }
    for (const store of members.stores.values()) {
      const { kvs } = await store.client().range(bytes("k3"), { revision: 30 });
      expect(Buffer.from(kvs[0]!.value).toString()).toBe("v21");
      expect(Buffer.from((await store.client().range(bytes("after"))).kvs[0]!.value).toString()).toBe("c");
    }
    await oneHash(leader.address!);

    const leads = await members.leader();
    const told = parseMetrics(await (await fetch(`${leads.address}/metrics`)).text());
    const of = (name: string) => [...told.get(name)!.samples.values()];
    expect(of("etcd_network_active_peers")).toEqual([1, 1]);
    expect(of("etcd_network_known_peers")).toEqual([1, 1, 1]);
    for (const name of ["etcd_network_peer_sent_bytes_total", "etcd_network_peer_received_bytes_total"]) {
      expect(of(name).length).toBe(2);
      for (const value of of(name)) expect(value).toBeGreaterThan(100);
    }
    expect(of("etcd_server_is_leader")).toEqual([1]);

    const [last, ...others] = NAMES as [string, string, string];
    for (const name of others) await members.stop(name);
    const left = members.get(last);
    await until("no leader", () => left.member.consensus.leader === 0n);
    await alone(left);
  }, 90_000);

  test("of real etcds starts from the snapshot of any of ours", async () => {
    const file = join(dir, "ours.db");
    let hash: number;
    let revision: number;
    {
      await using members = await Members.start(NAMES);
      const leader = await members.leader();
      for (let i = 0; i < 30; i++) await leader.client().txn([], put(`k${i % 5}`, `v${i}`));
      await leader.client().compact(12, { physical: true });
      const follower = await members.follower();
      // Linearizable: the follower has it all then.
      await published(follower);
      ({ revision } = await follower.client().range(bytes("k0")));
      hash = await oneHash(follower.address!);
      await etcdctl("--endpoints", follower.address!, "snapshot", "save", file);
    }
    const urls = freePorts(3).map((port) => `http://127.0.0.1:${port}`);
    const initialCluster = NAMES.map((name, i) => `${name}=${urls[i]}`).join();
    const started: RealEtcd[] = [];
    try {
      const flags = NAMES.map((name, i) => [
        "--name",
        name,
        "--initial-cluster",
        initialCluster,
        "--initial-advertise-peer-urls",
        urls[i]!,
        "--data-dir",
        join(dir, `etcd-${name}`),
      ]);
      for (const f of flags) await etcdctl("snapshot", "restore", file, ...f);
      const starting = flags.map((f, i) => startEtcd([...f, "--listen-peer-urls", urls[i]!]).then((etcd) => started.push(etcd)));
      await Promise.all(starting);
      const { endpoint } = started[0]!;
      expect(await oneHash(endpoint)).toBe(hash);
      const client = started[1]!.client();
      expect((await client.txn([], put("after", "1"))).revision).toBe(revision + 1);
      expect(Buffer.from((await client.range(bytes("k4"), { revision: 20 })).kvs[0]!.value).toString()).toBe("v14");
    } finally {
      for (const etcd of started) await etcd[Symbol.asyncDispose]();
    }
  }, 90_000);
});
