// TLS sockets with HTTP/1.1 and HTTP/2 on one port, and client certificates:
// node:http2's server, handed to a fetch function that answers with Replies.
import { createSecureServer, type Http2SecureServer, type Http2ServerRequest, type Http2ServerResponse } from "node:http2";
import type { AddressInfo, Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import { constants, gzip } from "node:zlib";
import { logger } from "../../platform/log.ts";
import type { CertificateSubject } from "../auth/authenticator.ts";
import { type Payload, Reply, type Sink } from "./reply.ts";

const log = logger("kube-apiserver");
/** Upstream compresses from here on (128 KiB). */
const gzipFrom = 128 * 1024;

/** What a handler gets of a request; enough of the Fetch API's Request for Hono's router. */
export class Incoming {
  readonly method: string;
  /** "https://host" and the request's target. */
  readonly url: string;
  /** Path and query as they came. */
  readonly target: string;
  /** The verified client certificate's subject. */
  readonly subject: CertificateSubject | undefined;
  readonly node: Http2ServerRequest;
  #signal: AbortController | undefined;

  constructor(node: Http2ServerRequest, subject: CertificateSubject | undefined) {
    this.node = node;
    this.method = node.method;
    this.target = node.url;
    this.url = `https://apiserver${node.url}`;
    this.subject = subject;
  }

  /** A GET that came over no socket. */
  static local(target: string): Incoming {
    const node = { method: "GET", url: target, headers: {}, rawHeaders: [], once: () => node, on: () => node };
    return new Incoming(node as unknown as Http2ServerRequest, undefined);
  }

  /** A header by its lower-case name; the first of several. */
  header(name: string): string | undefined {
    const value = this.node.headers[name];
    return Array.isArray(value) ? value[0] : value;
  }

  /** All values of a header that may stand several times. */
  headerValues(name: string): string[] {
    const { headers, rawHeaders } = this.node;
    if (headers[name] === undefined) return [];
    if (rawHeaders === undefined) return [headers[name]].flat() as string[];
    const out: string[] = [];
    for (let i = 0; i < rawHeaders.length; i += 2) if (rawHeaders[i]!.toLowerCase() === name) out.push(rawHeaders[i + 1]!);
    return out;
  }

  get headers(): Headers {
    const headers = new Headers();
    for (const [k, v] of Object.entries(this.node.headers)) if (!k.startsWith(":") && v !== undefined) headers.set(k, String(v));
    return headers;
  }

  /** Aborts when the client goes away before the answer is complete. */
  get signal(): AbortSignal {
    if (!this.#signal) {
      const controller = new AbortController();
      this.#signal = controller;
      this.node.once("close", () => controller.abort());
      this.node.once("aborted", () => controller.abort());
    }
    return this.#signal.signal;
  }

  /** The body. Returns undefined where it is longer than `limit` bytes. */
  body(limit: number): Promise<Uint8Array | undefined> {
    return new Promise((resolve, reject) => {
      const chunks: Uint8Array[] = [];
      let length = 0;
      this.node.on("data", (chunk: Uint8Array) => {
        length += chunk.length;
        if (length <= limit) chunks.push(chunk);
      });
      this.node.on("end", () => resolve(length > limit ? undefined : chunks.length === 1 ? chunks[0] : Buffer.concat(chunks)));
      this.node.on("aborted", () => reject(new Error("the client closed the request")));
      this.node.on("error", reject);
    });
  }
}

export type Handler = (request: Incoming) => Promise<Response> | Response;
export type UpgradeHandler = (request: Incoming, socket: Socket, head: Uint8Array) => void;

const subjects = new WeakMap<object, CertificateSubject | null>();

/** The subject of a connection's certificate, worked out once. */
function subjectOf(socket: TLSSocket): CertificateSubject | undefined {
  let subject = subjects.get(socket);
  if (subject === undefined) {
    subject = socket.authorized ? ((socket.getPeerCertificate()?.subject as CertificateSubject | undefined) ?? null) : null;
    subjects.set(socket, subject);
  }
  return subject ?? undefined;
}

export interface ListenerOptions {
  host: string;
  /** 0 takes a free one. */
  port: number;
  tls: { cert: string; key: string; clientCa?: string };
  handler: Handler;
  upgrade: UpgradeHandler;
}

export class Listener {
  readonly #server: Http2SecureServer;
  readonly #sockets = new Set<{ destroy(): void }>();
  readonly #options: ListenerOptions;
  #active = 0;
  #idle: (() => void) | undefined;

  constructor(options: ListenerOptions) {
    this.#options = options;
    const { cert, key, clientCa } = options.tls;
    this.#server = createSecureServer({
      allowHTTP1: true,
      cert,
      key,
      ...(clientCa ? { ca: clientCa, requestCert: true, rejectUnauthorized: false } : {}),
      settings: { maxConcurrentStreams: 1000, initialWindowSize: 1 << 20 },
    });
    this.#server.on("request", (request, response) => void this.#answer(request, response));
    this.#server.on("upgrade", (request: Http2ServerRequest, socket: TLSSocket, head: Uint8Array) => {
      options.upgrade(new Incoming(request, subjectOf(socket)), socket, head);
    });
    this.#server.on("secureConnection", (socket: TLSSocket) => {
      this.#sockets.add(socket);
      socket.setNoDelay?.(true);
      socket.once("close", () => this.#sockets.delete(socket));
      socket.on("error", () => this.#sockets.delete(socket));
    });
    this.#server.on("sessionError", (error: Error) => log.info("An HTTP/2 connection failed", { err: error.message }, 2));
    this.#server.on("tlsClientError", (error: Error) => log.info("http: TLS handshake error", { err: error.message }, 1));
    // A watch may be silent for as long as nothing happens.
    this.#server.setTimeout(0);
  }

  /** Resolves with the port. */
  listen(): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen(this.#options.port, this.#options.host, () => {
        this.#server.off("error", reject);
        this.#server.on("error", (error) => log.error("The listener failed", error));
        resolve((this.#server.address() as AddressInfo).port);
      });
    });
  }

  /** Stops accepting, gives answers under way `grace` milliseconds, then ends every connection. */
  async close(grace = 0): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    if (this.#active > 0 && grace > 0) await Promise.race([new Promise<void>((quiet) => (this.#idle = quiet)), Bun.sleep(grace)]);
    for (const socket of this.#sockets) socket.destroy();
    // A connection in the middle of its handshake is in no list.
    await Promise.race([closed, Bun.sleep(1000)]);
  }

  async #answer(request: Http2ServerRequest, response: Http2ServerResponse): Promise<void> {
    // Errors of a connection that broke show up here too; its end is what counts.
    request.on("error", () => {});
    response.on("error", () => {});
    this.#active++;
    response.on("close", () => {
      if (--this.#active === 0) this.#idle?.();
    });
    const socket = (request.httpVersionMajor === 2 ? request.stream?.session?.socket : request.socket) as TLSSocket;
    try {
      const reply = await this.#options.handler(new Incoming(request, socket && subjectOf(socket)));
      if (reply instanceof Reply) await send(request, response, reply);
      else await sendResponse(response, reply);
    } catch (error) {
      log.error("A request failed", error, { path: request.url });
      if (!response.headersSent) response.writeHead(500);
      response.end();
    }
  }
}

