// /health, /livez, /readyz, /version and /metrics over plain HTTP, under etcd's names.
import type { Address } from "../../rpc/types.ts";
import type { Store } from "../mod.ts";
import { CLUSTER_VERSION, VERSION } from "../version.ts";

type Answer = (store: Store) => Response;

const metric = (name: string, type: "gauge" | "counter", help: string, value: number) =>
  `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${name} ${value}\n`;

const METRICS: readonly [name: string, type: "gauge" | "counter", help: string, value: (store: Store) => number][] = [
  ["etcd_server_has_leader", "gauge", "Whether or not a leader exists.", ({ member }) => (member.consensus.leader === 0n ? 0 : 1)],
  [
    "etcd_server_is_leader",
    "gauge",
    "Whether or not this member is a leader.",
    ({ member }) => Number(member.consensus.leader === member.identity.memberId),
  ],
  [
    "etcd_server_proposals_committed_total",
    "gauge",
    "The total number of consensus proposals committed.",
    ({ member }) => member.consensus.committedIndex,
  ],
  ["etcd_server_proposals_applied_total", "gauge", "The total number of consensus proposals applied.", ({ member }) => member.state.index],
  ["etcd_server_quota_backend_bytes", "gauge", "Current backend storage quota size in bytes.", ({ member }) => member.quota],
  [
    "etcd_mvcc_db_total_size_in_bytes",
    "gauge",
    "Total size of the underlying database physically allocated in bytes.",
    ({ member }) => member.state.mvcc.size,
  ],
  [
    "etcd_mvcc_db_total_size_in_use_in_bytes",
    "gauge",
    "Total size of the underlying database logically in use in bytes.",
    ({ member }) => member.state.mvcc.size,
  ],
  ["etcd_debugging_mvcc_keys_total", "gauge", "Total number of keys.", ({ member }) => member.state.mvcc.keys.live],
  ["etcd_debugging_mvcc_current_revision", "gauge", "The current revision of store.", ({ member }) => member.state.mvcc.revision],
  [
    "etcd_debugging_mvcc_compact_revision",
    "gauge",
    "The revision of the last compaction in store.",
    ({ member }) => member.state.mvcc.compactRevision,
  ],
  ["etcd_debugging_mvcc_watcher_total", "gauge", "Total number of watchers.", ({ member }) => member.watches.size],
  ["etcd_debugging_lease_granted_total", "gauge", "The number of leases held.", ({ member }) => member.state.lessor.size],
  ["process_resident_memory_bytes", "gauge", "Resident memory size in bytes.", () => process.memoryUsage().rss],
];

const health: Answer = (store) => {
  const reason = store.notReady();
  return Response.json(reason ? { health: "false", reason } : { health: "true", reason: "" }, { status: reason ? 503 : 200 });
};

const probe: Answer = (store) => {
  const reason = store.notReady();
  return reason ? new Response(`${reason}\n`, { status: 503 }) : new Response("ok\n");
};

const PATHS: Record<string, Answer> = {
  "/health": health,
  "/livez": probe,
  "/readyz": probe,
  "/version": () => Response.json({ etcdserver: VERSION, etcdcluster: CLUSTER_VERSION }),
  "/metrics": (store) =>
    new Response(METRICS.map(([name, type, help, value]) => metric(name, type, help, value(store))).join(""), {
      headers: { "content-type": "text/plain; version=0.0.4; charset=utf-8" },
    }),
};

/** Serves them until the server is stopped. */
export function serveHealth(store: Store, address: Address) {
  const fetch = (request: Request) =>
    PATHS[new URL(request.url).pathname]?.(store) ?? new Response("404 page not found\n", { status: 404 });
  return "unix" in address ? Bun.serve({ unix: address.unix, fetch }) : Bun.serve({ hostname: address.host, port: address.port, fetch });
}
