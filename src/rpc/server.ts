// A server for the services of proto/, on one port: native gRPC over HTTP/2,
// gRPC-Web, Connect and the JSON of a gateway over HTTP/2 and HTTP/1.1.

import type { Exchange } from "./exchange.ts";
import { type Fetch, serveFetch } from "./fetch.ts";
import { DEFAULT_MAX_MESSAGE } from "./grpc/protocol.ts";
import { serveGrpc } from "./grpc/server-call.ts";
import type { ConnectionOptions } from "./http2/options.ts";
import type { ConnectionLimits } from "./http2/patrol.ts";
import type { PingPolicy } from "./http2/pings.ts";
import { listen, type Peer } from "./http2/server.ts";
import type { Keepalive } from "./http2/session.ts";
import type { StreamListener } from "./http2/stream.ts";
import { remembering } from "./metadata.ts";
import { type BoundMethod, bindMethods, type Service } from "./service.ts";
import type { Address, TlsServerOptions } from "./types.ts";
import { connectGet } from "./web/connect.ts";
import { Cors } from "./web/cors.ts";
import type { Gateway } from "./web/gateway/routes.ts";
import { isWeb, serveWeb } from "./web/serve.ts";

export { writeOut } from "./http2/turn.ts";
export { PreparedMessage, raw, rawUnary, service } from "./service.ts";

export interface RpcServerOptions {
  services: readonly Service[];
  tls?: TlsServerOptions;
  /** Most bytes of a request. Default 4 MiB. */
  maxReceiveSize?: number;
  /** Compress answers of at least this many bytes with gzip, where the client takes it. Default: never. */
  compressFrom?: number;
  /** Origins whose pages may call over gRPC-Web and Connect, "*" for all. Default: none. */
  cors?: readonly string[];
  /** JSON at paths of its own, as grpc-gateway has it. Default: none. */
  gateway?: Gateway;
  /** Answers requests beside the services, such as of /health and /metrics. */
  fetch?: Fetch;
  /** Ask silent clients whether they are there. Default: never. */
  keepalive?: Keepalive;
  /** Idle, old and stalled connections. */
  limits?: ConnectionLimits;
  /** How often clients may ping; by default as grpc-go has it, once in five minutes. */
  pings?: PingPolicy;
  http2?: ConnectionOptions;
  /** Told of handshakes that failed: bad TLS, or a certificate that is not admitted. `address` is HOST:PORT. */
  handshakeFailed?(error: Error | undefined, address: string): void;
  /** Measure how long calls take (MethodStats.times). Default false. */
  timed?: boolean;
}

export interface RpcListener {
  /** With the port that was picked, where 0 was asked for. */
  readonly address: Address;
  /** Takes no more calls; those that run may end within `grace` milliseconds (default 0). */
  close(grace?: number): Promise<void>;
}

export interface RpcServer {
  /** Its methods and what was counted of them, by "/package.Service/Method". */
  readonly methods: ReadonlyMap<string, BoundMethod>;
  /** Throws what the system says of the address, such as EADDRINUSE. */
  listen(address: Address): Promise<RpcListener>;
}

/**
 * Serves services over gRPC.
 *
 * ```ts
 * const server = createRpcServer({ services: [service(KV, { range: (request) => ({ count: 0n }) })] });
 * const { address, close } = await server.listen({ host: "127.0.0.1", port: 0 });
 * ```
 */
export function createRpcServer(options: RpcServerOptions): RpcServer {
  const methods = bindMethods(options.services, options.timed);
  const grpc = {
    maxReceiveSize: options.maxReceiveSize ?? DEFAULT_MAX_MESSAGE,
    compressFrom: options.compressFrom ?? Number.POSITIVE_INFINITY,
  };
  const cors = options.cors && new Cors(options.cors);
  const names = new Set(options.services.map(({ desc }) => desc.typeName));
  const isService = (name: string) => names.has(name);
  /** All but native gRPC, over either version of HTTP. */
  const web = (plain: Exchange, fields: readonly string[], end: boolean, head: RequestHead, peer: Peer): StreamListener => {
    const exchange = cors?.wrap(plain, fields) ?? plain;
    if (head.method === "OPTIONS" && cors) {
      const preflight = cors.preflight(fields);
      if (preflight) return ends(plain, preflight);
    }
    if (options.gateway?.owns(head.path)) {
      return loadGateway().serveGateway(exchange, fields, end, head, options.gateway, methods, peer, grpc);
    }
    if (isWeb(head.contentType)) {
      if (head.method !== "POST") return refuse(exchange, "405");
      const bound = methods.get(head.path);
      if (!bound) return refuse(exchange, "404");
      return serveWeb(exchange, fields, end, bound, head.contentType, peer, grpc) ?? refuse(exchange, "415");
    }
    const query = head.method === "GET" ? head.path.indexOf("?") : -1;
    const bound = query > 0 ? methods.get(head.path.slice(0, query)) : undefined;
    if (bound?.method.methodKind === "unary") {
      if (bound.method.idempotency !== NO_SIDE_EFFECTS) return refuse(exchange, "405", ["allow", "POST"]);
      return connectGet(exchange, fields, new URLSearchParams(head.path.slice(query)), bound, peer, grpc) ?? refuse(exchange, "415");
    }
    if (head.method === "POST" && methods.has(head.path)) return refuse(exchange, "415");
    return options.fetch && FETCHED.has(head.method) ? serveFetch(exchange, fields, options.fetch) : refuse(exchange, "404");
  };
  return {
    methods,
    listen: (address) =>
      listen(address, {
        pings: options.pings ?? {},
        ...options.http2,
        limits: options.limits,
        tls: options.tls,
        keepalive: options.keepalive,
        handshakeFailed: options.handshakeFailed,
        request(stream, fields, end, peer) {
          const head = requestHead(fields);
          if (!GRPC.test(head.contentType)) return web(stream, fields, end, head, peer);
          if (head.method !== "POST") return refuse(stream, "405");
          return serveGrpc(stream, fields, end, methods.get(head.path), head.path, isService, peer, grpc);
        },
        request1(exchange, fields, end, peer) {
          exchange.proceed?.();
          return web(exchange, fields, end, requestHead(fields), peer);
        },
      }),
  };
}

/** Loaded at the first request that needs it. */
const loadGateway = () => require("./web/gateway/call.ts") as typeof import("./web/gateway/call.ts");

/** google.protobuf.MethodOptions.IdempotencyLevel. */
const NO_SIDE_EFFECTS = 1;
/** Methods of HTTP that what is no service answers, if with a refusal. */
const FETCHED = new Set(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]);
const GRPC = /^application\/grpc($|[+;])/;

interface RequestHead {
  method: string;
  path: string;
  contentType: string;
}

const requestHead = remembering((fields): RequestHead => {
  const head: RequestHead = { method: "", path: "", contentType: "" };
  for (let i = 0; i < fields.length; i += 2) {
    const name = fields[i];
    if (name === ":path") head.path = fields[i + 1]!;
    else if (name === ":method") head.method = fields[i + 1]!;
    else if (name === "content-type") head.contentType = fields[i + 1]!;
  }
  return head;
});

const refuse = (exchange: Exchange, status: string, more: readonly string[] = []) => ends(exchange, [":status", status, ...more]);

/** An answer without a body. */
function ends(exchange: Exchange, fields: readonly string[]): StreamListener {
  exchange.sendHeaders(fields, true);
  return { headers() {}, data() {}, failed() {} };
}
