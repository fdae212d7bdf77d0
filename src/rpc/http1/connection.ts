// One server connection of HTTP/1.1 (RFC 9112), free of I/O: a request at a
// time, read only as fast as its handler takes it; answers wait for the socket.
import type { Exchange } from "../exchange.ts";
import { ErrorCode, Http2Error } from "../http2/errors.ts";
import { Output } from "../http2/output.ts";
import type { StreamListener } from "../http2/stream.ts";
import { BodyReader } from "./body.ts";
import { type Head, readHead } from "./head.ts";
import { Input } from "./input.ts";
import { Refusal } from "./refusal.ts";
import { REASONS, Turn, type TurnOwner } from "./turn.ts";

export interface Http1Events {
  /** `output` has something to send, or the connection has ended. */
  wake(): void;
  /** A request has come; its fields begin with :method, :scheme, :path and :authority. */
  request(exchange: Exchange, fields: string[], end: boolean): StreamListener | undefined;
  /**
   * A request to speak another protocol, named by its field "upgrade". Returns
   * whether that is to be: then nothing more goes through here. `rest` came
   * behind the head, and `unsent` is what waits to be sent before.
   */
  upgrade?(fields: string[], rest: Uint8Array, unsent: Uint8Array): boolean;
  /** Stop reading from the socket, or go on. */
  pause?(paused: boolean): void;
}

export interface Http1Options {
  /** Bytes of a request's head. Default 64 KiB. */
  maxHead?: number;
}

const MAX_EMPTY_LINES = 4;
/** What is read ahead while the answer to a request is not whole. */
const MAX_PIPELINED = 256 * 1024;
const HIGH_WATER = 256 * 1024;
/** Bytes of a body that its reader has not used. */
const MAX_UNREAD = 256 * 1024;
/** What is left of a body that nobody wants is read up to here, so that the connection can be used again. */
const MAX_DISCARD = 256 * 1024;
const NOTHING = new Uint8Array(0);

export class Http1Connection implements TurnOwner {
  readonly output = new Output();
  ended = false;
  /** Takes no further request. */
  draining = false;
  greeted = false;
  progress = 0;
  latest = 0;
  readonly #events: Http1Events;
  readonly #scheme: string;
  readonly #maxHead: number;
  readonly #input = new Input();
  #turn: Turn | undefined;
  #body: BodyReader | undefined;
  /** Of a body without a reader, bytes that may still come. */
  #discard = 0;
  #unread = 0;
  #paused = false;
  /** The client sends nothing more. */
  #inputEnded = false;
  /** Waits for room in output; the first item starts at #queueOffset. */
  readonly #queue: Uint8Array[] = [];
  #queueOffset = 0;
  #queued = 0;

  constructor(events: Http1Events, scheme: string, { maxHead = 64 * 1024 }: Http1Options = {}) {
    this.#events = events;
    this.#scheme = scheme;
    this.#maxHead = maxHead;
  }

