// One server connection of HTTP/1.1 (RFC 9112), free of I/O, for the clients of
// gRPC-Web and Connect and for health checks: a request at a time, bodies of
// known length or in chunks, no upgrades.
import type { Exchange } from "../exchange.ts";
import { ErrorCode, Http2Error } from "../http2/errors.ts";
import { Output } from "../http2/output.ts";
import type { StreamListener } from "../http2/stream.ts";

export interface Http1Events {
  /** `output` has something to send, or the connection has ended. */
  wake(): void;
  /** A request has come; its fields begin with :method, :scheme, :path and :authority. */
  request(exchange: Exchange, fields: string[], end: boolean): StreamListener | undefined;
}

const MAX_HEAD = 64 * 1024;
/** What may come before the answer to a request is whole. */
const MAX_PIPELINED = 256 * 1024;
const HIGH_WATER = 256 * 1024;
const REASONS: Record<string, string> = {
  200: "OK",
  204: "No Content",
  400: "Bad Request",
  404: "Not Found",
  405: "Method Not Allowed",
  413: "Content Too Large",
  415: "Unsupported Media Type",
  431: "Request Header Fields Too Large",
};

class Refusal extends Error {
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

type Body = { left: number } | { chunk: "size" | "data" | "end" | "trailers"; left: number };

export class Http1Connection {
  readonly output = new Output();
  ended = false;
  /** Takes no further request. */
  draining = false;
  greeted = false;
  progress = 0;
  readonly #events: Http1Events;
  readonly #scheme: string;
  #input: Buffer = Buffer.alloc(0);
  #turn: Turn | undefined;
  #body: Body | undefined;

  constructor(events: Http1Events, scheme: string) {
    this.#events = events;
    this.#scheme = scheme;
  }

  receive(chunk: Uint8Array): void {
    if (this.ended) return;
    this.#input =
      this.#input.length > 0 ? Buffer.concat([this.#input, chunk]) : Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    try {
      this.#parse();
    } catch (error) {
      const { status, message } = error instanceof Refusal ? error : new Refusal(500, "internal error");
      this.#turn?.fail(new Http2Error(ErrorCode.PROTOCOL_ERROR, message));
      this.#write(`HTTP/1.1 ${status} ${REASONS[status] ?? "Error"}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n`);
      this.finish();
    }
  }

