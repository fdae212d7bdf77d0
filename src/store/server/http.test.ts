// Health and metrics on the client port, beside Debian's etcd.
import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { EtcdClient } from "../../client/etcd-grpc.ts";
import { noEtcd, startEtcd } from "../../testing/etcd.ts";
import { type Family, parseMetrics } from "../../testing/prometheus.ts";
import { Collector } from "../../testing/store-contract.ts";
import { Store, type StoreOptions } from "../mod.ts";

const dir = mkdtempSync(join(tmpdir(), "kubun-http-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));
let folders = 0;
if (noEtcd) console.log(`skipped: the metrics of a real etcd: ${noEtcd}`);

async function serve(options: Partial<StoreOptions> = {}) {
  const store = new Store({ dataDir: join(dir, String(folders++)), listen: [{ host: "127.0.0.1", port: 0 }], ...options });
  await store.start();
  const get = async (path: string) => {
    const response = await fetch(`${store.address}${path}`);
    return { status: response.status, type: response.headers.get("content-type"), body: await response.text() };
  };
  return Object.assign(store, { get, [Symbol.asyncDispose]: () => store.stop() });
}

const bytes = (s: string) => new TextEncoder().encode(s);
const TEXT = "text/plain; charset=utf-8";

/** Names that Debian's etcd has and ours knowingly does not, with why. */
const ABSENT: readonly [name: RegExp, why: string][] = [
  [/^(go_|etcd_server_go_version$|promhttp_)/, "of the Go runtime and its HTTP handler"],
  [/^etcd_grpc_proxy_/, "of the gRPC proxy, a program of its own"],
  [/^etcd_debugging_store_/, "of the v2 store, which is gone in 3.6"],
  [/^etcd_debugging_disk_backend_commit_/, "of bbolt's trees"],
  [/^etcd_debugging_mvcc_index_compaction_pause_duration_milliseconds$/, "index and pairs are one here"],
  [/^etcd_debugging_mvcc_pending_events_total$/, "what a slow watcher waits for lies in the log, and nowhere else"],
  [/^etcd_server_client_requests_total$/, "clients are not told apart by their release"],
];

/** Names that came after 3.4. */
const LATER = ["etcd_network_known_peers", "etcd_mvcc_total_put_size_in_bytes"];

const SAME = [
  "etcd_mvcc_put_total",
  "etcd_mvcc_delete_total",
  "etcd_mvcc_txn_total",
  "etcd_debugging_mvcc_keys_total",
  "etcd_debugging_mvcc_current_revision",
  "etcd_debugging_mvcc_events_total",
  "etcd_debugging_mvcc_watcher_total",
  "etcd_debugging_mvcc_watch_stream_total",
  "etcd_debugging_lease_granted_total",
  "etcd_debugging_lease_renewed_total",
  "etcd_debugging_lease_revoked_total",
  "etcd_server_proposals_failed_total",
];

const METHODS = [
  ["Txn", "unary", "KV"],
  ["Range", "unary", "KV"],
  ["Compact", "unary", "KV"],
  ["LeaseGrant", "unary", "Lease"],
  ["Watch", "bidi_stream", "Watch"],
] as const;

const metrics = async (endpoint: string) => parseMetrics(await (await fetch(`http://${endpoint.replace("http://", "")}/metrics`)).text());

test.skipIf(noEtcd !== undefined)(
  "/metrics has the names, types and counts that Debian's etcd has",
  async () => {
    await using etcd = await startEtcd(["--metrics", "extensive"]);
    await using ours = await serve({ timeCalls: true });
    const clients = [etcd.client(), new EtcdClient({ endpoints: [ours.address!] })];
    const endpoints = [etcd.endpoint, ours.address!];
    const before = await Promise.all(endpoints.map(metrics));
    const collectors = clients.map(() => new Collector());
    const watches = clients.map((client, i) => client.watch(bytes("k"), { end: bytes("l") }, collectors[i]!));
    for (const [i, client] of clients.entries()) {
      await collectors[i]!.until((c) => c.createdAt !== undefined, 20_000);
      for (let n = 0; n < 5; n++) await client.txn([], [{ type: "put", key: bytes(`k${n}`), value: bytes("value") }]);
      await client.txn(
        [],
        [
          { type: "put", key: bytes("k7"), value: bytes("x") },
          { type: "delete", key: bytes("k1") },
          { type: "range", key: bytes("k2") },
        ],
      );
      await client.range(bytes("k"), { end: bytes("l") });
      await client.range(bytes("k"), { revision: 99 }).catch(() => {});
      const { id } = await client.leaseGrant(60);
      await client.leaseKeepAlive(id);
      await client.leaseRevoke(id);
      await client.compact(4, { physical: true });
      await collectors[i]!.until((c) => c.seen.length === 7, 20_000);
    }
    /** Samples that both must count alike. */
    const same: (readonly [family: string, sample: string])[] = SAME.map((name) => [name, name] as const);
    same.push(["etcd_debugging_lease_ttl_total", "etcd_debugging_lease_ttl_total_sum"]);
    same.push(["etcd_debugging_lease_ttl_total", 'etcd_debugging_lease_ttl_total_bucket{le="64"}']);
    for (const [method, type, service] of METHODS) {
      const labels = `grpc_method="${method}",grpc_service="etcdserverpb.${service}",grpc_type="${type}"`;
      for (const name of ["grpc_server_started_total", "grpc_server_msg_received_total"]) same.push([name, `${name}{${labels}}`]);
      same.push(["grpc_server_handling_seconds", `grpc_server_handling_seconds_count{${labels}}`]);
      same.push(["grpc_server_handling_seconds", `grpc_server_handling_seconds_bucket{${labels},le="+Inf"}`]);
      for (const code of ["OK", "OutOfRange"])
        same.push(["grpc_server_handled_total", `grpc_server_handled_total{grpc_code="${code}",${labels}}`]);
    }
    const scrape = () => Promise.all(endpoints.map(metrics));
    /** By how much each has grown. */
    const grown = (i: number, now: Map<string, Family>) =>
      same.map(
        ([family, sample]) =>
          [sample, (now.get(family)?.samples.get(sample) ?? 0) - (before[i]!.get(family)?.samples.get(sample) ?? 0)] as const,
      );
    // What a client has got may be counted a moment later.
    let after = await scrape();
    const deadline = performance.now() + 10_000;
    while (!Bun.deepEquals(grown(0, after[0]!), grown(1, after[1]!)) && performance.now() < deadline) after = await scrape();
    expect(grown(1, after[1]!)).toEqual(grown(0, after[0]!));

    const [theirs, own] = after as [Map<string, Family>, Map<string, Family>];
    const missing = [...theirs].filter(([name, { type }]) => own.get(name)?.type !== type && !ABSENT.some(([absent]) => absent.test(name)));
    expect(missing.map(([name, { type }]) => `${name} ${type}`)).toEqual([]);
    expect([...own.keys()].filter((name) => ABSENT.some(([absent]) => absent.test(name)))).toEqual([]);
    const unknown = [...own.keys()].filter((name) => !theirs.has(name) && !LATER.includes(name));
    expect(unknown).toEqual([]);

    const now = (name: string) => own.get(name)!.samples;
    expect([...now("etcd_server_version").keys()]).toEqual(['etcd_server_version{server_version="3.6.0"}']);
    expect([...now("etcd_cluster_version").keys()]).toEqual(['etcd_cluster_version{cluster_version="3.6"}']);
    expect([...now("etcd_server_id").keys()]).toEqual([`etcd_server_id{server_id="${ours.member.identity.memberId.toString(16)}"}`]);
    for (const name of ["etcd_server_has_leader", "etcd_server_is_leader", "etcd_server_leader_changes_seen_total"])
      expect([name, now(name).get(name)]).toEqual([name, 1]);
    for (const name of ["etcd_disk_wal_fsync_duration_seconds_count", "etcd_disk_backend_commit_duration_seconds_count"]) {
      expect(now(name.replace("_count", "")).get(name)).toBeGreaterThan(5);
    }
    for (const name of [
      "process_resident_memory_bytes",
      "process_open_fds",
      "process_cpu_seconds_total",
      "etcd_network_client_grpc_sent_bytes_total",
      "etcd_disk_wal_write_bytes_total",
      "etcd_debugging_mvcc_db_compaction_keys_total",
      "etcd_mvcc_range_total",
    ]) {
      expect([name, now(name).get(name)]).toEqual([name, expect.any(Number)]);
      if (name !== "etcd_debugging_mvcc_db_compaction_keys_total") expect(now(name).get(name)).toBeGreaterThan(0);
    }
    for (const watch of watches) watch.cancel();
    await clients[1]!.close();
  },
  60_000,
);

test("/health, /livez and /readyz tell what etcd's tell, and leave out what they are asked to", async () => {
  await using store = await serve();
  const healthy = { status: 200, type: TEXT, body: '{"health":"true","reason":""}\n' };
  const ok = { status: 200, type: TEXT, body: "ok\n" };
  for (const path of ["/health", "/health?serializable=true", "/health?exclude=NOSPACE"]) expect(await store.get(path)).toEqual(healthy);
  for (const path of ["/livez", "/readyz", "/readyz/serializable_read", "/readyz?exclude=nothing"])
    expect(await store.get(path)).toEqual(ok);
  expect((await store.get("/livez?verbose")).body).toBe("[+]serializable_read ok\nok\n");
  expect((await store.get("/readyz?verbose&exclude=non_learner")).body).toBe(
    "[+]data_corruption ok\n[+]serializable_read ok\n[+]linearizable_read ok\nok\n",
  );
  for (const path of ["/readyz/nothing", "/livez/linearizable_read", "/readyz/non_learner/x", "/", "/nothing"]) {
    expect(await store.get(path)).toEqual({ status: 404, type: TEXT, body: "404 page not found\n" });
  }
  expect(JSON.parse((await store.get("/version")).body)).toEqual({ etcdserver: "3.6.0", etcdcluster: "3.6.0", storage: "3.6.0" });

  const memberId = store.member.identity.memberId;
  await store.member.alarm(true, { memberId, kind: "nospace" });
  expect(await store.get("/health")).toEqual({ status: 503, type: TEXT, body: '{"health":"false","reason":"ALARM NOSPACE"}\n' });
  expect(await store.get("/health?exclude=NOSPACE")).toEqual(healthy);
  expect(await store.get("/readyz")).toEqual(ok);
  await store.member.alarm(true, { memberId, kind: "corrupt" });
  expect((await store.get("/health?exclude=NOSPACE")).body).toBe('{"health":"false","reason":"ALARM CORRUPT"}\n');
  expect(await store.get("/health?exclude=NOSPACE&exclude=CORRUPT")).toEqual(healthy);
  expect(await store.get("/livez")).toEqual(ok);
  expect(await store.get("/readyz?exclude=non_learner")).toEqual({
    status: 503,
    type: TEXT,
    body: "[-]data_corruption failed: alarm activated: CORRUPT\n[+]serializable_read ok\n[+]linearizable_read ok\n\n",
  });
  const { samples } = (await metrics(store.address!)).get("etcd_server_health_failures")!;
  expect(samples.get("etcd_server_health_failures")).toBe(2);
}, 30_000);

test.skipIf(noEtcd !== undefined)(
  "what is there to be read only, or is not there, is refused as Debian's etcd refuses it",
  async () => {
    await using store = await serve();
    await using etcd = await startEtcd();
    const cases = ["/health", "/version", "/v2/keys/x", "/nothing", "/"].flatMap((path) =>
      ["POST", "PUT", "DELETE", "PATCH"].map((method) => ({ path, method, body: "value=1" })),
    );
    for (const { path, ...request } of cases) {
      const [theirs, ours] = await Promise.all(
        [`http://${etcd.endpoint}`, store.address!].map(async (base) => {
          const response = await fetch(new URL(path, base), request);
          return [response.status, response.headers.get("allow"), await response.text()];
        }),
      );
      expect([request.method, path, ours]).toEqual([request.method, path, theirs]);
    }
  },
  30_000,
);

test("the parser that this is checked with refuses what Prometheus refuses", () => {
  const good = '# HELP a b\n# TYPE a counter\na{x="1",y="\\""} 1\na 2.5e+06\n';
  expect(parseMetrics(good).get("a")!.samples.get("a")).toBe(2_500_000);
  const bad = [
    "a 1\n",
    "# HELP a b\n# TYPE a counter\na 1",
    "# HELP a b\n# TYPE a counter\na{x=1} 1\n",
    "# HELP a b\n# TYPE a count\na 1\n",
    "# HELP a b\n# TYPE a gauge\na one\n",
    "# HELP a b\n# TYPE a gauge\na 1\na 2\n",
    "# HELP a b\n# TYPE a gauge\nb 1\n",
    "# TYPE a gauge\na 1\n",
  ];
  for (const text of bad) expect(() => parseMetrics(text)).toThrow();
}, 30_000);
