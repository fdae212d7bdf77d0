// Serves a member over etcd's gRPC API.
import { HealthStatus } from "../../rpc/health.ts";
import { createRpcServer, type RpcListener, type RpcServer } from "../../rpc/server.ts";
import type { Address, TlsServerOptions } from "../../rpc/types.ts";
import type { Gateway } from "../../rpc/web/gateway/routes.ts";
import { listenAt } from "../listen-error.ts";
import type { Member } from "../member.ts";
import { DEFAULT_ELECTION } from "../membership/options.ts";
import { MAX_TXN_OPS } from "../mvcc/check.ts";
import { DEFAULT_MAX_REQUEST } from "../options.ts";
import { rejected } from "../rejected.ts";
import { authService } from "./auth.ts";
import { clusterService } from "./cluster.ts";
import type { ServerContext } from "./context.ts";
import { electionService } from "./election.ts";
import { type AuthOptions, Gate } from "./gate.ts";
import { either, guarded } from "./guard.ts";
import { kvService } from "./kv.ts";
import { permittedKv } from "./kv-auth.ts";
import { LeaderWatch, led } from "./leadership.ts";
import { leaseService } from "./lease.ts";
import { lockService } from "./lock.ts";
import { maintenanceService } from "./maintenance.ts";
import { watchService } from "./watch.ts";

export interface EtcdServerOptions {
  name: string;
  tls?: TlsServerOptions;
  /** URLs that clients are told; those it listens on by default. */
  advertiseClientUrls?: readonly string[];
  peerUrls?: readonly string[];
  /** Milliseconds. Default 10 minutes, as etcd's. */
  progressInterval?: number;
  maxRequestBytes?: number;
  maxTxnOps?: number;
  auth?: AuthOptions;
  connections?: ClientConnections;
  /** Milliseconds. Default 1000. */
  electionTimeout?: number;
  /** Answer JSON at /v3/…, as etcd's gateway does. Default true. */
  gateway?: boolean;
  /** Measure how long each call takes, for grpc_server_handling_seconds. Default false. */
  timeCalls?: boolean;
}

/** How clients may use their connections; milliseconds. */
export interface ClientConnections {
  /** Origins whose pages may call. Default: all, as etcd's. */
  cors?: readonly string[];
  /** Streams of one connection. Default: any number. */
  maxConcurrentStreams?: number;
  /** A client that pings more often is sent away. Default 5 000. */
  minPingInterval?: number;
  /** How long a client may be silent until it is asked. Default 2 hours. */
  keepaliveInterval?: number;
  /** How long it has to answer. Default 20 000. */
  keepaliveTimeout?: number;
}

export interface EtcdServer {
  readonly listeners: RpcListener[];
  /** What is counted of its methods. */
  readonly methods: RpcServer["methods"];
}

/** What gRPC adds to a request around its largest value. */
const GRPC_OVERHEAD = 512 * 1024;

/** Loaded for the first who asks as well. */
const gateway = (gate: Gate): Gateway => ({
  owns: (path) => path.startsWith("/v3/") || path.startsWith("/v3beta/"),
  route: (path) => (require("./gateway.ts") as typeof import("./gateway.ts")).routeOf(path),
  refusal: ({ certificate }) =>
    certificate && gate.wouldNameUser(certificate)
      ? "CommonName of client sending a request against gateway will be ignored and not used as expected"
      : undefined,
});

export async function serveEtcd(member: Member, addresses: readonly Address[], options: EtcdServerOptions): Promise<EtcdServer> {
  const maxRequest = options.maxRequestBytes ?? DEFAULT_MAX_REQUEST;
  const clientUrls: string[] = [...(options.advertiseClientUrls ?? [])];
  const context: ServerContext = {
    member,
    gate: await Gate.open(member, options.auth),
    name: options.name,
    clientUrls,
    peerUrls: options.peerUrls ?? [],
    progressInterval: options.progressInterval ?? 600_000,
    fragmentBytes: maxRequest,
    maxTxnOps: options.maxTxnOps ?? MAX_TXN_OPS,
  };
  const services = [
    either(kvService(context), permittedKv(context), context.gate),
    watchService(context),
    leaseService(context),
    maintenanceService(context),
    clusterService(context),
    authService(context),
    lockService(context),
    electionService(context),
  ];
  const { connections = {} } = options;
  const leader = new LeaderWatch(member, options.electionTimeout ?? DEFAULT_ELECTION);
  const server: RpcServer = createRpcServer({
    services: [...services.map((s) => led(guarded(s, member, context.gate), member, leader)), new HealthStatus().service],
    tls: options.tls,
    cors: connections.cors ?? ["*"],
    handshakeFailed: rejected,
    pings: { minInterval: connections.minPingInterval ?? 5000 },
    keepalive: { interval: connections.keepaliveInterval ?? 7_200_000, timeout: connections.keepaliveTimeout ?? 20_000 },
    http2: { maxConcurrentStreams: connections.maxConcurrentStreams ?? 0xffffffff },
    timed: options.timeCalls,
    maxReceiveSize: maxRequest + GRPC_OVERHEAD,
    gateway: options.gateway === false ? undefined : gateway(context.gate),
    // Loaded for the first who asks: an apiserver never does.
    fetch: async (request) => (await import("./http.ts")).answerHttp({ member, methods: server.methods }, request),
  });
  const listeners = await listenAt(server, "client", addresses);
  if (clientUrls.length === 0) for (const l of listeners) clientUrls.push(urlOf(l.address, options.tls !== undefined));
  return { listeners, methods: server.methods };
}

export const urlOf = (a: Address, tls: boolean) =>
  "unix" in a ? `unix://${a.unix}` : `${tls ? "https" : "http"}://${a.host.includes(":") ? `[${a.host}]` : a.host}:${a.port}`;
