// From the flags to what the store is told.
import type { TokenOptions } from "../../store/auth/options.ts";
import { checkInitialCluster, checkTimeouts, parseInitialCluster } from "../../store/membership/bootstrap.ts";
import { type ClusterOptions, DEFAULT_PEER_URL } from "../../store/membership/options.ts";
import type { StoreOptions } from "../../store/mod.ts";
import { duration, UsageError } from "../flags.ts";
import { DEFAULT_CLIENT_URL, type Values } from "./flags.ts";
import type { Settings } from "./sources.ts";
import { readTls, serverTls, type Tls } from "./tls.ts";
import { advertised, type ListenUrl, listensAnywhere, parseListenUrls, parseUrls } from "./urls.ts";

export interface Plan {
  readonly store: StoreOptions;
  readonly clients: readonly ListenUrl[];
  /** Where HTTP alone is served. */
  readonly http: readonly ListenUrl[];
  /** Of the client URLs, for those of `http` that are https://. */
  readonly tls: Tls;
}

/** @throws UsageError */
export async function plan({ values, given }: Settings, warnings: string[]): Promise<Plan> {
  const dataDir = values["data-dir"] ?? `${values.name}.etcd`;
  const clients = parseListenUrls("listen-client-urls", values["listen-client-urls"]);
  const clientUrls = clientUrlsOf(values, given, clients);
  const cluster = await clusterOf(values, dataDir, gatesOf(values, warnings));
  const http = [...parseListenUrls("listen-metrics-urls", values["listen-metrics-urls"])];
  http.push(...parseListenUrls("listen-client-http-urls", values["listen-client-http-urls"]));
  const flag = clients.some((u) => u.secure) ? "listen-client-urls" : "listen-metrics-urls";
  const tls = await serverTls(flag, "", [...clients, ...http], readTls(values, ""), values, dataDir);
  for (const { url, secure } of clients) {
    if (!secure && clients.some((u) => u.secure)) throw new UsageError(`--listen-client-urls ${url}: not together with https URLs`);
  }
  const token = await tokenOf(values["auth-token"]);
  const store: StoreOptions = {
    ...cluster,
    dataDir,
    walDir: values["wal-dir"],
    listen: clients.map((u) => u.address),
    tls: clients.some((u) => u.secure) ? tls.server : undefined,
    advertiseClientUrls: clientUrls,
    // As etcd has it, a quota below zero is none.
    quotaBackendBytes: values["quota-backend-bytes"] < 0 ? Number.MAX_SAFE_INTEGER : values["quota-backend-bytes"],
    snapshotCount: values["snapshot-count"],
    catchUpEntries: values["snapshot-catchup-entries"],
    maxRequestBytes: values["max-request-bytes"],
    maxTxnOps: values["max-txn-ops"],
    gateway: values["enable-grpc-gateway"],
    timeCalls: values.metrics === "extensive",
    slowApply: values["warning-apply-duration"],
    connections: {
      cors: values.cors,
      maxConcurrentStreams: values["max-concurrent-streams"],
      minPingInterval: values["grpc-keepalive-min-time"],
      keepaliveInterval: values["grpc-keepalive-interval"] || Number.POSITIVE_INFINITY,
      keepaliveTimeout: values["grpc-keepalive-timeout"],
    },
    autoCompaction: compactionOf(values["auto-compaction-mode"], values["auto-compaction-retention"]),
    auth: {
      token,
      tokenTtl: values["auth-token-ttl"] * 1000,
      bcryptCost: values["bcrypt-cost"],
      certificateUsers: values["client-cert-auth"],
    },
    progressInterval: values["watch-progress-notify-interval"],
  };
  return { store, clients, http, tls };
}

/** What clients are told; empty for the URLs that it listens on, whose port may not be known yet. */
function clientUrlsOf(v: Values, given: ReadonlySet<string>, listen: readonly ListenUrl[]): readonly string[] {
  const urls = v["advertise-client-urls"];
  parseUrls("advertise-client-urls", urls);
  if (urls.length > 0) return advertised(urls, DEFAULT_CLIENT_URL, listen);
  if (!given.has("listen-client-urls")) return [DEFAULT_CLIENT_URL];
  if (listensAnywhere(listen)) throw new UsageError("--advertise-client-urls is required when --listen-client-urls is set explicitly");
  return [];
}

