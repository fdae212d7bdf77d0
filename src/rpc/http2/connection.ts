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
  HEADER_SIZE,
  MAX_WINDOW,
  PREFACE,
  putHeader,
  putUint32,
  Setting,
  settingsFrame,
  uint32,
  wordFrame,
} from "./frame.ts";
import { HpackDecoder } from "./hpack/decoder.ts";
import { HpackEncoder } from "./hpack/encoder.ts";
import { malformedRequest, malformedResponse, malformedTrailers } from "./message.ts";
import { Output } from "./output.ts";
import { Stream, type StreamListener, type StreamOwner } from "./stream.ts";

export interface ConnectionOptions {
  /** Streams that the peer may have open. Default 1000; a client allows none. */
  maxConcurrentStreams?: number;
  /** Bytes of a decoded header list. Default 64 KiB. */
  maxHeaderListSize?: number;
  /** Bytes that a peer may send on a stream before it is given more. Default 1 MiB. */
  streamWindow?: number;
  /** The same for all streams together. Default 4 MiB. */
  connectionWindow?: number;
  /** Milliseconds; for rate limits only. */
  now?: () => number;
}

export interface ConnectionEvents {
  /** `output` has something to send. Called once until takeable bytes have been taken. */
  wake(): void;
  /** A request has come; a server returns who listens to the rest of it. */
  request?(stream: Stream, fields: string[], end: boolean): StreamListener | undefined;
  /** The peer's SETTINGS have come, for the first time or again. */
  settings?(): void;
  pong?(): void;
  /** No stream may be started any more. `clean` when the peer gave no error. */
  goingAway?(clean: boolean, reason: string): void;
  /** A stream has ended; `open` are left. */
  streamEnded?(open: number): void;
}

/** Output that waits for the socket: over this, data stays in the queues of its streams. */
const HIGH_WATER = 256 * 1024;
/** Control frames that a peer provokes and does not read may take this much more. */
const OUTPUT_LIMIT = 4 * 1024 * 1024;
const MAX_CONTINUATIONS = 64;
const OUR_FRAME_SIZE = 65536;

export class Connection implements StreamOwner {
  readonly output = new Output();
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
  readonly #encoder = new HpackEncoder();
  readonly #streams = new Map<number, Stream>();
  /** Streams with queued data whose own window is open. */
  readonly #waiting = new Set<Stream>();
  readonly #maxStreams: number;
  readonly #maxHeaderListSize: number;
  readonly #streamWindow: number;
  readonly #connectionWindow: number;
  /** Cheap for the peer and dear for us: resets, and frames that carry nothing. */
  readonly #nuisance: TokenBucket;
  #sendWindow = DEFAULT_WINDOW;
  #receiveWindow: number;
  #peerInitialWindow = DEFAULT_WINDOW;
  #peerFrameSize = DEFAULT_FRAME_SIZE;
  #gotSettings = false;
  #nextId = 1;
  #lastPeerId = 0;
  #sentGoaway = MAX_WINDOW + 1;
  #awake = false;
  #drainPing = false;
  /** A header block that goes on in CONTINUATION frames. */
  #block: { stream: number; flags: number; parts: Uint8Array[]; size: number } | undefined;

  constructor(role: "client" | "server", events: ConnectionEvents, options: ConnectionOptions = {}) {
    this.client = role === "client";
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
    this.#wake();
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
    this.#wake();
  }

  /** The socket has gone, or is to go without waiting for streams. */
  close(error: Http2Error): void {
    if (!this.ended) this.#fail(error, false);
  }

