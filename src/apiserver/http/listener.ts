// One TLS port for HTTP/1.1 and HTTP/2, with client certificates: node:http2
// on the outside, Request and Response on the inside.

import type { IncomingMessage } from "node:http";
import { createSecureServer, type Http2ServerRequest, type Http2ServerResponse } from "node:http2";
import type { AddressInfo } from "node:net";
import type { Duplex } from "node:stream";
import type { TLSSocket } from "node:tls";
import type { Upgrade } from "../../rpc/remotecommand/mod.ts";
import type { CertificateSubject } from "../auth/authenticator.ts";

/** What the connection tells of the client. */
export interface ClientInfo {
  /** Of a certificate that the client CA vouches for. */
  subject?: CertificateSubject;
  /** "10.0.0.1:5000" */
  peer: string;
}

export interface ListenOptions {
  host: string;
  /** 0 picks one. */
  port: number;
  tls: { cert: string; key: string; clientCa?: string };
  fetch(request: Request, info: ClientInfo): Promise<Response> | Response;
  upgrade(upgrade: Upgrade, info: ClientInfo): void;
}

export interface Listener {
  readonly port: number;
  /** Stops accepting, gives answers under way `grace` milliseconds, then ends every connection. */
  close(grace?: number): Promise<void>;
}

/** Bytes of a Response that need no stream to be read from. */
const bodies = new WeakMap<Response, Uint8Array>();

/** A Response whose bytes are handed to the socket as they are. */
export function bytesResponse(body: Uint8Array, init: ResponseInit): Response {
  const response = new Response(null, init);
  bodies.set(response, body);
  return response;
}

const clients = new WeakMap<object, ClientInfo>();

/** A connection's client is found out once, not once a request. */
function clientOf(socket: TLSSocket): ClientInfo {
  let info = clients.get(socket);
  if (!info) {
    const subject = socket.authorized ? (socket.getPeerCertificate()?.subject as CertificateSubject | undefined) : undefined;
    info = { peer: `${socket.remoteAddress}:${socket.remotePort}`, ...(subject?.CN ? { subject } : {}) };
    clients.set(socket, info);
  }
  return info;
}

function toRequest(req: IncomingMessage | Http2ServerRequest, signal: AbortSignal): Request {
  const headers = new Headers();
  for (const [name, value] of Object.entries(req.headers)) {
    if (name.startsWith(":") || value === undefined) continue;
    if (Array.isArray(value)) for (const v of value) headers.append(name, v);
    else headers.set(name, value as string);
  }
  const method = req.method ?? "GET";
  const host = req.headers.host ?? (req.headers[":authority"] as string | undefined) ?? "localhost";
  const hasBody = method !== "GET" && method !== "HEAD";
  return new Request(`https://${host}${req.url ?? "/"}`, {
    method,
    headers,
    signal,
    ...(hasBody ? { body: bodyOf(req), duplex: "half" } : {}),
  } as RequestInit);
}

/** The request's body as a stream that is read as fast as its reader reads. */
function bodyOf(req: IncomingMessage | Http2ServerRequest): ReadableStream<Uint8Array> {
  const iterator = (req as AsyncIterable<Uint8Array>)[Symbol.asyncIterator]();
  return new ReadableStream({
    async pull(controller) {
      const { done, value } = await iterator.next();
      if (done) controller.close();
      else controller.enqueue(value);
    },
    cancel: () => void iterator.return?.(),
  });
}

/** Connection-bound headers that HTTP/2 forbids (RFC 9113, section 8.2.2). */
const HOP = new Set(["connection", "keep-alive", "transfer-encoding", "upgrade"]);

async function writeResponse(
  response: Response,
  res: Http2ServerResponse,
  http2: boolean,
  head: boolean,
  signal: AbortSignal,
): Promise<void> {
  const headers: Record<string, string | string[]> = {};
  response.headers.forEach((value, name) => {
    if (!http2 || !HOP.has(name)) headers[name] = value;
  });
  const warnings = response.headers.get("x-kubun-warnings");
  if (warnings) {
    // Each warning is a header of its own, which Headers would join into one.
    delete headers["x-kubun-warnings"];
    headers.warning = JSON.parse(warnings) as string[];
  }
  const bytes = bodies.get(response);
  if (bytes) headers["content-length"] = String(bytes.byteLength);
  res.writeHead(response.status, headers);
  if (head || bytes || !response.body) {
    if (head || !bytes) res.end();
    else res.end(bytes);
    return;
  }
  const reader = response.body.getReader();
  const stop = () => void reader.cancel().catch(() => {});
  signal.addEventListener("abort", stop, { once: true });
  // Long answers begin before their first byte is there: a watch may be quiet for minutes.
  (res as { flushHeaders?: () => void }).flushHeaders?.();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done || signal.aborted) break;
      if (!res.write(value)) await drained(res, signal);
    }
  } finally {
    signal.removeEventListener("abort", stop);
  }
  res.end();
}

function drained(res: Http2ServerResponse, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      res.off("drain", done);
      signal.removeEventListener("abort", done);
      resolve();
    };
    res.on("drain", done);
    signal.addEventListener("abort", done, { once: true });
  });
}

/** Listens, and resolves with the port. Rejects with EADDRINUSE and the like. */
export function listen(options: ListenOptions): Promise<Listener> {
  const { cert, key, clientCa } = options.tls;
  const server = createSecureServer({
    cert,
    key,
    allowHTTP1: true,
    // Tokens are as good as certificates: a client without one, or with one of another authority, is not turned away here.
    ...(clientCa ? { ca: clientCa, requestCert: true, rejectUnauthorized: false } : {}),
  });
  const sockets = new Set<Duplex>();
  let active = 0;
  let idle: (() => void) | undefined;

  server.on("secureConnection", (socket: TLSSocket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    socket.on("error", () => socket.destroy());
  });
  server.on("request", (req: Http2ServerRequest, res: Http2ServerResponse) => {
    const http2 = req.httpVersionMajor === 2;
    const socket = (http2 ? req.stream.session?.socket : req.socket) as TLSSocket | undefined;
    if (!socket) return;
    const abort = new AbortController();
    active++;
    res.on("close", () => {
      abort.abort();
      if (--active === 0) idle?.();
    });
    res.on("error", () => abort.abort());
    void (async () => {
      try {
        const response = await options.fetch(toRequest(req, abort.signal), clientOf(socket));
        await writeResponse(response, res, http2, req.method === "HEAD", abort.signal);
      } catch {
        // The handler answers its own errors; what comes here is a connection that broke.
        if (http2) req.stream.close(2);
        else socket.destroy();
      }
    })();
  });
  server.on("upgrade", (request: IncomingMessage, socket: Duplex, head: Uint8Array) => {
    options.upgrade({ request, socket, head }, clientOf(request.socket as TLSSocket));
  });
  server.setTimeout(0);

  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(options.port, options.host, () => {
      server.off("error", reject);
      server.on("error", () => {});
      resolve({
        port: (server.address() as AddressInfo).port,
        async close(grace = 0) {
          const closed = new Promise<void>((done) => server.close(() => done()));
          if (active > 0 && grace > 0) {
            const { promise, resolve: quiet } = Promise.withResolvers<void>();
            idle = quiet;
            const timer = setTimeout(quiet, grace);
            await promise;
            clearTimeout(timer);
          }
          for (const s of sockets) s.destroy();
          await Promise.race([closed, new Promise((done) => setTimeout(done, 1000))]);
        },
      });
    });
  });
}