  /** Ends after the request that runs. */
  drain(): void {
    this.draining = true;
    if (!this.#turn) this.finish();
  }

  close(error: Http2Error): void {
    this.ended = true;
    this.#turn?.fail(error);
    this.#turn = undefined;
  }

  get streams(): number {
    return this.#turn ? 1 : 0;
  }

  get backlog(): number {
    return this.output.length;
  }

  taken(bytes: number): void {
    this.progress += bytes;
    this.output.taken(bytes);
    if (this.output.length === 0) this.#turn?.drained();
  }

  /** @internal */
  finish(): void {
    this.ended = true;
    this.#events.wake();
  }

  /** @internal */
  write(data: Uint8Array): boolean {
    this.output.append(data);
    this.#events.wake();
    return this.output.length < HIGH_WATER;
  }

  /** @internal The answer is whole. */
  done(turn: Turn, keep: boolean): void {
    if (this.#turn !== turn) return;
    this.#turn = undefined;
    // What is left of a request that was answered early can't be told from the next one.
    if (!keep || this.draining || this.#body) return this.finish();
    queueMicrotask(() => this.receive(new Uint8Array(0)));
  }

  #write(text: string): void {
    this.write(Buffer.from(text, "latin1"));
  }

  #parse(): void {
    while (this.#body && this.#readBody(this.#body)) {}
    if (this.#turn && this.#input.length > MAX_PIPELINED) throw new Refusal(413, "too many requests ahead of their answers");
    if (this.#body || this.#turn || this.ended) return;
    const end = this.#input.indexOf("\r\n\r\n");
    if (end < 0) {
      if (this.#input.length > MAX_HEAD) throw new Refusal(431, "the head is too long");
      return;
    }
    const lines = this.#input
      .toString("latin1", 0, end)
      .replace(/^(\r\n)+/, "")
      .split("\r\n");
    this.#input = this.#input.subarray(end + 4);
    this.#head(lines);
    this.#parse();
  }

  #head([first = "", ...lines]: string[]): void {
    const [, method, path, minor] = /^([A-Z]+) (\S+) HTTP\/1\.([01])$/.exec(first) ?? [];
    if (!method || !path) throw new Refusal(400, "no request of HTTP/1.1");
    const headers: string[] = [];
    let [chunked, keep, expects] = [false, minor === "1", false];
    let length: number | undefined;
    let host: string | undefined;
    for (const line of lines) {
      const [, rawName, value = ""] = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*?)[ \t]*$/.exec(line) ?? [];
      if (!rawName) throw new Refusal(400, "malformed field");
      const name = rawName.toLowerCase();
      if (name === "host") {
        if (host !== undefined) throw new Refusal(400, "two Host fields");
        host = value;
      } else if (name === "connection") keep = keep ? !/close/i.test(value) : /keep-alive/i.test(value);
      else if (name === "transfer-encoding") {
        if (value.toLowerCase() !== "chunked") throw new Refusal(501, "unknown transfer coding");
        chunked = true;
      } else if (name === "content-length") {
        if (!/^\d{1,15}$/.test(value) || length !== undefined) throw new Refusal(400, "malformed content-length");
        length = Number(value);
      } else if (name === "expect") expects = /100-continue/i.test(value);
      else if (name !== "keep-alive" && name !== "upgrade" && name !== "te") headers.push(name, value);
    }
    // Both is how requests are smuggled (RFC 9112, section 6.1).
    if (chunked && length !== undefined) throw new Refusal(400, "content-length and transfer-encoding");
    if (minor === "1" && host === undefined) throw new Refusal(400, "no Host field");
    if (chunked) this.#body = { chunk: "size", left: 0 };
    else if (length) this.#body = { left: length };
    if (expects && this.#body) this.#write("HTTP/1.1 100 Continue\r\n\r\n");
    this.greeted = true;
    const turn = new Turn(this, keep, method === "HEAD");
    this.#turn = turn;
    const fields = [":method", method, ":scheme", this.#scheme, ":path", path, ":authority", host ?? "", ...headers];
    turn.listener = this.#events.request(turn, fields, !this.#body);
  }

  /** Returns false when more bytes are needed. */
  #readBody(body: Body): boolean {
    if (!("chunk" in body) || body.chunk === "data") {
      const take = Math.min(body.left, this.#input.length);
      if (take === 0) return false;
      body.left -= take;
      const part = this.#take(take);
      const last = body.left === 0 && !("chunk" in body);
      if (last) this.#body = undefined;
      else if (body.left === 0) (body as { chunk: string }).chunk = "end";
      this.#turn?.listener?.data(part, last);
      return true;
    }
    const line = this.#input.indexOf("\r\n");
    if (line < 0) {
      if (this.#input.length > 4096) throw new Refusal(400, "malformed chunk");
      return false;
    }
    const text = this.#take(line + 2).toString("latin1", 0, line);
    if (body.chunk === "size") {
      const size = /^([0-9a-fA-F]{1,8})[ \t]*(;.*)?$/.exec(text)?.[1];
      if (size === undefined) throw new Refusal(400, "malformed chunk");
      body.left = Number.parseInt(size, 16);
      body.chunk = body.left > 0 ? "data" : "trailers";
    } else if (body.chunk === "end") {
      if (text !== "") throw new Refusal(400, "malformed chunk");
      body.chunk = "size";
    } else if (text === "") {
      this.#body = undefined;
      this.#turn?.listener?.data(new Uint8Array(0), true);
    }
    return true;
  }

  #take(count: number): Buffer {
    const part = this.#input.subarray(0, count);
    this.#input = this.#input.subarray(count);
    return part;
  }
}

/** One request and its answer. */
class Turn implements Exchange {
  listener: StreamListener | undefined;
  readonly #connection: Http1Connection;
  readonly #keep: boolean;
  readonly #noBody: boolean;
  #chunked = false;
  #ended = false;
  #full = false;

  constructor(connection: Http1Connection, keep: boolean, noBody: boolean) {
    this.#connection = connection;
    this.#keep = keep;
    this.#noBody = noBody;
  }

  sendHeaders(fields: readonly string[], end = false): void {
    if (this.#ended) return;
    const status = fields[1]!;
    let text = `HTTP/1.1 ${status} ${REASONS[status] ?? "Status"}\r\n`;
    let sized = false;
    for (let i = 2; i < fields.length; i += 2) {
      if (fields[i] === "content-length") sized = true;
      text += `${fields[i]}: ${fields[i + 1]}\r\n`;
    }
    this.#chunked = !sized && !end;
    if (this.#chunked) text += "transfer-encoding: chunked\r\n";
    else if (!sized && status !== "204") text += "content-length: 0\r\n";
    if (!this.#keep || this.#connection.draining) text += "connection: close\r\n";
    this.#connection.write(Buffer.from(`${text}\r\n`, "latin1"));
    if (end) this.#finish();
  }

  sendData(data: Uint8Array, end = false, prefix?: Uint8Array): boolean {
    if (this.#ended) return true;
    const length = data.length + (prefix?.length ?? 0);
    let room = true;
    if (length > 0 && !this.#noBody) {
      if (this.#chunked) this.#connection.write(Buffer.from(`${length.toString(16)}\r\n`, "latin1"));
      if (prefix) this.#connection.write(prefix);
      room = this.#connection.write(data);
      if (this.#chunked) this.#connection.write(CRLF);
    }
    if (end) {
      if (this.#chunked && !this.#noBody) this.#connection.write(LAST_CHUNK);
      this.#finish();
    }
    this.#full = !room;
    return room;
  }

  end(): void {
    this.sendData(new Uint8Array(0), true);
  }

  /** There are no windows: requests are limited by the size of a message. */
  consume(): void {}

  reset(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#connection.finish();
  }

  drained(): void {
    if (!this.#full) return;
    this.#full = false;
    this.listener?.drain?.();
  }

  fail(error: Http2Error): void {
    if (this.#ended) return;
    this.#ended = true;
    this.listener?.failed({ error, unprocessed: false, connection: true });
  }

  #finish(): void {
    this.#ended = true;
    this.#connection.done(this, this.#keep);
  }
}

const CRLF = Uint8Array.of(13, 10);
const LAST_CHUNK = new Uint8Array(Buffer.from("0\r\n\r\n", "latin1"));
