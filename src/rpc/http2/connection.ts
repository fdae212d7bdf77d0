// One HTTP/2 connection (RFC 9113), free of I/O: bytes of the peer go in by
// receive(), calls to listeners come out, and bytes for the peer gather in
// `output`, which the owner of the socket takes away. Frames are read by
// FrameParser and written by Sender; here is what they mean.
import { TokenBucket } from "./bucket.ts";
import { isToBeTold } from "./closed.ts";
import { ErrorCode, Http2Error } from "./errors.ts";
import { DEFAULT_WINDOW, Flag, FrameType, frameHeader, MAX_WINDOW, wordFrame } from "./frame.ts";
import { Goaway, KEEPALIVE, pingFrame } from "./goaway.ts";
import { type DecodedBlock, HpackDecoder } from "./hpack/decoder.ts";
import { Inflow } from "./inflow.ts";
import { checkRequest, checkResponse, isLarger, MALFORMED, malformedTrailers } from "./message.ts";
import type { ConnectionEvents, ConnectionOptions } from "./options.ts";
import type { Output } from "./output.ts";
import { FrameParser, type FrameTarget } from "./parser.ts";
import { PingGuard, TooManyPings } from "./pings.ts";
import { HIGH_WATER, Sender } from "./sender.ts";
import { greet, OUR_FRAME_SIZE, readSettings } from "./settings.ts";
import { Stream, type StreamFailure, type StreamListener, type StreamOwner } from "./stream.ts";
import { StreamTable } from "./streams.ts";

/** Control frames that a peer provokes and does not read may take this much more. */
const OUTPUT_LIMIT = 4 * 1024 * 1024;
/** A window opened by less than this while data waits makes frames that are mostly header. */
const DRIBBLE = 128;

export class Connection implements StreamOwner, FrameTarget {
  readonly #sender: Sender;
  readonly client: boolean;
  /** Set once the connection has failed or ended; when output is empty too, close the socket. */
  ended = false;
  error: Http2Error | undefined;
  /** GOAWAY was sent or received: no new streams. */
  draining = false;
  /** The peer's first SETTINGS have come. */
  greeted = false;
  peerMaxConcurrentStreams = Number.POSITIVE_INFINITY;
  #peerMaxHeaderListSize = Number.POSITIVE_INFINITY;
  readonly #events: ConnectionEvents;
  readonly #parser: FrameParser;
  readonly #decoder: HpackDecoder;
  readonly #streams: StreamTable;
  readonly #goaway: Goaway;
  readonly #maxStreams: number;
  readonly #inflow: Inflow;
  readonly #now: () => number;
  /** Cheap for the peer and dear for us: resets, and frames that carry nothing. */
  readonly #nuisance: TokenBucket;
  readonly #pings: PingGuard | undefined;
  #peerInitialWindow = DEFAULT_WINDOW;

