import type { Exchange } from "../exchange.ts";
import type { ErrorCode, Http2Error } from "../http2/errors.ts";
import type { StreamListener } from "../http2/stream.ts";
import type { Head } from "./head.ts";

/** What a turn asks of its connection. */
export interface TurnOwner {
  /** Returns false when something is left in the queue. */
  write(data: Uint8Array): boolean;
  /** Whether another request can be read behind this one, whose answer begins now. */
  readonly reusable: boolean;
  /** The answer is whole. */
  done(turn: Turn, keep: boolean): void;
  /** The answer breaks off, and what of it waits is dropped. */
  abandon(): void;
  consumed(turn: Turn, bytes: number): void;
}

/** One request and its answer. */
export class Turn implements Exchange {
  listener: StreamListener | undefined;
  readonly #owner: TurnOwner;
  readonly #minor: 0 | 1;
  readonly #head: boolean;
  #keep: boolean;
  /** The client waits for 100 (Continue). */
  #expects: boolean;
  #begun = false;
  /** How the end of the body shows; undefined for one without a body. */
  #framing: "length" | "chunks" | "close" | undefined;
  #ended = false;
  #full = false;

  constructor(owner: TurnOwner, { minor, method, keep, expects }: Head) {
    this.#owner = owner;
    this.#minor = minor;
    this.#head = method === "HEAD";
    this.#keep = keep;
    this.#expects = expects;
  }

  /** The head of the answer is on its way. */
  get begun(): boolean {
    return this.#begun;
  }

  /** The body of the answer is under way, and nothing says how long it gets. */
  get endless(): boolean {
    return this.#framing === "chunks" || this.#framing === "close";
  }

  get withheld(): boolean {
    return this.#expects;
  }

  proceed(): void {
    if (!this.#expects || this.#ended || this.#begun) return;
    this.#expects = false;
    this.#owner.write(CONTINUE);
  }

  sendHeaders(fields: readonly string[], end = false): void {
    if (this.#ended || this.#begun) return;
    this.#begun = true;
    const status = fields[1]!;
    let text = `HTTP/1.1 ${status} ${REASONS[status] ?? "Status"}\r\n`;
    let sized = false;
    for (let i = 2; i < fields.length; i += 2) {
      if (fields[i] === "content-length") sized = true;
      text += `${fields[i]}: ${fields[i + 1]}\r\n`;
    }
    const bodiless = this.#head || status === "204" || status === "304";
    if (sized) this.#framing = "length";
    else if (end) {
      if (!bodiless) text += "content-length: 0\r\n";
    } else if (this.#minor === 1) {
      this.#framing = "chunks";
      text += "transfer-encoding: chunked\r\n";
    } else {
      this.#framing = "close";
      this.#keep = false;
    }
    if (bodiless) this.#framing = undefined;
    // Who was not told to send the body may send it all the same, or another request.
    if (this.#expects || !this.#owner.reusable) this.#keep = false;
    if (!this.#keep) text += "connection: close\r\n";
    else if (this.#minor === 0) text += "connection: keep-alive\r\n";
    this.#owner.write(Buffer.from(`${text}\r\n`, "latin1"));
    if (end) this.#finish();
  }

  sendData(data: Uint8Array, end = false, prefix?: Uint8Array): boolean {
    if (this.#ended || !this.#begun) return true;
    const length = data.length + (prefix?.length ?? 0);
    let room = true;
    if (length > 0 && this.#framing) {
      const chunked = this.#framing === "chunks";
      if (chunked) this.#owner.write(Buffer.from(`${length.toString(16)}\r\n`, "latin1"));
      if (prefix) this.#owner.write(prefix);
      room = this.#owner.write(data);
      if (chunked) room = this.#owner.write(CRLF) && room;
    }
    if (end) {
      if (this.#framing === "chunks") this.#owner.write(LAST_CHUNK);
      this.#finish();
    }
    this.#full = !room;
    return room;
  }

  end(): void {
    this.sendData(EMPTY, true);
  }

  consume(bytes: number): void {
    if (!this.#ended) this.#owner.consumed(this, bytes);
  }

  reset(_code: ErrorCode): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#owner.abandon();
  }

  /** What was written has gone. */
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
    this.#owner.done(this, this.#keep);
  }
}

const EMPTY = new Uint8Array(0);
const CRLF = Uint8Array.of(13, 10);
const LAST_CHUNK = new Uint8Array(Buffer.from("0\r\n\r\n", "latin1"));
const CONTINUE = new Uint8Array(Buffer.from("HTTP/1.1 100 Continue\r\n\r\n", "latin1"));

export const REASONS: Record<string, string> = {
  200: "OK",
  201: "Created",
  202: "Accepted",
  204: "No Content",
  206: "Partial Content",
  301: "Moved Permanently",
  302: "Found",
  303: "See Other",
  304: "Not Modified",
  307: "Temporary Redirect",
  308: "Permanent Redirect",
  400: "Bad Request",
  401: "Unauthorized",
  403: "Forbidden",
  404: "Not Found",
  405: "Method Not Allowed",
  406: "Not Acceptable",
  408: "Request Timeout",
  409: "Conflict",
  410: "Gone",
  412: "Precondition Failed",
  413: "Request Entity Too Large",
  415: "Unsupported Media Type",
  417: "Expectation Failed",
  422: "Unprocessable Entity",
  429: "Too Many Requests",
  431: "Request Header Fields Too Large",
  500: "Internal Server Error",
  501: "Not Implemented",
  502: "Bad Gateway",
  503: "Service Unavailable",
  504: "Gateway Timeout",
  505: "HTTP Version Not Supported",
};
