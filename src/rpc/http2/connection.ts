// One HTTP/2 connection (RFC 9113), free of I/O: bytes of the peer go in by
// receive(), calls to listeners come out, and bytes for the peer gather in
// `output`, which the owner of the socket takes away.

import { TokenBucket } from "./bucket.ts";
import { ErrorCode, Http2Error } from "./errors.ts";
import {
  DEFAULT_FRAME_SIZE,
  DEFAULT_WINDOW,
  Flag,
  FrameReader,
  FrameType,
  frameHeader,
  MAX_WINDOW,
  PREFACE,
  putUint32,
  Setting,
  settingsFrame,
  uint32,
  wordFrame,
} from "./frame.ts";
import { HeaderBlock } from "./headerblock.ts";
import { HpackDecoder } from "./hpack/decoder.ts";
import { malformedRequest, malformedResponse, malformedTrailers } from "./message.ts";
import type { ConnectionEvents, ConnectionOptions } from "./options.ts";
import type { Output } from "./output.ts";
import { HIGH_WATER, Sender } from "./sender.ts";
import { Stream, type StreamListener, type StreamOwner } from "./stream.ts";

/** Control frames that a peer provokes and does not read may take this much more. */
const OUTPUT_LIMIT = 4 * 1024 * 1024;
const OUR_FRAME_SIZE = 65536;

export class Connection implements StreamOwner {
  readonly #sender: Sender;
  readonly client: boolean;
  /** Set once the connection has failed or ended; when output is empty too, close the socket. */
  ended = false;
  error: Http2Error | undefined;
  /** GOAWAY was sent or received: no new streams. */
  draining = false;
  peerMaxConcurrentStreams = Number.POSITIVE_INFINITY;
  readonly #events: ConnectionEvents;
  readonly #reader: FrameReader;
  readonly #decoder: HpackDecoder;
  readonly #streams = new Map<number, Stream>();
  readonly #maxStreams: number;
  readonly #maxHeaderListSize: number;
  readonly #streamWindow: number;
  readonly #connectionWindow: number;
  /** Cheap for the peer and dear for us: resets, and frames that carry nothing. */
  readonly #nuisance: TokenBucket;
  #receiveWindow: number;
  #peerInitialWindow = DEFAULT_WINDOW;
  #gotSettings = false;
  #nextId = 1;
  #lastPeerId = 0;
  #sentGoaway = MAX_WINDOW + 1;
  #drainPing = false;
  #block: HeaderBlock | undefined;

