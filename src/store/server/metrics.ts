// /metrics: etcd's names and types, collected when it is asked for.
import { readdirSync, readFileSync } from "node:fs";
import type { BoundMethod } from "../../rpc/service.ts";
import { CallTimes } from "../../rpc/stats.ts";
import { Code } from "../../rpc/types.ts";
import type { Member } from "../member.ts";
import type { PeerLink } from "../peer/link.ts";
import { VERSION } from "../version.ts";

export interface Scrape {
  readonly member: Member;
  /** Of the server on the client port; none where it serves no clients. */
  readonly methods: ReadonlyMap<string, BoundMethod>;
}

type Labels = Record<string, string>;
type Sample = readonly [labels: Labels, value: number];
type Row = readonly [name: string, type: "gauge" | "counter", help: string, value: (scrape: Scrape) => number | Iterable<Sample>];

const label = (name: string, value: string): readonly Sample[] => [[{ [name]: value }, 1]];
const minor = (version: string) => version.split(".").slice(0, 2).join(".");
const hex = (id: bigint) => id.toString(16);

const labelsOf = ({ method }: BoundMethod): Labels => ({
  grpc_method: method.name,
  grpc_service: method.parent.typeName,
  grpc_type: method.methodKind === "bidi_streaming" ? "bidi_stream" : method.methodKind.replace("streaming", "stream"),
});

/** One by one the numbers of all methods. */
function* byMethod({ methods }: Scrape, value: (m: BoundMethod) => number | Iterable<readonly [Labels, number]>): Generator<Sample> {
  for (const bound of methods.values()) {
    const labels = labelsOf(bound);
    const found = value(bound);
    if (typeof found === "number") yield [labels, found];
    else for (const [more, n] of found) yield [{ ...more, ...labels }, n];
  }
}

/** Codes that calls have ended with, and OK. */
function* handled({ stats }: BoundMethod): Generator<Sample> {
  for (const [code, n] of stats.handled.entries()) if (n > 0 || code === Code.OK) yield [{ grpc_code: Code[code]! }, n];
}

const sum = ({ methods }: Scrape, value: (m: BoundMethod) => number) => [...methods.values()].reduce((total, m) => total + value(m), 0);

const peer = (member: Member, id: bigint, value: number): Sample => [{ Local: hex(member.identity.memberId), Remote: hex(id) }, value];
const links = (member: Member, sample: (link: PeerLink, id: bigint) => Sample): Sample[] =>
  [...member.transport.links].map(([id, link]) => sample(link, id));

/** Watch streams that are open. */
function watchStreams({ methods }: Scrape): number {
  const stats = methods.get("/etcdserverpb.Watch/Watch")?.stats;
  return stats ? stats.started - stats.handled.reduce((a, b) => a + b, 0) : 0;
}

const counts = ({ member }: Scrape) => member.state.mvcc.counts;

