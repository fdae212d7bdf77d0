// A server for the services of proto/: native gRPC over HTTP/2.

import { DEFAULT_MAX_MESSAGE } from "./grpc/protocol.ts";
import { serveGrpc } from "./grpc/server-call.ts";
import type { ConnectionOptions } from "./http2/connection.ts";
import { listen } from "./http2/server.ts";
import type { Keepalive } from "./http2/session.ts";
import type { Stream, StreamListener } from "./http2/stream.ts";
import { bindMethods, type Service } from "./service.ts";
import type { Address, TlsServerOptions } from "./types.ts";

export { service } from "./service.ts";

export interface RpcServerOptions {
  services: readonly Service[];
  tls?: TlsServerOptions;
  /** Most bytes of a request. Default 4 MiB. */
  maxReceiveSize?: number;
  /** Compress answers of at least this many bytes with gzip, where the client takes it. Default: never. */
  compressFrom?: number;
  /** Ask silent clients whether they are there. Default: never. */
  keepalive?: Keepalive;
  http2?: ConnectionOptions;
}

export interface RpcListener {
  /** With the port that was picked, where 0 was asked for. */
  readonly address: Address;
  /** Takes no more calls; those that run may end within `grace` milliseconds (default 0). */
  close(grace?: number): Promise<void>;
}

export interface RpcServer {
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
  const methods = bindMethods(options.services);
  const grpc = {
    maxReceiveSize: options.maxReceiveSize ?? DEFAULT_MAX_MESSAGE,
    compressFrom: options.compressFrom ?? Number.POSITIVE_INFINITY,
  };
  return {
    listen: (address) =>
      listen(address, {
        ...options.http2,
        tls: options.tls,
        keepalive: options.keepalive,
        request(stream, fields, end, peer) {
          const head = requestHead(fields);
          if (head.method !== "POST") return refuse(stream, "405");
          if (!/^application\/grpc($|[+;])/.test(head.contentType)) return refuse(stream, "415");
          return serveGrpc(stream, fields, end, methods.get(head.path), head.path, peer, grpc);
        },
      }),
  };
}

function requestHead(fields: readonly string[]): { method: string; path: string; contentType: string } {
  const head = { method: "", path: "", contentType: "" };
  for (let i = 0; i < fields.length; i += 2) {
    const name = fields[i];
    if (name === ":path") head.path = fields[i + 1]!;
    else if (name === ":method") head.method = fields[i + 1]!;
    else if (name === "content-type") head.contentType = fields[i + 1]!;
  }
  return head;
}

function refuse(stream: Stream, status: string): StreamListener {
  stream.sendHeaders([":status", status], true);
  return { headers() {}, data() {}, failed() {} };
}