/** What the flags say of other members. */
async function clusterOf(v: Values, dataDir: string, gates: ReadonlyMap<string, boolean>): Promise<ClusterOptions> {
  const { name } = v;
  const listen = parseListenUrls("listen-peer-urls", v["listen-peer-urls"]);
  const peerUrls = advertised(v["initial-advertise-peer-urls"], DEFAULT_PEER_URL, listen);
  const initialCluster = v["initial-cluster"] ?? peerUrls.map((url) => `${name}=${url}`).join(",");
  parseUrls("initial-advertise-peer-urls", peerUrls);
  try {
    checkTimeouts(v["heartbeat-interval"], v["election-timeout"]);
    checkInitialCluster(name, peerUrls, parseInitialCluster(initialCluster));
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
  const tls = await serverTls("listen-peer-urls", "peer-", listen, readTls(v, "peer-"), v, dataDir);
  return {
    name,
    peerUrls,
    initialCluster,
    initialClusterState: v["initial-cluster-state"],
    initialClusterToken: v["initial-cluster-token"],
    forceNewCluster: v["force-new-cluster"],
    strictReconfigCheck: v["strict-reconfig-check"],
    heartbeatInterval: v["heartbeat-interval"],
    electionTimeout: v["election-timeout"],
    leaseReads: v["lease-reads"],
    initialCorruptCheck: v["experimental-initial-corrupt-check"] || gates.get("InitialCorruptCheck") === true,
    corruptCheckTime: v["corrupt-check-time"],
    maxLearners: v["max-learners"],
    peer: {
      listen: listen.map((u) => u.address),
      tls: tls.server,
      clientTls: tls.client,
      allowed: { commonNames: v["peer-cert-allowed-cn"], hosts: v["peer-cert-allowed-hostname"] },
    },
  };
}

/** Gates of etcd 3.6; the first is the only one that changes something here. */
const GATES = ["InitialCorruptCheck", "CompactHashCheck", "TxnModeWriteWithSharedBuffer", "StopGRPCServiceOnDefrag", "LeaseCheckpoint"];
const MORE_GATES = ["LeaseCheckpointPersist", "SetMemberLocalAddr", "AllAlpha", "AllBeta"];

function gatesOf(v: Values, warnings: string[]): ReadonlyMap<string, boolean> {
  const gates = new Map<string, boolean>();
  for (const pair of (v["feature-gates"] ?? "").split(",").filter((p) => p.trim() !== "")) {
    const [name = "", value] = pair.split("=").map((s) => s.trim());
    const bad = (why: string) => new UsageError(`invalid value ${JSON.stringify(v["feature-gates"])} for flag --feature-gates: ${why}`);
    if (value === undefined) throw bad(`missing bool value for ${name}`);
    if (!/^(true|t|1|false|f|0)$/i.test(value)) throw bad(`invalid value of ${name}=${value}`);
    if (![...GATES, ...MORE_GATES].includes(name)) throw bad(`unrecognized feature gate: ${name}`);
    const on = /^(true|t|1)$/i.test(value);
    if (on && name !== GATES[0] && name !== "TxnModeWriteWithSharedBuffer") warnings.push(`the feature gate ${name} is ignored`);
    gates.set(name, on);
  }
  return gates;
}

async function tokenOf(text: string): Promise<TokenOptions> {
  const { parseTokenOptions } = await import("../../store/auth/options.ts");
  try {
    const options = parseTokenOptions(text);
    if (options.kind === "simple") return options;
    const { JwtTokens } = await import("../../store/auth/jwt.ts");
    await JwtTokens.open(options);
    return options;
  } catch (error) {
    throw new UsageError(`invalid value ${JSON.stringify(text)} for flag --auth-token: ${(error as Error).message}`);
  }
}

function compactionOf(mode: "periodic" | "revision", text: string) {
  const bare = /^\d+$/.test(text);
  if (mode === "revision" && !bare)
    throw new UsageError(`invalid value ${JSON.stringify(text)} for flag --auto-compaction-retention: must be a number of revisions`);
  const amount = bare ? Number(text) * (mode === "periodic" ? 3_600_000 : 1) : (duration(0, "").parse(text) as number);
  return amount > 0 ? { mode, retention: amount } : undefined;
}