  constructor(role: "client" | "server", events: ConnectionEvents, options: ConnectionOptions = {}) {
    this.client = role === "client";
    this.#sender = new Sender(
      () => events.wake(),
      (stream) => this.#localEnd(stream),
    );
    this.#events = events;
    this.#maxStreams = this.client ? 0 : (options.maxConcurrentStreams ?? 1000);
    this.#maxHeaderListSize = options.maxHeaderListSize ?? 65536;
    this.#streamWindow = options.streamWindow ?? 1024 * 1024;
    this.#connectionWindow = Math.max(DEFAULT_WINDOW, options.connectionWindow ?? 4 * 1024 * 1024);
    this.#receiveWindow = this.#connectionWindow;
    this.#decoder = new HpackDecoder(4096, this.#maxHeaderListSize);
    this.#nuisance = new TokenBucket(2000, 500, options.now ?? Date.now);
    this.#reader = new FrameReader(
      OUR_FRAME_SIZE,
      (type, flags, stream, bytes, start, end) => this.#frame(type, flags, stream, bytes, start, end),
      this.client ? undefined : PREFACE,
    );
    if (this.client) this.output.append(PREFACE);
    settingsFrame(this.output, [
      this.client ? [Setting.ENABLE_PUSH, 0] : [Setting.MAX_CONCURRENT_STREAMS, this.#maxStreams],
      [Setting.INITIAL_WINDOW_SIZE, this.#streamWindow],
      [Setting.MAX_FRAME_SIZE, OUR_FRAME_SIZE],
      [Setting.MAX_HEADER_LIST_SIZE, this.#maxHeaderListSize],
    ]);
    const more = this.#connectionWindow - DEFAULT_WINDOW;
    if (more > 0) wordFrame(this.output, FrameType.WINDOW_UPDATE, 0, more);
  }

  /** What is to be sent; tell taken() how much of it was. */
  get output(): Output {
    return this.#sender.output;
  }

  get streams(): number {
    return this.#streams.size;
  }

  /** Whether request() may be called now. */
  get canOpen(): boolean {
    return !this.ended && !this.draining && this.#streams.size < this.peerMaxConcurrentStreams && this.#nextId < MAX_WINDOW;
  }

  /** Takes bytes from the socket. Never throws: a fault of the peer ends the connection. */
  receive(chunk: Uint8Array): void {
    if (this.ended) return;
    try {
      this.#reader.push(chunk);
      if (this.output.length > HIGH_WATER + OUTPUT_LIMIT) {
        throw new Http2Error(ErrorCode.ENHANCE_YOUR_CALM, "the peer does not read what it asks for");
      }
    } catch (error) {
      this.#fail(error instanceof Http2Error ? error : new Http2Error(ErrorCode.INTERNAL_ERROR, "internal error", { cause: error }));
    }
  }

  /** Starts a request of a client; check canOpen before. */
  request(fields: readonly string[], end: boolean, listener: StreamListener): Stream {
    if (!this.canOpen) throw new Http2Error(ErrorCode.REFUSED_STREAM, "no stream can be opened");
    const stream = new Stream(this.#nextId, this, this.#peerInitialWindow, this.#streamWindow);
    this.#nextId += 2;
    stream.listener = listener;
    this.#streams.set(stream.id, stream);
    this.writeHeaders(stream, fields, end);
    return stream;
  }

  ping(): void {
    frameHeader(this.output, 8, FrameType.PING, 0, 0);
    this.output.append(KEEPALIVE);
    this.#sender.wake();
  }

  /** Takes no new streams; ends when those that run have ended (RFC 9113, section 6.8). */
  drain(): void {
    if (this.ended || this.#sentGoaway <= MAX_WINDOW) return;
    if (this.client) {
      this.#goaway(ErrorCode.NO_ERROR, "");
      this.draining = true;
      return this.#endIfDrained();
    }
    // Streams may be on their way: the last one is named after a round trip.
    wordFrame(this.output, FrameType.GOAWAY, 0, MAX_WINDOW, ErrorCode.NO_ERROR);
    this.#sentGoaway = MAX_WINDOW;
    frameHeader(this.output, 8, FrameType.PING, 0, 0);
    this.output.append(DRAIN);
    this.#drainPing = true;
    this.#sender.wake();
  }

  /** The socket has gone, or is to go without waiting for streams. */
  close(error: Http2Error): void {
    if (!this.ended) this.#fail(error, false);
  }

  /** The owner of the socket has written `bytes` of output. */
  taken(bytes: number): void {
    this.#sender.taken(bytes);
  }

  // StreamOwner

  writeHeaders(stream: Stream, fields: readonly string[], end: boolean): void {
    this.#sender.headers(stream, fields, end);
  }

  writeQueued(stream: Stream): boolean {
    return this.#sender.queued(stream);
  }

  resetStream(stream: Stream, code: ErrorCode): void {
    if (!this.ended) {
      wordFrame(this.output, FrameType.RST_STREAM, stream.id, code);
      this.#sender.wake();
    }
    this.#remove(stream);
  }

  consumed(stream: Stream, bytes: number): void {
    stream.unacknowledged += bytes;
    if (stream.unacknowledged < this.#streamWindow / 2) return;
    wordFrame(this.output, FrameType.WINDOW_UPDATE, stream.id, stream.unacknowledged);
    stream.receiveWindow += stream.unacknowledged;
    stream.unacknowledged = 0;
    this.#sender.wake();
  }

  // Ends

  #localEnd(stream: Stream): void {
    stream.localEnded = true;
    if (stream.remoteEnded) this.#remove(stream);
    // The answer is complete: the rest of the request is of no use (RFC 9113, section 8.1).
    else if (!this.client) this.resetStream(stream, ErrorCode.NO_ERROR);
  }

  #remove(stream: Stream): void {
    if (stream.closed) return;
    stream.closed = true;
    stream.queue.length = 0;
    stream.queued = 0;
    this.#sender.forget(stream);
    if (!this.#streams.delete(stream.id)) return;
    if (this.#streams.size === 0) this.#endIfDrained();
    this.#events.streamEnded?.(this.#streams.size);
  }

  #endIfDrained(): void {
    if (this.draining && this.#streams.size === 0 && !this.ended) {
      this.ended = true;
      this.#events.wake();
    }
  }

  #goaway(code: ErrorCode, debug: string): void {
    const text = new TextEncoder().encode(debug.slice(0, 200));
    frameHeader(this.output, 8 + text.length, FrameType.GOAWAY, 0, 0);
    const at = this.output.reserve(8);
    putUint32(this.output.bytes, at, this.#lastPeerId);
    putUint32(this.output.bytes, at + 4, code);
    this.output.append(text);
    this.#sentGoaway = this.#lastPeerId;
    this.#sender.wake();
  }

  #fail(error: Http2Error, tell = true): void {
    if (tell) this.#goaway(error.code, error.message);
    this.ended = true;
    this.error = error;
    const streams = [...this.#streams.values()];
    this.#streams.clear();
    this.#events.goingAway?.(false, error.message);
    for (const stream of streams) this.#failStream(stream, error, false);
    this.#events.wake();
  }

  #failStream(stream: Stream, error: Http2Error, unprocessed: boolean): void {
    if (stream.closed) return;
    this.#remove(stream);
    stream.listener?.failed({ error, unprocessed });
  }

  // Receiving

  #frame(type: number, flags: number, id: number, b: Uint8Array, start: number, end: number): void {
    if (this.#block && (type !== FrameType.CONTINUATION || id !== this.#block.stream)) {
      throw new Http2Error(ErrorCode.PROTOCOL_ERROR, "a frame within a header block");
    }
    if (!this.#gotSettings && (type !== FrameType.SETTINGS || flags & Flag.ACK)) {
      throw new Http2Error(ErrorCode.PROTOCOL_ERROR, "the first frame is not SETTINGS");
    }
    switch (type) {
      case FrameType.DATA:
        return this.#data(flags, id, b, start, end);
      case FrameType.HEADERS:
        return this.#headers(flags, id, b, start, end);
      case FrameType.CONTINUATION:
        return this.#continuation(flags, b, start, end);
      case FrameType.PRIORITY:
        if (id === 0) throw new Http2Error(ErrorCode.PROTOCOL_ERROR, "PRIORITY of stream 0");
        size(end - start === 5, "PRIORITY");
        return this.#annoyed();
      case FrameType.RST_STREAM:
        size(end - start === 4, "RST_STREAM");
        return this.#rst(id, uint32(b, start));
      case FrameType.SETTINGS:
        return this.#settings(flags, id, b, start, end);
      case FrameType.PUSH_PROMISE:
        throw new Http2Error(ErrorCode.PROTOCOL_ERROR, "PUSH_PROMISE is not allowed");
      case FrameType.PING:
        return this.#ping(flags, id, b, start, end);
      case FrameType.GOAWAY:
        return this.#peerGoaway(id, b, start, end);
      case FrameType.WINDOW_UPDATE:
        size(end - start === 4, "WINDOW_UPDATE");
        return this.#windowUpdate(id, uint32(b, start) & MAX_WINDOW);
      default:
        // Unknown types are ignored (section 4.1), though not without end.
        return this.#annoyed();
    }
  }

  #annoyed(): void {
    if (!this.#nuisance.take()) throw new Http2Error(ErrorCode.ENHANCE_YOUR_CALM, "too many resets or empty frames");
  }

  /** A stream that is not open: was it ever? */
  #checkIdle(id: number): void {
    const last = this.client === (id % 2 === 1) ? this.#nextId - 2 : this.#lastPeerId;
    if (id === 0 || id > last) throw new Http2Error(ErrorCode.PROTOCOL_ERROR, `a frame for the idle stream ${id}`);
  }

  #data(flags: number, id: number, b: Uint8Array, start: number, end: number): void {
    const length = end - start;
    this.#receiveWindow -= length;
    if (this.#receiveWindow < 0) throw new Http2Error(ErrorCode.FLOW_CONTROL_ERROR, "more data than the connection's window");
    // Streams hold each other up by their own windows only.
    if (this.#receiveWindow < this.#connectionWindow / 2) {
      wordFrame(this.output, FrameType.WINDOW_UPDATE, 0, this.#connectionWindow - this.#receiveWindow);
      this.#receiveWindow = this.#connectionWindow;
      this.#sender.wake();
    }
    const stream = this.#streams.get(id);
    if (!stream) return this.#checkIdle(id);
    if (stream.remoteEnded || (this.client && !stream.gotHead)) {
      return this.#streamError(stream, stream.remoteEnded ? ErrorCode.STREAM_CLOSED : ErrorCode.PROTOCOL_ERROR, "DATA out of place");
    }
    stream.receiveWindow -= length;
    if (stream.receiveWindow < 0) return this.#streamError(stream, ErrorCode.FLOW_CONTROL_ERROR, "more data than the stream's window");
    if (flags & Flag.PADDED) {
      const padding = length > 0 ? b[start]! + 1 : 1;
      if (padding > length) throw new Http2Error(ErrorCode.PROTOCOL_ERROR, "padding longer than its frame");
      start++;
      end -= padding - 1;
      stream.consume(padding);
    }
    const last = (flags & Flag.END_STREAM) !== 0;
    if (start === end && !last) return this.#annoyed();
    if (last) this.#remoteEnd(stream);
    stream.listener?.data(b.subarray(start, end), last);
  }

  #remoteEnd(stream: Stream): void {
    stream.remoteEnded = true;
    if (stream.localEnded) this.#remove(stream);
  }

  #headers(flags: number, id: number, b: Uint8Array, start: number, end: number): void {
    if (id === 0 || (!this.client && id % 2 === 0)) throw new Http2Error(ErrorCode.PROTOCOL_ERROR, `HEADERS of stream ${id}`);
    if (flags & Flag.PADDED) {
      end -= b[start++] ?? 0;
    }
    if (flags & Flag.PRIORITY) start += 5;
    if (start > end) throw new Http2Error(ErrorCode.PROTOCOL_ERROR, "padding longer than its frame");
    if (flags & Flag.END_HEADERS) return this.#headerBlock(id, flags, b, start, end);
    // Compressed, no list within the limit takes more.
    this.#block = new HeaderBlock(id, flags, b.slice(start, end), this.#maxHeaderListSize + OUR_FRAME_SIZE);
  }

  #continuation(flags: number, b: Uint8Array, start: number, end: number): void {
    const block = this.#block;
    if (!block) throw new Http2Error(ErrorCode.PROTOCOL_ERROR, "CONTINUATION without a header block");
    block.add(b.slice(start, end));
    if (!(flags & Flag.END_HEADERS)) return;
    this.#block = undefined;
    const whole = block.bytes;
    this.#headerBlock(block.stream, block.flags, whole, 0, whole.length);
  }

  #headerBlock(id: number, flags: number, b: Uint8Array, start: number, end: number): void {
    // Decoded whatever becomes of the stream: the table is the connection's.
    const { fields, tooLarge, malformed } = this.#decoder.decode(b, start, end);
    const last = (flags & Flag.END_STREAM) !== 0;
    const stream = this.#streams.get(id);
    if (!stream) {
      if (this.client || id <= this.#lastPeerId) return this.#checkIdle(id);
      return this.#newRequest(id, fields, last, tooLarge, malformed);
    }
    if (stream.remoteEnded) return this.#streamError(stream, ErrorCode.STREAM_CLOSED, "HEADERS after the end");
    if (tooLarge) return this.#streamError(stream, ErrorCode.ENHANCE_YOUR_CALM, "header list too large");
    const head = this.client && !stream.gotHead;
    if (malformed || (head ? malformedResponse(fields) : malformedTrailers(fields, last))) {
      return this.#streamError(stream, ErrorCode.PROTOCOL_ERROR, "malformed header section");
    }
    if (head) {
      // 1xx: the answer itself is still to come (section 8.1).
      if (fields[1]!.charCodeAt(0) === 49) {
        if (last) this.#streamError(stream, ErrorCode.PROTOCOL_ERROR, "the stream ends with an interim response");
        return this.#annoyed();
      }
      stream.gotHead = true;
    }
    if (last) this.#remoteEnd(stream);
    stream.listener?.headers(fields, last);
  }

  #newRequest(id: number, fields: string[], last: boolean, tooLarge: boolean, malformed: boolean): void {
    this.#lastPeerId = id;
    // Not counted in the last GOAWAY: the client knows that it was not processed.
    if (id > this.#sentGoaway) return;
    const stream = new Stream(id, this, this.#peerInitialWindow, this.#streamWindow);
    stream.gotHead = true;
    stream.remoteEnded = last;
    this.#streams.set(id, stream);
    if (malformed || (!tooLarge && malformedRequest(fields))) {
      return this.#streamError(stream, ErrorCode.PROTOCOL_ERROR, "malformed request");
    }
    if (this.#streams.size > this.#maxStreams) return this.#streamError(stream, ErrorCode.REFUSED_STREAM, "too many streams");
    if (tooLarge) return this.writeHeaders(stream, [":status", "431"], true);
    stream.listener = this.#events.request?.(stream, fields, last);
    if (!stream.listener && !stream.closed) stream.reset(ErrorCode.REFUSED_STREAM);
  }

  #streamError(stream: Stream, code: ErrorCode, message: string): void {
    this.#annoyed();
    wordFrame(this.output, FrameType.RST_STREAM, stream.id, code);
    this.#sender.wake();
    this.#failStream(stream, new Http2Error(code, message), false);
  }

  #rst(id: number, code: number): void {
    const stream = this.#streams.get(id);
    if (!stream) {
      this.#checkIdle(id);
      return this.#annoyed();
    }
    if (!this.client) this.#annoyed();
    this.#failStream(stream, new Http2Error(code, "the peer reset the stream"), code === ErrorCode.REFUSED_STREAM);
  }

  #settings(flags: number, id: number, b: Uint8Array, start: number, end: number): void {
    if (id !== 0) throw new Http2Error(ErrorCode.PROTOCOL_ERROR, "SETTINGS of a stream");
    size(flags & Flag.ACK ? start === end : (end - start) % 6 === 0, "SETTINGS");
    if (flags & Flag.ACK) return;
    if (this.#gotSettings) this.#annoyed();
    this.#gotSettings = true;
    for (let at = start; at < end; at += 6) this.#setting((b[at]! << 8) | b[at + 1]!, uint32(b, at + 2));
    frameHeader(this.output, 0, FrameType.SETTINGS, Flag.ACK, 0);
    this.#sender.wake();
    this.#events.settings?.();
    this.#sender.pump();
  }

  #setting(id: number, value: number): void {
    switch (id) {
      case Setting.HEADER_TABLE_SIZE:
        this.#sender.tableSize = value;
        break;
      case Setting.ENABLE_PUSH:
        if (value > 1) throw new Http2Error(ErrorCode.PROTOCOL_ERROR, "ENABLE_PUSH is 0 or 1");
        break;
      case Setting.MAX_CONCURRENT_STREAMS:
        this.peerMaxConcurrentStreams = value;
        break;
      case Setting.INITIAL_WINDOW_SIZE: {
        if (value > MAX_WINDOW) throw new Http2Error(ErrorCode.FLOW_CONTROL_ERROR, "initial window too large");
        const change = value - this.#peerInitialWindow;
        this.#peerInitialWindow = value;
        for (const stream of this.#streams.values()) this.#sender.widen(stream, change);
        break;
      }
      case Setting.MAX_FRAME_SIZE:
        if (value < DEFAULT_FRAME_SIZE || value > 0xffffff) throw new Http2Error(ErrorCode.PROTOCOL_ERROR, "wrong MAX_FRAME_SIZE");
        this.#sender.frameSize = value;
        break;
    }
  }

  #ping(flags: number, id: number, b: Uint8Array, start: number, end: number): void {
    if (id !== 0) throw new Http2Error(ErrorCode.PROTOCOL_ERROR, "PING of a stream");
    size(end - start === 8, "PING");
    if (!(flags & Flag.ACK)) {
      frameHeader(this.output, 8, FrameType.PING, Flag.ACK, 0);
      this.output.append(b.subarray(start, end));
      return this.#sender.wake();
    }
    if (this.#drainPing && b[start] === DRAIN[0]) {
      this.#drainPing = false;
      this.#goaway(ErrorCode.NO_ERROR, "");
      this.draining = true;
      this.#endIfDrained();
    } else this.#events.pong?.();
  }

  #peerGoaway(id: number, b: Uint8Array, start: number, end: number): void {
    if (id !== 0) throw new Http2Error(ErrorCode.PROTOCOL_ERROR, "GOAWAY of a stream");
    size(end - start >= 8, "GOAWAY");
    const last = uint32(b, start) & MAX_WINDOW;
    const code = uint32(b, start + 4);
    const debug = new TextDecoder().decode(b.subarray(start + 8, Math.min(end, start + 208)));
    this.draining = true;
    const error = new Http2Error(code, `the peer goes away${debug ? `: ${debug}` : ""}`);
    this.#events.goingAway?.(code === ErrorCode.NO_ERROR, error.message);
    if (this.client) for (const stream of [...this.#streams.values()]) if (stream.id > last) this.#failStream(stream, error, true);
    this.#endIfDrained();
  }

  #windowUpdate(id: number, bytes: number): void {
    if (id === 0) {
      if (bytes === 0) throw new Http2Error(ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE of 0");
      this.#sender.widenConnection(bytes);
    } else {
      const stream = this.#streams.get(id);
      if (!stream) return this.#checkIdle(id);
      if (bytes === 0) return this.#streamError(stream, ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE of 0");
      if (stream.sendWindow + bytes > MAX_WINDOW) return this.#streamError(stream, ErrorCode.FLOW_CONTROL_ERROR, "window too large");
      this.#sender.widen(stream, bytes);
    }
    this.#sender.pump();
  }
}

function size(right: boolean, frame: string): void {
  if (!right) throw new Http2Error(ErrorCode.FRAME_SIZE_ERROR, `${frame} of a wrong size`);
}

const KEEPALIVE = Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 1);
const DRAIN = Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 1);