const STORE: readonly Row[] = [
  [
    "etcd_server_has_leader",
    "gauge",
    "Whether or not a leader exists. 1 is existence, 0 is not.",
    ({ member }) => Number(member.consensus.leader !== 0n),
  ],
  [
    "etcd_server_is_leader",
    "gauge",
    "Whether or not this member is a leader. 1 if is, 0 otherwise.",
    ({ member }) => Number(member.consensus.leader === member.identity.memberId),
  ],
  [
    "etcd_server_is_learner",
    "gauge",
    "Whether or not this member is a learner. 1 if is, 0 otherwise.",
    ({ member }) => Number(member.isLearner),
  ],
  ["etcd_server_leader_changes_seen_total", "counter", "The number of leader changes seen.", ({ member }) => member.metrics.leaderChanges],
  [
    "etcd_server_proposals_committed_total",
    "gauge",
    "The total number of consensus proposals committed.",
    ({ member }) => member.consensus.committedIndex,
  ],
  ["etcd_server_proposals_applied_total", "gauge", "The total number of consensus proposals applied.", ({ member }) => member.state.index],
  [
    "etcd_server_proposals_pending",
    "gauge",
    "The current number of pending proposals to commit.",
    ({ member }) => member.consensus.pending,
  ],
  [
    "etcd_server_proposals_failed_total",
    "counter",
    "The total number of failed proposals seen.",
    ({ member }) => member.consensus.failures,
  ],
  [
    "etcd_server_heartbeat_send_failures_total",
    "counter",
    "The total number of leader heartbeat send failures (likely overloaded from slow disk).",
    ({ member }) => member.consensus.lateHeartbeats,
  ],
  [
    "etcd_server_slow_read_indexes_total",
    "counter",
    "The total number of pending read indexes not in sync with leader's or timed out read index requests.",
    ({ member }) => member.consensus.slowReads,
  ],
  [
    "etcd_server_read_indexes_failed_total",
    "counter",
    "The total number of failed read indexes seen.",
    ({ member }) => member.consensus.failedReads,
  ],
  [
    "etcd_server_snapshot_apply_in_progress_total",
    "gauge",
    "1 if the server is applying the incoming snapshot. 0 if none.",
    ({ member }) => member.metrics.installing,
  ],
  [
    "etcd_server_learner_promote_successes",
    "counter",
    "The total number of successful learner promotions while this member is leader.",
    ({ member }) => member.metrics.promotions,
  ],
  [
    "etcd_server_slow_apply_total",
    "counter",
    "The total number of slow apply requests (likely overloaded from slow disk).",
    ({ member }) => member.metrics.slowApplies,
  ],
  ["etcd_server_quota_backend_bytes", "gauge", "Current backend storage quota size in bytes.", ({ member }) => member.quota],
  [
    "etcd_server_id",
    "gauge",
    "Server or member ID in hexadecimal format. 1 for 'server_id' label with current ID.",
    ({ member }) => label("server_id", hex(member.identity.memberId)),
  ],
  [
    "etcd_server_version",
    "gauge",
    "Which version is running. 1 for 'server_version' label with current version.",
    () => label("server_version", VERSION),
  ],
  [
    "etcd_cluster_version",
    "gauge",
    "Which version is running. 1 for 'cluster_version' label with current cluster version",
    ({ member }) => label("cluster_version", minor(member.state.clusterVersion)),
  ],
  ["etcd_server_health_success", "counter", "The total number of successful health checks", ({ member }) => member.metrics.healthy],
  ["etcd_server_health_failures", "counter", "The total number of failed health checks", ({ member }) => member.metrics.unhealthy],
  [
    "etcd_disk_defrag_inflight",
    "gauge",
    "Whether or not defrag is active on the member. 1 means active, 0 means not.",
    ({ member }) => member.metrics.defragmenting,
  ],
  ["etcd_disk_wal_write_bytes_total", "gauge", "Total number of bytes written in WAL.", ({ member }) => member.walBytes],
  [
    "etcd_mvcc_db_total_size_in_bytes",
    "gauge",
    "Total size of the underlying database physically allocated in bytes.",
    ({ member }) => member.state.size,
  ],
  [
    "etcd_mvcc_db_total_size_in_use_in_bytes",
    "gauge",
    "Total size of the underlying database logically in use in bytes.",
    ({ member }) => member.state.sizeInUse,
  ],
  [
    "etcd_mvcc_db_open_read_transactions",
    "gauge",
    "The number of currently open read transactions",
    ({ member }) => member.snapshots.holds,
  ],
  ["etcd_mvcc_put_total", "counter", "Total number of puts seen by this member.", (s) => counts(s).puts],
  ["etcd_mvcc_delete_total", "counter", "Total number of deletes seen by this member.", (s) => counts(s).deletes],
  ["etcd_mvcc_range_total", "counter", "Total number of ranges seen by this member.", (s) => counts(s).ranges],
  ["etcd_mvcc_txn_total", "counter", "Total number of txns seen by this member.", (s) => counts(s).txns],
  [
    "etcd_debugging_mvcc_total_put_size_in_bytes",
    "gauge",
    "The total size of put kv pairs seen by this member.",
    (s) => counts(s).putBytes,
  ],
  ["etcd_mvcc_total_put_size_in_bytes", "gauge", "The total size of put kv pairs seen by this member.", (s) => counts(s).putBytes],
  // Names of 3.4, which dashboards of its time ask for.
  ["etcd_debugging_mvcc_put_total", "counter", "Total number of puts seen by this member.", (s) => counts(s).puts],
  ["etcd_debugging_mvcc_delete_total", "counter", "Total number of deletes seen by this member.", (s) => counts(s).deletes],
  ["etcd_debugging_mvcc_range_total", "counter", "Total number of ranges seen by this member.", (s) => counts(s).ranges],
  ["etcd_debugging_mvcc_txn_total", "counter", "Total number of txns seen by this member.", (s) => counts(s).txns],
  [
    "etcd_debugging_mvcc_db_total_size_in_bytes",
    "gauge",
    "Total size of the underlying database physically allocated in bytes.",
    ({ member }) => member.state.size,
  ],
  ["etcd_debugging_mvcc_db_compaction_keys_total", "counter", "Total number of db keys compacted.", (s) => counts(s).pruned],
  ["etcd_debugging_mvcc_keys_total", "gauge", "Total number of keys.", ({ member }) => member.state.mvcc.keys.live],
  ["etcd_debugging_mvcc_current_revision", "gauge", "The current revision of store.", ({ member }) => member.state.mvcc.revision],
  [
    "etcd_debugging_mvcc_compact_revision",
    "gauge",
    "The revision of the last compaction in store.",
    ({ member }) => member.state.mvcc.compactRevision,
  ],
  ["etcd_debugging_mvcc_events_total", "counter", "Total number of events sent by this member.", ({ member }) => member.watches.sent],
  ["etcd_debugging_mvcc_watcher_total", "gauge", "Total number of watchers.", ({ member }) => member.watches.size],
  ["etcd_debugging_mvcc_slow_watcher_total", "gauge", "Total number of unsynced slow watchers.", ({ member }) => member.watches.unsynced],
  ["etcd_debugging_mvcc_watch_stream_total", "gauge", "Total number of watch streams.", watchStreams],
  ["etcd_debugging_lease_granted_total", "counter", "The total number of granted leases.", ({ member }) => member.state.lessor.granted],
  ["etcd_debugging_lease_revoked_total", "counter", "The total number of revoked leases.", ({ member }) => member.state.lessor.revoked],
  [
    "etcd_debugging_lease_renewed_total",
    "counter",
    "The number of renewed leases seen by the leader.",
    ({ member }) => member.state.lessor.renewed,
  ],
  ["etcd_debugging_server_lease_expired_total", "counter", "The total number of expired leases.", ({ member }) => member.leases.expired],
  ["etcd_debugging_auth_revision", "gauge", "The current revision of auth store.", ({ member }) => member.state.auth.revision],
  [
    "etcd_network_client_grpc_received_bytes_total",
    "counter",
    "The total number of bytes received from grpc clients.",
    (s) => sum(s, (m) => m.stats.receivedBytes),
  ],
  [
    "etcd_network_client_grpc_sent_bytes_total",
    "counter",
    "The total number of bytes sent to grpc clients.",
    (s) => sum(s, (m) => m.stats.sentBytes),
  ],
  [
    "etcd_network_known_peers",
    "gauge",
    "The current number of known peers.",
    ({ member }) => member.state.membership.members.map((m) => peer(member, m.id, 1)),
  ],
  [
    "etcd_network_active_peers",
    "gauge",
    "The current number of active peer connections.",
    ({ member }) => links(member, (l, id) => peer(member, id, Number(l.connectedSince !== undefined))),
  ],
  [
    "etcd_network_disconnected_peers_total",
    "counter",
    "The total number of disconnected peers.",
    ({ member }) => links(member, (l, id) => peer(member, id, l.disconnects)),
  ],
  [
    "etcd_network_peer_sent_bytes_total",
    "counter",
    "The total number of bytes sent to peers.",
    ({ member }) => links(member, (l, id) => [{ To: hex(id) }, l.sentBytes]),
  ],
  [
    "etcd_network_peer_sent_failures_total",
    "counter",
    "The total number of send failures from peers.",
    ({ member }) => links(member, (l, id) => [{ To: hex(id) }, l.failures]),
  ],
  [
    "etcd_network_peer_received_bytes_total",
    "counter",
    "The total number of bytes received from peers.",
    ({ member }) => [...member.metrics.peerReceived].map(([id, n]) => [{ From: hex(id) }, n] as const),
  ],
  ["grpc_server_started_total", "counter", "Total number of RPCs started on the server.", (s) => byMethod(s, (m) => m.stats.started)],
  [
    "grpc_server_handled_total",
    "counter",
    "Total number of RPCs completed on the server, regardless of success or failure.",
    (s) => byMethod(s, handled),
  ],
  [
    "grpc_server_msg_received_total",
    "counter",
    "Total number of RPC stream messages received on the server.",
    (s) => byMethod(s, (m) => m.stats.received),
  ],
  [
    "grpc_server_msg_sent_total",
    "counter",
    "Total number of gRPC stream messages sent by the server.",
    (s) => byMethod(s, (m) => m.stats.sent),
  ],
];

