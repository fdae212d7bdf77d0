// Asking a server for an upgrade, over HTTP/1.1 with or without TLS.
import type { Duplex } from "node:stream";
import type { TlsClientOptions } from "../types.ts";
import { NodeChannel } from "./node.ts";

export interface DialTarget {
  /** http: or https:, with the query of the request. */
  url: string | URL;
  tls?: TlsClientOptions;
  headers?: Record<string, string>;
  method?: "GET" | "POST";
  signal?: AbortSignal;
  /** Milliseconds until the answer has to be there. Default 30 000. */
  timeout?: number;
}

export interface Head {
  status: number;
  /** In lower case; several of one name joined by ", ". */
  headers: Record<string, string>;
  /** As it came, with the empty line. */
  raw: Uint8Array;
}

/** A server that answered, but not with an upgrade. */
export class UpgradeRefused extends Error {
  readonly status: number;
  readonly contentType: string;
  readonly body: Uint8Array;
  constructor(head: Head, body: Uint8Array) {
    super(`unable to upgrade connection: ${new TextDecoder().decode(body.subarray(0, 1000)).trim() || `HTTP ${head.status}`}`);
    this.name = "UpgradeRefused";
    this.status = head.status;
    this.contentType = head.headers["content-type"] ?? "text/plain";
    this.body = body;
  }
}

const MAX_HEAD = 64 * 1024;
const MAX_BODY = 1024 * 1024;

/** Sends a request with these headers and returns the connection of the 101. Throws UpgradeRefused, or what the socket says. */
export async function dialUpgrade(
  target: DialTarget,
  headers: readonly (readonly [string, string])[],
): Promise<{ head: Head; channel: NodeChannel }> {
  const url = new URL(target.url);
  const socket = await open(url, target);
  const abort = () => socket.destroy(target.signal?.reason instanceof Error ? target.signal.reason : new Error("aborted"));
  target.signal?.addEventListener("abort", abort, { once: true });
  const late = setTimeout(() => socket.destroy(new Error(`no answer from ${url.host}`)), target.timeout ?? 30_000);
  try {
    const lines = [`${target.method ?? "POST"} ${url.pathname}${url.search} HTTP/1.1`, `Host: ${url.host}`, "Connection: Upgrade"];
    for (const [name, value] of [...headers, ...Object.entries(target.headers ?? {})]) {
      if (/[\r\n]/.test(name + value)) throw new TypeError(`a line break in the header ${JSON.stringify(name)}`);
      lines.push(`${name}: ${value}`);
    }
    if (target.method !== "GET") lines.push("Content-Length: 0");
    socket.write(`${lines.join("\r\n")}\r\n\r\n`);
    const { head, rest } = await readHead(socket);
    if (head.status === 101) return { head, channel: new NodeChannel(socket, rest) };
    const body = await readBody(socket, head, rest);
    socket.destroy();
    throw new UpgradeRefused(head, body);
  } catch (error) {
    socket.destroy();
    throw error;
  } finally {
    clearTimeout(late);
    target.signal?.removeEventListener("abort", abort);
  }
}

async function open(url: URL, { tls: options = {}, signal, timeout = 30_000 }: DialTarget): Promise<Duplex> {
  signal?.throwIfAborted();
  const secure = url.protocol === "https:";
  const port = Number(url.port) || (secure ? 443 : 80);
  const host = url.hostname.replace(/^\[|\]$/g, "");
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  let socket: import("node:net").Socket;
  if (secure) {
    const { connect } = await import("node:tls");
    const { ca, cert, key, serverName, insecureSkipVerify } = options;
    const servername = serverName ?? (/^[\d.]+$|:/.test(host) ? undefined : host);
    socket = connect(
      { host, port, ca, cert, key, servername, rejectUnauthorized: !insecureSkipVerify, ALPNProtocols: ["http/1.1"] },
      resolve,
    );
  } else {
    const { connect } = await import("node:net");
    socket = connect({ host, port }, resolve);
  }
  const abort = () => socket.destroy(signal?.reason instanceof Error ? signal.reason : new Error("aborted"));
  signal?.addEventListener("abort", abort, { once: true });
  const late = setTimeout(() => socket.destroy(new Error(`no connection to ${url.host}`)), timeout);
  socket.once("error", reject);
  socket.once("close", () => reject(new Error(`${url.host} closed the connection`)));
  try {
    await promise;
    socket.setNoDelay(true);
    // Between the listeners of the stages that follow, an error is only the end.
    socket.on("error", () => socket.destroy());
    return socket;
  } finally {
    clearTimeout(late);
    signal?.removeEventListener("abort", abort);
    socket.off("error", reject);
  }
}