  constructor(role: "client" | "server", events: ConnectionEvents, options: ConnectionOptions = {}) {
    this.client = role === "client";
    this.#sender = new Sender(
      () => events.wake(),
      (stream) => this.#localEnd(stream),
    );
    this.#goaway = new Goaway(this.output);
    this.#streams = new StreamTable(this.client, options.firstStreamId);
    this.#events = events;
    this.#maxStreams = this.client ? 0 : (options.maxConcurrentStreams ?? 1000);
    const maxHeaderListSize = options.maxHeaderListSize ?? 65536;
    const streamWindow = options.streamWindow ?? 1024 * 1024;
    const connectionWindow = Math.max(DEFAULT_WINDOW, options.connectionWindow ?? 4 * 1024 * 1024);
    this.#inflow = new Inflow(this.output, connectionWindow, streamWindow, () => this.#sender.wake());
    this.#decoder = new HpackDecoder(4096, maxHeaderListSize);
    this.#now = options.now ?? Date.now;
    this.#nuisance = new TokenBucket(4000, 2000, this.#now);
    this.#pings = options.pings && !this.client ? new PingGuard(options.pings) : undefined;
    this.#parser = new FrameParser(this, this.client, OUR_FRAME_SIZE, maxHeaderListSize);
    greet(this.output, this.client, { maxStreams: this.#maxStreams, streamWindow, connectionWindow, maxHeaderListSize });
  }

  /** What is to be sent; tell taken() how much of it was. */
  get output(): Output {
    return this.#sender.output;
  }

  get streams(): number {
    return this.#streams.size;
  }

  get latest(): number {
    return this.#streams.lastPeerId;
  }

  get backlog(): number {
    return this.#streams.queued + this.output.length;
  }

  get progress(): number {
    return this.#sender.sentData;
  }

  /** Whether request() may be called now. */
  get canOpen(): boolean {
    return !this.ended && !this.draining && this.#streams.size < this.peerMaxConcurrentStreams;
  }

  /** Takes bytes from the socket. Never throws: a fault of the peer ends the connection. */
  receive(chunk: Uint8Array): void {
    if (this.ended) return;
    try {
      this.#parser.push(chunk);
      if (this.output.length > HIGH_WATER + OUTPUT_LIMIT) {
        throw new Http2Error(ErrorCode.ENHANCE_YOUR_CALM, "the peer does not read what it asks for");
      }
    } catch (error) {
      this.#fail(error instanceof Http2Error ? error : new Http2Error(ErrorCode.INTERNAL_ERROR, "internal error", { cause: error }));
    }
  }

  /**
   * Starts a request of a client; check canOpen before. Throws Http2Error
   * for fields of more bytes than the server takes.
   */
  request(fields: readonly string[], end: boolean, listener: StreamListener): Stream {
    if (!this.canOpen) throw new Http2Error(ErrorCode.REFUSED_STREAM, "no stream can be opened");
    const most = this.#peerMaxHeaderListSize;
    if (isLarger(fields, most)) {
      throw new Http2Error(ErrorCode.INTERNAL_ERROR, `header list size to send violates the maximum size (${most} bytes) set by server`);
    }
    const stream = new Stream(this.#streams.takeId(), this, this.#peerInitialWindow, this.#inflow.streamSize);
    stream.listener = listener;
    this.#streams.add(stream);
    this.writeHeaders(stream, fields, end);
    if (!this.#streams.idsLeft) {
      this.#lastStream();
      this.#events.goingAway?.(true, "the stream ids of the connection are used up");
    }
    return stream;
  }

  ping(): void {
    pingFrame(this.output, KEEPALIVE);
    this.#sender.wake();
  }

  /** Takes no new streams; ends when those that run have ended (RFC 9113, section 6.8). */
  drain(): void {
    if (this.ended || this.#goaway.sent) return;
    if (this.client) return this.#lastStream();
    this.#goaway.warn(ErrorCode.NO_ERROR);
    this.#sender.wake();
  }

  #lastStream(): void {
    this.#goaway.send(this.#streams.lastPeerId, ErrorCode.NO_ERROR);
    this.draining = true;
    this.#sender.wake();
    this.#endIfDrained();
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
    if (this.client || !isLarger(fields, this.#peerMaxHeaderListSize)) return this.#sender.headers(stream, fields, end);
    this.resetStream(stream, ErrorCode.INTERNAL_ERROR);
    const error = new Http2Error(ErrorCode.INTERNAL_ERROR, "more header fields than the client takes");
    stream.listener?.failed({ error, unprocessed: false, connection: false });
  }

  writeDirect(stream: Stream, data: Uint8Array, end: boolean, flags: number): boolean {
    return this.#sender.direct(stream, data, end, flags);
  }

  writeQueued(stream: Stream): boolean {
    return this.#sender.queued(stream);
  }

  resetStream(stream: Stream, code: ErrorCode): void {
    if (!this.ended) {
      wordFrame(this.output, FrameType.RST_STREAM, stream.id, code);
      this.#sender.wake();
    }
    this.#remove(stream, "reset here");
  }

  consumed(stream: Stream, bytes: number): void {
    this.#inflow.consumed(stream, bytes);
  }

  // Ends

  #localEnd(stream: Stream): void {
    stream.localEnded = true;
    if (stream.remoteEnded) this.#remove(stream, "ended");
    // The answer is complete: the rest of the request is of no use (RFC 9113, section 8.1).
    else if (!this.client) this.resetStream(stream, ErrorCode.NO_ERROR);
  }

  #remove(stream: Stream, how: "ended" | "reset by the peer" | "reset here"): void {
    if (stream.closed) return;
    stream.closed = true;
    this.#sender.forget(stream);
    if (!this.#streams.remove(stream.id, how)) return;
    if (this.#streams.size === 0) this.#endIfDrained();
    this.#events.streamEnded?.(this.#streams.size);
  }

  #endIfDrained(): void {
    if (this.draining && this.#streams.size === 0 && !this.ended) {
      this.ended = true;
      this.#events.wake();
    }
  }

  #fail(error: Http2Error, tell = true): void {
    if (tell) this.#goaway.send(this.#streams.lastPeerId, error.code, error instanceof TooManyPings ? TooManyPings.DEBUG : error.message);
    this.ended = true;
    this.error = error;
    const streams = this.#streams.clear();
    this.#events.goingAway?.(false, error.message);
    for (const stream of streams) this.#failStream(stream, { error, unprocessed: false, connection: true }, "reset here");
    this.#events.wake();
  }

  #failStream(stream: Stream, failure: StreamFailure, how: "reset by the peer" | "reset here"): void {
    if (stream.closed) return;
    this.#remove(stream, how);
    stream.listener?.failed(failure);
  }

  // FrameTarget

  onIgnored(): void {
    if (!this.#nuisance.take()) throw new Http2Error(ErrorCode.ENHANCE_YOUR_CALM, "too many resets or empty frames");
  }

  /** DATA or HEADERS of a stream that is not open: an error unless they may have been on their way when it closed. */
  #notOpen(id: number, length: number): void {
    const closing = this.#streams.closing(id);
    // A client that cancels has many small frames of its server's on their way to it.
    if (!this.client && length < DRIBBLE) this.onIgnored();
    if (!isToBeTold(id, closing)) return;
    wordFrame(this.output, FrameType.RST_STREAM, id, ErrorCode.STREAM_CLOSED);
    this.#sender.wake();
  }

  onData(id: number, b: Uint8Array, start: number, end: number, last: boolean, length: number): void {
    this.#inflow.received(length);
    const stream = this.#streams.get(id);
    if (!stream) return this.#notOpen(id, length);
    if (stream.remoteEnded || (this.client && !stream.gotHead)) {
      return this.#streamError(stream, stream.remoteEnded ? ErrorCode.STREAM_CLOSED : ErrorCode.PROTOCOL_ERROR, "DATA out of place");
    }
    stream.receiveWindow -= length;
    if (stream.receiveWindow < 0) return this.#streamError(stream, ErrorCode.FLOW_CONTROL_ERROR, "more data than the stream's window");
    const size = end - start;
    if (!stream.fits(size, last)) {
      return this.#streamError(stream, ErrorCode.PROTOCOL_ERROR, "the body is not as long as its content-length");
    }
    if (size < length) stream.consume(length - size);
    if (size === 0 && !last) return this.onIgnored();
    if (last) this.#remoteEnd(stream);
    stream.listener?.data(b.subarray(start, end), last);
  }

  #remoteEnd(stream: Stream): void {
    stream.remoteEnded = true;
    if (stream.localEnded) this.#remove(stream, "ended");
  }