/** grpc_server_handling_seconds, of methods whose calls are timed. */
function handlingSeconds(scrape: Scrape): string[] {
  const name = "grpc_server_handling_seconds";
  const help = "Histogram of response latency (seconds) of gRPC that had been application-level handled by the server.";
  const lines: string[] = [];
  for (const [labels, counts, sum] of timed(scrape)) {
    let total = 0;
    for (const [i, n] of counts.entries()) {
      total += n;
      lines.push(`${name}_bucket${braced({ ...labels, le: String(CallTimes.BOUNDS[i] ?? "+Inf") })} ${total}`);
    }
    lines.push(`${name}_sum${braced(labels)} ${sum}`, `${name}_count${braced(labels)} ${total}`);
  }
  return lines.length > 0 ? [`# HELP ${name} ${help}`, `# TYPE ${name} histogram`, ...lines] : lines;
}

function* timed({ methods }: Scrape): Generator<readonly [Labels, Float64Array, number]> {
  for (const bound of methods.values()) if (bound.stats.times) yield [labelsOf(bound), bound.stats.times.counts, bound.stats.times.sum];
}

const openFiles = () => readdirSync("/proc/self/fd").length;
/** A soft limit of this process; what is unlimited is -1. */
const limit = (name: string) => Number(new RegExp(`^${name} +(\\d+)`, "m").exec(readFileSync("/proc/self/limits", "utf8"))?.[1] ?? -1);
const virtualMemory = () => Number(/^VmSize:\s+(\d+)/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1] ?? 0) * 1024;
const cpuSeconds = () => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
};