  /** The owner has written `bytes` of output. */
  taken(bytes: number): void {
    this.output.taken(bytes);
    if (this.output.length === 0) this.#awake = false;
    if (this.#waiting.size > 0) this.#pump();
  }

  // StreamOwner

  writeHeaders(stream: Stream, fields: readonly string[], end: boolean): void {
    const out = this.output;
    const before = out.length;
    out.reserve(HEADER_SIZE);
    this.#encoder.encode(fields, out);
    const length = out.length - before - HEADER_SIZE;
    const at = out.start + before;
    const flags = end ? Flag.END_STREAM : 0;
    if (length <= this.#peerFrameSize) {
      putHeader(out.bytes, at, length, FrameType.HEADERS, flags | Flag.END_HEADERS, stream.id);
    } else {
      const block = out.bytes.slice(at + HEADER_SIZE, out.end);
      out.end = at;
      for (let from = 0; from < length; from += this.#peerFrameSize) {
        const part = block.subarray(from, from + this.#peerFrameSize);
        const last = from + part.length === length ? Flag.END_HEADERS : 0;
        frameHeader(out, part.length, from ? FrameType.CONTINUATION : FrameType.HEADERS, from ? last : flags | last, stream.id);
        out.append(part);
      }
    }
    this.#wake();
    if (end) this.#localEnd(stream);
  }

  writeQueued(stream: Stream): boolean {
    const out = this.output;
    while (stream.queued > 0) {
      const room = Math.min(this.#sendWindow, stream.sendWindow, this.#peerFrameSize);
      if (stream.sendWindow <= 0) {
        this.#waiting.delete(stream);
        return false;
      }
      if (room <= 0 || out.length >= HIGH_WATER) {
        this.#waiting.add(stream);
        return false;
      }
      this.#writeData(stream, room);
    }
    this.#waiting.delete(stream);
    const after = stream.endAfterQueue;
    if (after) {
      stream.endAfterQueue = undefined;
      if (after !== true) this.writeHeaders(stream, after, true);
      else if (!stream.localEnded) {
        frameHeader(out, 0, FrameType.DATA, Flag.END_STREAM, stream.id);
        this.#wake();
        this.#localEnd(stream);
      }
    }
    return true;
  }

  /** Writes one DATA frame of at most `room` bytes. */
  #writeData(stream: Stream, room: number): void {
    const out = this.output;
    const length = Math.min(room, stream.queued);
    const end = length === stream.queued && stream.endAfterQueue === true;
    frameHeader(out, length, FrameType.DATA, end ? Flag.END_STREAM : 0, stream.id);
    let at = out.reserve(length);
    for (let left = length; left > 0; ) {
      const first = stream.queue[0]!;
      const take = Math.min(left, first.length - stream.queueOffset);
      out.bytes.set(take === first.length ? first : first.subarray(stream.queueOffset, stream.queueOffset + take), at);
      at += take;
      left -= take;
      stream.queueOffset += take;
      if (stream.queueOffset === first.length) {
        stream.queue.shift();
        stream.queueOffset = 0;
      }
    }
    stream.queued -= length;
    stream.sendWindow -= length;
    this.#sendWindow -= length;
    this.#wake();
    if (end) {
      stream.endAfterQueue = undefined;
      this.#localEnd(stream);
    }
  }

  resetStream(stream: Stream, code: ErrorCode): void {
    if (!this.ended) {
      wordFrame(this.output, FrameType.RST_STREAM, stream.id, code);
      this.#wake();
    }
    this.#remove(stream);
  }

  consumed(stream: Stream, bytes: number): void {
    stream.unacknowledged += bytes;
    if (stream.unacknowledged < this.#streamWindow / 2) return;
    wordFrame(this.output, FrameType.WINDOW_UPDATE, stream.id, stream.unacknowledged);
    stream.receiveWindow += stream.unacknowledged;
    stream.unacknowledged = 0;
    this.#wake();
  }

  // Sending

  #wake(): void {
    if (this.#awake) return;
    this.#awake = true;
    this.#events.wake();
  }

  /** Sends queued data, a frame of each stream in turn. */
  #pump(): void {
    let progress = true;
    while (progress && this.#waiting.size > 0 && this.#sendWindow > 0 && this.output.length < HIGH_WATER) {
      progress = false;
      for (const stream of this.#waiting) {
        if (stream.sendWindow <= 0) this.#waiting.delete(stream);
        else if (this.#sendWindow <= 0 || this.output.length >= HIGH_WATER) break;
        else {
          this.#writeData(stream, Math.min(this.#sendWindow, stream.sendWindow, this.#peerFrameSize));
          progress = true;
          // Last in turn until the others have had theirs.
          this.#waiting.delete(stream);
          if (stream.queued > 0) this.#waiting.add(stream);
          else {
            this.writeQueued(stream);
            if (!stream.localEnded) stream.listener?.drain?.();
          }
          break;
        }
      }
    }
  }

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
    this.#waiting.delete(stream);
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
    this.#wake();
  }

  #fail(error: Http2Error, tell = true): void {
    if (tell) this.#goaway(error.code, error.message);
    this.ended = true;
    this.error = error;
    const streams = [...this.#streams.values()];
    this.#streams.clear();
    this.#waiting.clear();
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
      this.#wake();
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
    this.#block = { stream: id, flags, parts: [b.slice(start, end)], size: end - start };
  }

  #continuation(flags: number, b: Uint8Array, start: number, end: number): void {
    const block = this.#block;
    if (!block) throw new Http2Error(ErrorCode.PROTOCOL_ERROR, "CONTINUATION without a header block");
    block.parts.push(b.slice(start, end));
    block.size += end - start;
    // Compressed, no list within the limit takes more.
    if (block.size > this.#maxHeaderListSize + OUR_FRAME_SIZE || block.parts.length > MAX_CONTINUATIONS) {
      throw new Http2Error(ErrorCode.ENHANCE_YOUR_CALM, "header block too large");
    }
    if (!(flags & Flag.END_HEADERS)) return;
    this.#block = undefined;
    const whole = new Uint8Array(block.size);
    let at = 0;
    for (const part of block.parts) {
      whole.set(part, at);
      at += part.length;
    }
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
    this.#wake();
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
    this.#wake();
    this.#events.settings?.();
    this.#pump();
  }

  #setting(id: number, value: number): void {
    switch (id) {
      case Setting.HEADER_TABLE_SIZE:
        this.#encoder.resize(value);
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
        for (const stream of this.#streams.values()) this.#widen(stream, change);
        break;
      }
      case Setting.MAX_FRAME_SIZE:
        if (value < DEFAULT_FRAME_SIZE || value > 0xffffff) throw new Http2Error(ErrorCode.PROTOCOL_ERROR, "wrong MAX_FRAME_SIZE");
        // Larger ones would let one stream keep the others waiting.
        this.#peerFrameSize = Math.min(value, OUR_FRAME_SIZE);
        break;
    }
  }