/** Reads until `enough` says so, and gives all that was read. */
function read(socket: Duplex, before: Uint8Array, enough: (bytes: Buffer) => boolean): Promise<Buffer> {
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
  let bytes = Buffer.from(before);
  if (enough(bytes)) return Promise.resolve(bytes);
  const data = (chunk: Uint8Array) => {
    bytes = Buffer.concat([bytes, chunk]);
    try {
      if (enough(bytes)) resolve(bytes);
    } catch (error) {
      reject(error);
    }
  };
  const ended = () => reject(Object.assign(new Error("the server closed the connection"), { bytes }));
  socket.on("data", data).on("error", reject).on("end", ended).on("close", ended);
  return promise.finally(() => {
    socket.pause();
    socket.off("data", data).off("error", reject).off("end", ended).off("close", ended);
  });
}

async function readHead(socket: Duplex): Promise<{ head: Head; rest: Uint8Array }> {
  const bytes = await read(socket, new Uint8Array(0), (all) => {
    if (all.length > MAX_HEAD) throw new Error("the head of the answer is too long");
    return all.includes("\r\n\r\n");
  });
  const end = bytes.indexOf("\r\n\r\n") + 4;
  const [first = "", ...lines] = bytes.toString("latin1", 0, end - 4).split("\r\n");
  const status = /^HTTP\/1\.[01] (\d{3})/.exec(first)?.[1];
  if (!status) throw new Error(`no answer of HTTP/1.1: ${JSON.stringify(first.slice(0, 100))}`);
  const headers: Record<string, string> = {};
  for (const line of lines) {
    const colon = line.indexOf(":");
    const name = line.slice(0, colon).trim().toLowerCase();
    const value = line.slice(colon + 1).trim();
    headers[name] = headers[name] === undefined ? value : `${headers[name]}, ${value}`;
  }
  return { head: { status: Number(status), headers, raw: bytes.subarray(0, end) }, rest: bytes.subarray(end) };
}

/** The body of a refusal, as far as it came. */
async function readBody(socket: Duplex, head: Head, rest: Uint8Array): Promise<Uint8Array> {
  const chunked = head.headers["transfer-encoding"]?.includes("chunked");
  const length = Math.min(MAX_BODY, Number(head.headers["content-length"] ?? MAX_BODY));
  let body: Buffer;
  try {
    body = await read(socket, rest, (all) =>
      chunked ? all.includes("\r\n0\r\n\r\n") || all.indexOf("0\r\n\r\n") === 0 : all.length >= length,
    );
  } catch (error) {
    // Without a length the end of the connection is the end of the body.
    body = (error as { bytes?: Buffer }).bytes ?? Buffer.alloc(0);
  }
  return chunked ? dechunk(body) : body.subarray(0, length);
}

function dechunk(bytes: Buffer): Uint8Array {
  const parts: Buffer[] = [];
  for (let at = 0; at < bytes.length; ) {
    const line = bytes.indexOf("\r\n", at);
    const size = line < 0 ? Number.NaN : Number.parseInt(bytes.toString("latin1", at, line), 16);
    if (!(size > 0)) break;
    parts.push(bytes.subarray(line + 2, line + 2 + size));
    at = line + 2 + size + 2;
  }
  return Buffer.concat(parts);
}