  onHeaders(id: number, b: Uint8Array, start: number, end: number, last: boolean): void {
    // Decoded whatever becomes of the stream: the table is the connection's.
    const block = this.#decoder.decode(b, start, end);
    const stream = this.#streams.get(id);
    if (!stream) {
      if (this.client || id <= this.#streams.lastPeerId) return this.#notOpen(id, end - start);
      return this.#newRequest(id, block, last);
    }
    if (stream.remoteEnded) return this.#streamError(stream, ErrorCode.STREAM_CLOSED, "HEADERS after the end");
    if (block.tooLarge) return this.#streamError(stream, ErrorCode.ENHANCE_YOUR_CALM, "header list too large");
    const { fields } = block;
    const head = this.client && !stream.gotHead;
    const length = head ? checkResponse(fields) : 0;
    if (block.malformed || length === MALFORMED || (!head && (malformedTrailers(fields, last) || stream.bodyLeft > 0))) {
      return this.#streamError(stream, ErrorCode.PROTOCOL_ERROR, "malformed header section");
    }
    if (head) {
      // 1xx: the answer itself is still to come (section 8.1).
      if (fields[1]!.charCodeAt(0) === 49) {
        if (last) this.#streamError(stream, ErrorCode.PROTOCOL_ERROR, "the stream ends with an interim response");
        return this.onIgnored();
      }
      stream.gotHead = true;
      // Answers to HEAD and 304 have a length and no body.
      stream.bodyLeft = last ? -1 : length;
    }
    if (last) this.#remoteEnd(stream);
    stream.listener?.headers(fields, last);
  }

  #newRequest(id: number, block: DecodedBlock, last: boolean): void {
    this.#streams.lastPeerId = id;
    // Not counted in the last GOAWAY: the client knows that it was not processed.
    if (id > this.#goaway.last) return this.#streams.refuse(id);
    const stream = new Stream(id, this, this.#peerInitialWindow, this.#inflow.streamSize);
    stream.gotHead = true;
    stream.remoteEnded = last;
    this.#streams.add(stream);
    block.request ??= checkRequest(block.fields);
    stream.bodyLeft = block.request;
    if (block.malformed || (!block.tooLarge && (block.request === MALFORMED || (last && block.request > 0)))) {
      return this.#streamError(stream, ErrorCode.PROTOCOL_ERROR, "malformed request");
    }
    if (this.#streams.size > this.#maxStreams) return this.#streamError(stream, ErrorCode.REFUSED_STREAM, "too many streams");
    if (block.tooLarge) return this.writeHeaders(stream, [":status", "431"], true);
    stream.listener = this.#events.request?.(stream, block.fields, last);
    if (!stream.listener && !stream.closed) stream.reset(ErrorCode.REFUSED_STREAM);
  }

  #streamError(stream: Stream, code: ErrorCode, message: string): void {
    this.onIgnored();
    wordFrame(this.output, FrameType.RST_STREAM, stream.id, code);
    this.#sender.wake();
    this.#failStream(stream, { error: new Http2Error(code, message), unprocessed: false, connection: false }, "reset here");
  }

  onReset(id: number, code: number): void {
    const stream = this.#streams.get(id);
    if (!stream) {
      this.#streams.checkIdle(id);
      return this.onIgnored();
    }
    if (!this.client) this.onIgnored();
    // A server that has answered wants no more of the request (section 8.1).
    if (this.client && stream.remoteEnded && code === ErrorCode.NO_ERROR) return this.#remove(stream, "reset by the peer");
    const error = new Http2Error(code, "stream terminated by RST_STREAM with error code");
    this.#failStream(stream, { error, unprocessed: code === ErrorCode.REFUSED_STREAM, connection: false }, "reset by the peer");
  }

  onSettings(b: Uint8Array, start: number, end: number): void {
    const settings = readSettings(b, start, end, this.client);
    if (this.greeted) this.onIgnored();
    this.greeted = true;
    this.peerMaxConcurrentStreams = settings.maxConcurrentStreams ?? this.peerMaxConcurrentStreams;
    this.#peerMaxHeaderListSize = settings.maxHeaderListSize ?? this.#peerMaxHeaderListSize;
    if (settings.headerTableSize !== undefined) {
      this.#sender.tableSize = settings.smallestHeaderTableSize!;
      this.#sender.tableSize = settings.headerTableSize;
    }
    if (settings.maxFrameSize !== undefined) this.#sender.frameSize = settings.maxFrameSize;
    if (settings.initialWindowSize !== undefined) {
      const change = settings.initialWindowSize - this.#peerInitialWindow;
      this.#peerInitialWindow = settings.initialWindowSize;
      if (change !== 0) for (const stream of this.#streams.values()) this.#sender.widen(stream, change);
    }
    frameHeader(this.output, 0, FrameType.SETTINGS, Flag.ACK, 0);
    this.#sender.wake();
    this.#events.settings?.();
    this.#sender.pump();
  }

  onPing(data: Uint8Array, ack: boolean): void {
    if (!ack) {
      this.#pings?.ping(this.#now(), this.#streams.size, this.#sender.frames);
      frameHeader(this.output, 8, FrameType.PING, Flag.ACK, 0);
      this.output.append(data);
      return this.#sender.wake();
    }
    if (this.#goaway.heard(data)) this.#lastStream();
    else this.#events.pong?.();
  }

  onGoaway(last: number, code: number, debug: string): void {
    this.draining = true;
    const error = new Http2Error(code, `the peer goes away${debug ? `: ${debug}` : ""}`);
    this.#events.goingAway?.(code === ErrorCode.NO_ERROR, error.message);
    if (this.client) {
      for (const stream of this.#streams.values()) {
        if (stream.id > last) this.#failStream(stream, { error, unprocessed: true, connection: true }, "reset by the peer");
      }
    }
    this.#endIfDrained();
  }

  onWindowUpdate(id: number, bytes: number): void {
    if (id === 0) {
      if (bytes === 0) throw new Http2Error(ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE of 0");
      if (bytes < DRIBBLE && this.#sender.waiting) this.onIgnored();
      this.#sender.widenConnection(bytes);
    } else {
      const stream = this.#streams.get(id);
      if (!stream) return this.#streams.checkIdle(id);
      if (bytes === 0) return this.#streamError(stream, ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE of 0");
      if (stream.sendWindow + bytes > MAX_WINDOW) return this.#streamError(stream, ErrorCode.FLOW_CONTROL_ERROR, "window too large");
      if (bytes < DRIBBLE && stream.queued > 0) this.onIgnored();
      this.#sender.widen(stream, bytes);
    }
    this.#sender.pump();
  }
}
