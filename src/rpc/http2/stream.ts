import type { ErrorCode, Http2Error } from "./errors.ts";
import type { Output } from "./output.ts";

/** A stream that ended before its time: RST_STREAM, or its connection went. */
export interface StreamFailure {
  readonly error: Http2Error;
  /** The peer says, or it follows, that it did nothing for the stream: it may be tried again. */
  readonly unprocessed: boolean;
  /** It went with its connection. */
  readonly connection: boolean;
}

/** What happens on a stream. */
export interface StreamListener {
  /** A header section, names and values in turn: the head of a response, or trailers. */
  headers(fields: readonly string[], end: boolean): void;
  /** Give what has been used back with Stream.consume, or the peer stops after a window. */
  data(data: Uint8Array, end: boolean): void;
  /** All that was queued by sendData is on its way. */
  drain?(): void;
  /** No further call comes. Not called for a reset of one's own. */
  failed(failure: StreamFailure): void;
}

/** What a stream asks of its connection. */
export interface StreamOwner {
  writeHeaders(stream: Stream, fields: readonly string[], end: boolean): void;
  /** Writes all of the data at once, or nothing and returns false; see Sender.direct. */
  writeDirect(stream: Stream, data: Uint8Array, end: boolean, flags: number): boolean;
  /** Writes of the queue what windows and output allow; true when nothing is left. */
  writeQueued(stream: Stream): boolean;
  resetStream(stream: Stream, code: ErrorCode): void;
  consumed(stream: Stream, bytes: number): void;
}

/** One request and its response. */
export class Stream {
  readonly id: number;
  /** Bytes that may be sent, and received, at this moment; the first may be negative (RFC 9113, section 6.9.2). */
  sendWindow: number;
  receiveWindow: number;
  /** Received and used, not yet given back to the peer. */
  unacknowledged = 0;
  listener: StreamListener | undefined;
  remoteEnded = false;
  localEnded = false;
  /** Nothing more is sent or received. */
  closed = false;
  gotHead = false;
  /** Bytes of the peer's body that are to come by its content-length; negative when it has none. */
  bodyLeft = -1;
  /** Data to be sent; the first item starts at queueOffset. */
  readonly queue: Uint8Array[] = [];
  queueOffset = 0;
  /** Bytes in the queue. */
  queued = 0;
  /** To be sent after the queue: END_STREAM, or trailers with it. */
  endAfterQueue: true | readonly string[] | undefined;
  readonly #owner: StreamOwner;

  constructor(id: number, owner: StreamOwner, sendWindow: number, receiveWindow: number) {
    this.id = id;
    this.#owner = owner;
    this.sendWindow = sendWindow;
    this.receiveWindow = receiveWindow;
  }

  /** Sends a header section: the head of a message, or with `end` the trailers after all data. */
  sendHeaders(fields: readonly string[], end = false): void {
    if (this.closed || this.localEnded || this.endAfterQueue) return;
    if (end && this.queued > 0) this.endAfterQueue = fields;
    else this.#owner.writeHeaders(this, fields, end);
  }

  /**
   * Sends data, at once or when the peer and the socket have room. The bytes
   * must not change afterwards.
   * @param prefix sent before the data, in the same frame
   * @returns false when something is left in the queue: wait for `drain`
   */
  sendData(data: Uint8Array, end = false, prefix?: Uint8Array): boolean {
    if (this.closed || this.localEnded || this.endAfterQueue) return true;
    const waited = this.queued > 0;
    if (!waited && !prefix && this.#owner.writeDirect(this, data, end, -1)) return true;
    if (prefix) this.#enqueue(prefix);
    if (data.length > 0) this.#enqueue(data);
    if (end) this.endAfterQueue = true;
    // What waits already is pumped by the connection, in turn with other streams.
    if (waited) return false;
    return this.#owner.writeQueued(this);
  }

  /** The same for a message of gRPC, which goes behind five bytes: `flags` and its length. */
  sendMessage(message: Uint8Array, flags: number, end = false): boolean {
    if (this.closed || this.localEnded || this.endAfterQueue) return true;
    if (this.queued === 0 && this.#owner.writeDirect(this, message, end, flags)) return true;
    const { length } = message;
    return this.sendData(message, end, Uint8Array.of(flags, length >>> 24, length >>> 16, length >>> 8, length));
  }

  #enqueue(data: Uint8Array): void {
    this.queue.push(data);
    this.queued += data.length;
  }

  /** Moves `length` bytes of the queue to the end of `out`, and takes them off the window. */
  dequeue(length: number, out: Output): void {
    let at = out.reserve(length);
    for (let left = length; left > 0; ) {
      const first = this.queue[0]!;
      const take = Math.min(left, first.length - this.queueOffset);
      out.bytes.set(take === first.length ? first : first.subarray(this.queueOffset, this.queueOffset + take), at);
      at += take;
      left -= take;
      this.queueOffset += take;
      if (this.queueOffset === first.length) {
        this.queue.shift();
        this.queueOffset = 0;
      }
    }
    this.queued -= length;
    this.sendWindow -= length;
  }

  /** Ends the sending side. */
  end(): void {
    this.sendData(EMPTY, true);
  }

  /** Ends both sides at once. */
  reset(code: ErrorCode): void {
    if (!this.closed) this.#owner.resetStream(this, code);
  }

  /** Counts bytes of the body; false if it is longer, or ends shorter, than its content-length. */
  fits(bytes: number, last: boolean): boolean {
    if (this.bodyLeft < 0) return true;
    this.bodyLeft -= bytes;
    return this.bodyLeft >= 0 && !(last && this.bodyLeft > 0);
  }

  /** Lets the peer send `bytes` more. */
  consume(bytes: number): void {
    if (!this.closed && !this.remoteEnded) this.#owner.consumed(this, bytes);
  }
}

const EMPTY = new Uint8Array(0);