async function send(request: Http2ServerRequest, response: Http2ServerResponse, reply: Reply): Promise<void> {
  const { payload, fields } = reply;
  if (typeof payload === "function") {
    response.writeHead(reply.code, fields);
    await stream(response, payload);
    return;
  }
  const length = sizeOf(payload);
  if (length >= gzipFrom && String(request.headers["accept-encoding"] ?? "").includes("gzip")) {
    const whole =
      typeof payload === "string" ? Buffer.from(payload) : payload instanceof Uint8Array ? payload : Buffer.concat(payload as Uint8Array[]);
    const packed = await new Promise<Uint8Array>((resolve, reject) =>
      gzip(whole, { level: constants.Z_BEST_SPEED }, (error, bytes) => (error ? reject(error) : resolve(bytes))),
    );
    response.writeHead(reply.code, {
      ...fields,
      "content-encoding": "gzip",
      vary: "accept-encoding",
      "content-length": String(packed.length),
    });
    response.end(packed);
    return;
  }
  response.writeHead(reply.code, { ...fields, "content-length": String(length) });
  if (request.method === "HEAD" || payload === undefined) response.end();
  else if (typeof payload === "string" || payload instanceof Uint8Array) response.end(payload);
  else response.end(payload.length === 1 ? payload[0]! : Buffer.concat(payload as Uint8Array[]));
}

function sizeOf(payload: Exclude<Payload, (...args: never[]) => unknown>): number {
  if (payload === undefined) return 0;
  if (typeof payload === "string") return Buffer.byteLength(payload);
  if (payload instanceof Uint8Array) return payload.length;
  let total = 0;
  for (const part of payload) total += part.length;
  return total;
}

async function stream(response: Http2ServerResponse, write: (sink: Sink) => Promise<void>): Promise<void> {
  const controller = new AbortController();
  let resume: (() => void) | undefined;
  const wake = () => {
    resume?.();
    resume = undefined;
  };
  response.on("close", () => {
    controller.abort();
    wake();
  });
  response.on("drain", wake);
  await write({
    signal: controller.signal,
    flush: () => (response as { flushHeaders?: () => void }).flushHeaders?.(),
    write(chunk) {
      if (controller.signal.aborted || response.write(chunk as Uint8Array)) return;
      return new Promise((resolve) => {
        resume = resolve;
      });
    },
  });
  if (!controller.signal.aborted) response.end();
}

/** An answer of Hono's own making, or one fetched from elsewhere. */
async function sendResponse(response: Http2ServerResponse, reply: Response): Promise<void> {
  const fields: Record<string, string> = {};
  for (const [k, v] of reply.headers) if (!hopByHop.has(k)) fields[k] = v;
  response.writeHead(reply.status, fields);
  const { body } = reply;
  if (!body) {
    response.end();
    return;
  }
  await stream(response, async (sink) => {
    const reader = body.getReader();
    sink.signal.addEventListener("abort", () => void reader.cancel().catch(() => {}));
    for (let part = await reader.read(); !part.done && !sink.signal.aborted; part = await reader.read()) await sink.write(part.value);
  });
}

/** Of one connection, not of the answer (RFC 9110, 7.6.1); lengths and codings are the fetch's own. */
const hopByHop = new Set([
  "connection",
  "keep-alive",
  "transfer-encoding",
  "upgrade",
  "proxy-connection",
  "te",
  "trailer",
  "content-length",
  "content-encoding",
]);