const PROCESS: readonly Row[] = [
  ["process_cpu_seconds_total", "counter", "Total user and system CPU time spent in seconds.", cpuSeconds],
  ["process_open_fds", "gauge", "Number of open file descriptors.", openFiles],
  ["process_max_fds", "gauge", "Maximum number of open file descriptors.", () => limit("Max open files")],
  ["process_resident_memory_bytes", "gauge", "Resident memory size in bytes.", () => process.memoryUsage.rss()],
  ["process_virtual_memory_bytes", "gauge", "Virtual memory size in bytes.", virtualMemory],
  ["process_virtual_memory_max_bytes", "gauge", "Maximum amount of virtual memory available in bytes.", () => limit("Max address space")],
  ["process_start_time_seconds", "gauge", "Start time of the process since unix epoch in seconds.", () => performance.timeOrigin / 1000],
  ["os_fd_used", "gauge", "The number of used file descriptors.", openFiles],
  ["os_fd_limit", "gauge", "The file descriptor limit.", () => limit("Max open files")],
];

const braced = (labels: Labels) => {
  const pairs = Object.entries(labels).map(([k, v]) => `${k}="${v}"`);
  return pairs.length > 0 ? `{${pairs.join(",")}}` : "";
};

/** Prometheus' text format, version 0.0.4. */
export function metricsText(scrape: Scrape): string {
  const lines: string[] = [];
  for (const [name, type, help, value] of [...STORE, ...PROCESS]) {
    const found = value(scrape);
    const samples = typeof found === "number" ? [[{}, found] as const] : [...found];
    if (samples.length > 0) lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`);
    for (const [labels, n] of samples) lines.push(`${name}${braced(labels)} ${n}`);
  }
  lines.push(...handlingSeconds(scrape));
  return `${lines.join("\n")}\n${scrape.member.metrics.text()}`;
}