  receive(chunk: Uint8Array): void {
    if (this.ended) return;
    if (chunk.length > 0) this.#input.push(chunk);
    try {
      while (!this.ended && this.#step()) {}
    } catch (error) {
      this.#refuse(error instanceof Refusal ? error : new Refusal(500, "internal error"));
    }
    if (this.#inputEnded && !this.ended && !this.#waits) this.finish();
  }

  /** The client sends nothing more: what it has asked is answered still, unless an answer would have no end. */
  inputEnded(): void {
    if (this.ended) return;
    this.#inputEnded = true;
    if (this.#turn && (this.#body || this.#turn.endless)) {
      this.#turn.fail(new Http2Error(ErrorCode.CANCEL, "the client closed its side of the connection"));
      this.finish();
    } else this.receive(NOTHING);
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
    this.#queue.length = this.#queued = 0;
  }

  get streams(): number {
    return this.#turn ? 1 : 0;
  }

  get backlog(): number {
    return this.output.length + this.#queued;
  }

  taken(bytes: number): void {
    this.progress += bytes;
    this.output.taken(bytes);
    this.#fill();
    if (this.output.length === 0) this.#turn?.drained();
    if (!this.#waits) this.#goOn();
  }

  /** No further request is read: there is one already, or answers that the client does not take. */
  get #waits(): boolean {
    return this.#turn !== undefined || this.#queued > 0;
  }

  /** Looks later at what came behind the last request: more of its body, the next one, or the end. */
  #goOn(): void {
    if (this.ended || !(this.#body || this.#inputEnded || this.#input.length > 0)) return;
    queueMicrotask(() => this.receive(NOTHING));
  }

  finish(): void {
    this.ended = true;
    this.#turn = undefined;
    // What still comes is read and dropped, until the peer has seen the end.
    this.#pause(false);
    this.#events.wake();
  }

  // TurnOwner

  abandon(): void {
    this.#queue.length = this.#queued = this.#queueOffset = 0;
    this.finish();
  }

  write(data: Uint8Array): boolean {
    if (this.#queued === 0 && this.output.length + data.length <= HIGH_WATER) this.output.append(data);
    else {
      this.#queue.push(data);
      this.#queued += data.length;
      this.#fill();
    }
    this.#events.wake();
    return this.#queued === 0;
  }

  get reusable(): boolean {
    return !this.draining && (this.#body?.left ?? 0) <= MAX_DISCARD;
  }

  done(turn: Turn, keep: boolean): void {
    if (this.#turn !== turn) return;
    this.#turn = undefined;
    this.#unread = 0;
    if (!keep || this.draining) return this.finish();
    this.#discard = MAX_DISCARD;
    this.#pause(false);
    this.#goOn();
  }

  consumed(turn: Turn, bytes: number): void {
    if (this.#turn !== turn) return;
    this.#unread -= bytes;
    if (this.#unread < MAX_UNREAD / 2) this.#pause(false);
  }

  #pause(paused: boolean): void {
    if (this.#paused === paused) return;
    this.#paused = paused;
    this.#events.pause?.(paused);
  }

  #fill(): void {
    while (this.#queued > 0 && this.output.length < HIGH_WATER) {
      const first = this.#queue[0]!;
      const take = Math.min(first.length - this.#queueOffset, HIGH_WATER - this.output.length);
      this.output.append(first.subarray(this.#queueOffset, this.#queueOffset + take));
      this.#queued -= take;
      this.#queueOffset += take;
      if (this.#queueOffset === first.length) {
        this.#queue.shift();
        this.#queueOffset = 0;
      }
    }
  }

  #refuse({ status, message }: Refusal): void {
    const turn = this.#turn;
    turn?.fail(new Http2Error(ErrorCode.PROTOCOL_ERROR, message));
    // Within an answer that has begun, another one would be taken for its body.
    if (!turn?.begun) {
      const text = `${status} ${REASONS[status]}: ${message}`;
      const head = `HTTP/1.1 ${status} ${REASONS[status]}\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: ${text.length}`;
      this.write(Buffer.from(`${head}\r\nconnection: close\r\n\r\n${text}`, "latin1"));
    }
    this.finish();
  }

  /** Returns false when more bytes are needed, or the answer to the last request. */
  #step(): boolean {
    if (this.#body) return this.#readBody(this.#body);
    const input = this.#input;
    if (this.#waits) {
      if (input.length > MAX_PIPELINED) this.#pause(true);
      return false;
    }
    this.#pause(false);
    if (input.skipEmptyLines() > MAX_EMPTY_LINES) throw new Refusal(400, "malformed request line");
    const text = input.length > 0 ? input.head() : undefined;
    if ((text ?? input).length > this.#maxHead) throw new Refusal(431, "the head is too long");
    if (text === undefined) return false;
    this.#start(readHead(text, this.#scheme));
    return true;
  }

  #start(head: Head): void {
    this.greeted = true;
    this.latest++;
    const { fields, upgrade, length } = head;
    if (upgrade && length === 0 && this.#upgraded([...fields, "upgrade", upgrade])) return;
    this.#body = length === 0 ? undefined : new BodyReader(length);
    this.#unread = 0;
    const turn = new Turn(this, head);
    this.#turn = turn;
    turn.listener = this.#events.request(turn, fields, !this.#body);
  }

  #upgraded(fields: string[]): boolean {
    const input = this.#input;
    // Bytes behind such a request are of the other protocol, or of nothing that could be told from it.
    const unsent = Buffer.concat([this.output.bytes.subarray(this.output.start, this.output.end), ...this.#unsent()]);
    if (!this.#events.upgrade?.(fields, input.peek(), unsent)) return false;
    this.ended = true;
    return true;
  }

  #unsent(): Uint8Array[] {
    return this.#queue.map((part, i) => (i === 0 ? part.subarray(this.#queueOffset) : part));
  }

  /** Returns false when more bytes are needed. */
  #readBody(body: BodyReader): boolean {
    const part = body.read(this.#input);
    if (!part) return false;
    if (body.done) this.#body = undefined;
    const turn = this.#turn;
    if (!turn) {
      this.#discard -= part.length;
      if (this.#discard < 0) this.finish();
      return true;
    }
    this.#unread += part.length;
    if (this.#unread > MAX_UNREAD) this.#pause(true);
    turn.listener?.data(part, body.done);
    return true;
  }
}