  #widen(stream: Stream, bytes: number): void {
    stream.sendWindow += bytes;
    if (stream.sendWindow > MAX_WINDOW) throw new Http2Error(ErrorCode.FLOW_CONTROL_ERROR, "window too large");
    if (stream.queued > 0 && stream.sendWindow > 0) this.#waiting.add(stream);
  }

  #ping(flags: number, id: number, b: Uint8Array, start: number, end: number): void {
    if (id !== 0) throw new Http2Error(ErrorCode.PROTOCOL_ERROR, "PING of a stream");
    size(end - start === 8, "PING");
    if (!(flags & Flag.ACK)) {
      frameHeader(this.output, 8, FrameType.PING, Flag.ACK, 0);
      this.output.append(b.subarray(start, end));
      return this.#wake();
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
      this.#sendWindow += bytes;
      if (this.#sendWindow > MAX_WINDOW) throw new Http2Error(ErrorCode.FLOW_CONTROL_ERROR, "window too large");
    } else {
      const stream = this.#streams.get(id);
      if (!stream) return this.#checkIdle(id);
      if (bytes === 0) return this.#streamError(stream, ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE of 0");
      if (stream.sendWindow + bytes > MAX_WINDOW) return this.#streamError(stream, ErrorCode.FLOW_CONTROL_ERROR, "window too large");
      this.#widen(stream, bytes);
    }
    this.#pump();
  }
}

function size(right: boolean, frame: string): void {
  if (!right) throw new Http2Error(ErrorCode.FRAME_SIZE_ERROR, `${frame} of a wrong size`);
}

const KEEPALIVE = Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 1);
const DRAIN = Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 1);
