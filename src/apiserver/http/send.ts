// Answers on their way to the client: whole ones with their length, compressed
// where that pays, and streams at the pace of who reads them.
import { constants, gzip } from "node:zlib";
import type { Exchange } from "../../rpc/exchange.ts";
import { ErrorCode } from "../../rpc/http2/errors.ts";
import type { Incoming } from "./incoming.ts";
import { type Payload, pass, Reply, type Sink } from "./reply.ts";

/** Upstream compresses from here on (128 KiB). */
const gzipFrom = 128 * 1024;
/** Of answers that are larger, it is waited until the client has taken them. */
const atOnce = 64 * 1024;

/** Calls back when the port begins to close; returns what undoes that. */
export type WhenEnding = Sink["whenEnding"];

/**
 * Sends a handler's answer; resolves when the client has taken it, or has
 * gone. Throws what a stream's writer throws.
 */
export function send(exchange: Exchange, request: Incoming, response: Response, whenEnding: WhenEnding): Promise<void> | void {
  if (!(response instanceof Reply)) return sendResponse(exchange, request, response, whenEnding);
  const { payload } = response;
  const head = [":status", String(response.code)];
  for (const name in response.fields) append(head, name, response.fields[name]!);
  if (typeof payload === "function") return stream(exchange, request, head, payload, whenEnding);
  if (request.rest.gone) return;
  const whole = bytesOf(payload);
  if (whole.length >= gzipFrom && takesGzip(request)) return packed(exchange, request, head, whole);
  return finish(exchange, request, head, whole);
}

/** As upstream has it, a weight makes it another word. */
const takesGzip = (request: Incoming) =>
  (request.header("accept-encoding") ?? "").split(",").some((coding) => coding.trim().toLowerCase() === "gzip");

async function packed(exchange: Exchange, request: Incoming, head: string[], whole: Uint8Array): Promise<void> {
  const bytes = await new Promise<Uint8Array>((resolve, reject) =>
    gzip(whole, { level: constants.Z_BEST_SPEED }, (error, out) => (error ? reject(error) : resolve(out))),
  );
  head.push("content-encoding", "gzip", "vary", "accept-encoding");
  await finish(exchange, request, head, bytes);
}

function finish(exchange: Exchange, request: Incoming, head: string[], body: Uint8Array): Promise<void> | void {
  head.push("content-length", String(body.length), "date", date());
  const empty = body.length === 0 || request.method === "HEAD";
  request.answered = true;
  exchange.sendHeaders(head, empty);
  if (empty) return;
  request.sent = body.length;
  if (body.length <= atOnce) exchange.sendData(body, true);
  else if (exchange.sendData(body)) exchange.end();
  else return request.rest.drained().then(() => exchange.end());
}

function bytesOf(payload: Exclude<Payload, (...args: never[]) => unknown>): Uint8Array {
  if (payload === undefined) return nothing;
  if (typeof payload === "string") return Buffer.from(payload);
  if (payload instanceof Uint8Array) return payload;
  return payload.length === 1 ? payload[0]! : Buffer.concat(payload as Uint8Array[]);
}

async function stream(
  exchange: Exchange,
  request: Incoming,
  head: string[],
  write: (sink: Sink) => Promise<void>,
  whenEnding: WhenEnding,
): Promise<void> {
  head.push("date", date());
  const headOnly = request.method === "HEAD";
  const begin = () => {
    if (request.answered) return;
    request.answered = true;
    exchange.sendHeaders(head, headOnly);
  };
  const { rest } = request;
  // Who writes has to be called in any case, to let go of what it reads from.
  await write({
    signal: headOnly ? AbortSignal.abort() : rest.signal,
    flush: begin,
    whenEnding,
    write(chunk) {
      if (rest.gone || headOnly) return;
      begin();
      const bytes = typeof chunk === "string" ? Buffer.from(chunk) : chunk;
      request.sent += bytes.length;
      return exchange.sendData(bytes) ? undefined : rest.drained();
    },
  });
  begin();
  exchange.end();
}

/** An answer of Hono's own making, or one fetched from elsewhere. */
async function sendResponse(exchange: Exchange, request: Incoming, response: Response, whenEnding: WhenEnding): Promise<void> {
  const head = [":status", String(response.status)];
  for (const [name, value] of response.headers) if (!hopByHop.has(name)) append(head, name, value);
  const { body } = response;
  if (body) return stream(exchange, request, head, (sink) => pass(body, sink), whenEnding);
  head.push("date", date());
  request.answered = true;
  exchange.sendHeaders(head, true);
}

/** Breaks an answer off that has begun, or gives 500 in its place. */
export function fail(exchange: Exchange, request: Incoming): void {
  if (request.answered) exchange.reset(ErrorCode.INTERNAL_ERROR);
  else exchange.sendHeaders([":status", "500", "content-length", "0", "date", date()], true);
}
const nothing = new Uint8Array(0);
const plain = /^[\x20-\x7e]*$/;
const control = /\p{Cc}/gu;

function append(head: string[], name: string, value: string | readonly string[]): void {
  if (typeof value !== "string") for (const one of value) append(head, name, one);
  // Fields are bytes; what is no ASCII goes as UTF-8, and nothing ends a line.
  else head.push(name, plain.test(value) ? value : Buffer.from(value.replace(control, " ")).toString("latin1"));
}

let second = 0;
let text = "";

/** The time, as the field "date" has it. */
function date(): string {
  const now = Math.floor(Date.now() / 1000);
  if (now !== second) {
    second = now;
    text = new Date(now * 1000).toUTCString();
  }
  return text;
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
  "date",
]);
