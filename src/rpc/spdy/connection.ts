// SPDY/3.1 as Kubernetes speaks it: github.com/moby/spdystream is the other
// end nearly everywhere. It knows no flow control, and takes a SETTINGS or
// WINDOW_UPDATE frame for an error, so none is sent; a reader that is slow
// holds up the whole connection instead.
import { MessageQueue } from "../queue.ts";
import type { ByteChannel, ByteStream } from "../remotecommand/bytes.ts";
import { HeaderReader, HeaderWriter, type SpdyHeaders } from "./headers.ts";

const Type = { SYN_STREAM: 1, SYN_REPLY: 2, RST_STREAM: 3, SETTINGS: 4, PING: 6, GOAWAY: 7, HEADERS: 8, WINDOW_UPDATE: 9 } as const;
const FIN = 1;

/** Status of RST_STREAM (section 2.6.3). */
export const RstStatus = { PROTOCOL_ERROR: 1, INVALID_STREAM: 2, REFUSED_STREAM: 3, CANCEL: 5, INTERNAL_ERROR: 6 } as const;

/** Received and not read: over the first the socket is paused, under the second it goes on. */
const HIGH_WATER = 256 * 1024;
const LOW_WATER = 64 * 1024;
const MAX_CONTROL_FRAME = 64 * 1024;
const MAX_DATA_FRAME = 64 * 1024;
const MAX_STREAMS = 1000;

export class SpdyError extends Error {
  override name = "SpdyError";
}

export class SpdyStream implements ByteStream {
  readonly id: number;
  readonly headers: SpdyHeaders;
  /** What the other side sends; ends with its FIN or its cancel, throws where it breaks off otherwise. */
  readonly readable: MessageQueue<Uint8Array>;
  /** Settles when the other side has accepted the stream; of a stream of its own at once. */
  readonly accepted: Promise<void>;
  /** @internal */
  readonly settle: { resolve(): void; reject(error: Error): void };
  localEnded = false;
  remoteEnded: boolean;
  readonly #connection: SpdyConnection;

  constructor(connection: SpdyConnection, id: number, headers: SpdyHeaders, remoteEnded: boolean) {
    this.#connection = connection;
    this.id = id;
    this.headers = headers;
    this.remoteEnded = remoteEnded;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    promise.catch(() => {});
    this.accepted = promise;
    this.settle = { resolve, reject };
    this.readable = new MessageQueue<Uint8Array>(
      (bytes) => connection.used(bytes),
      () => {},
    );
    if (remoteEnded) this.readable.end();
  }

  /** Accepts a stream that the other side has opened. */
  accept(): void {
    this.#connection.reply(this);
  }

  write(data: Uint8Array): Promise<void> | undefined {
    return this.localEnded ? undefined : this.#connection.writeData(this, data, false);
  }

  end(): void {
    if (!this.localEnded) this.#connection.writeData(this, new Uint8Array(0), true);
  }

  reset(status: number = RstStatus.CANCEL): void {
    this.#connection.reset(this, status);
  }
}

export interface SpdyEvents {
  /** The other side opens a stream: accept or reset it. */
  stream?(stream: SpdyStream): void;
  /** The connection has ended; its streams have too. */
  closed?(error: Error | undefined): void;
}

export class SpdyConnection {
  readonly #channel: ByteChannel;
  readonly #events: SpdyEvents;
  readonly #streams = new Map<number, SpdyStream>();
  readonly #writer = new HeaderWriter();
  readonly #reader = new HeaderReader();
  #nextId: number;
  readonly #client: boolean;
  #partial: Uint8Array | undefined;
  #have = 0;
  #buffered = 0;
  #paused = false;
  #closed = false;
  #goingAway = false;
  #drain: { promise: Promise<void>; resolve(): void } | undefined;

  constructor(role: "client" | "server", channel: ByteChannel, events: SpdyEvents = {}) {
    this.#channel = channel;
    this.#events = events;
    this.#client = role === "client";
    this.#nextId = this.#client ? 1 : 2;
    channel.start({
      data: (chunk) => this.#receive(chunk),
      drain: () => this.#drained(),
      closed: (error) => this.#end(error),
    });
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Opens a stream. Wait for its `accepted` before what needs an answer. */
  open(headers: SpdyHeaders): SpdyStream {
    if (this.#closed || this.#goingAway) throw new SpdyError("the SPDY connection is closed");
    const stream = new SpdyStream(this, this.#nextId, headers, false);
    this.#nextId += 2;
    this.#streams.set(stream.id, stream);
    const block = this.#writer.encode(headers);
    const frame = control(Type.SYN_STREAM, 0, 10 + block.length);
    put32(frame, 8, stream.id);
    frame.set(block, 18);
    this.#channel.write(frame);
    return stream;
  }

  /** Ends the connection after all that was written. */
  close(): void {
    if (this.#closed) return;
    const frame = control(Type.GOAWAY, 0, 8);
    this.#channel.write(frame);
    this.#channel.end();
    this.#end(undefined);
  }

  destroy(): void {
    this.#channel.destroy();
    this.#end(new SpdyError("the SPDY connection was dropped"));
  }

  /** @internal */
  reply(stream: SpdyStream): void {
    if (this.#closed) return;
    const block = this.#writer.encode({});
    const frame = control(Type.SYN_REPLY, 0, 4 + block.length);
    put32(frame, 8, stream.id);
    frame.set(block, 12);
    this.#channel.write(frame);
    stream.settle.resolve();
  }

  /** @internal */
  writeData(stream: SpdyStream, data: Uint8Array, fin: boolean): Promise<void> | undefined {
    if (this.#closed) return undefined;
    let room = true;
    let at = 0;
    do {
      const part = data.subarray(at, at + MAX_DATA_FRAME);
      at += part.length;
      const frame = new Uint8Array(8 + part.length);
      put32(frame, 0, stream.id);
      put32(frame, 4, part.length);
      if (fin) frame[4] = FIN;
      frame.set(part, 8);
      room = this.#channel.write(frame);
    } while (at < data.length);
    if (fin) {
      stream.localEnded = true;
      this.#forgetIfDone(stream);
    }
    return room ? undefined : this.#whenDrained();
  }

  /** @internal */
  reset(stream: SpdyStream, status: number): void {
    if (!this.#streams.delete(stream.id) || this.#closed) return;
    this.#sendReset(stream.id, status);
    stream.localEnded = true;
    stream.readable.end(new SpdyError("the stream was reset"));
  }

  /** @internal */
  used(bytes: number): void {
    this.#buffered -= bytes;
    if (!this.#paused || this.#buffered > LOW_WATER) return;
    this.#paused = false;
    this.#channel.resume();
  }

  #sendReset(id: number, status: number): void {
    const frame = control(Type.RST_STREAM, 0, 8);
    put32(frame, 8, id);
    put32(frame, 12, status);
    this.#channel.write(frame);
  }

  #whenDrained(): Promise<void> {
    this.#drain ??= Promise.withResolvers<void>();
    return this.#drain.promise;
  }

  #drained(): void {
    const drain = this.#drain;
    this.#drain = undefined;
    drain?.resolve();
  }

  #end(error: Error | undefined): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#drained();
    const why = error ?? new SpdyError("the SPDY connection is closed");
    for (const stream of this.#streams.values()) {
      stream.localEnded = true;
      stream.settle.reject(why);
      stream.readable.end(why);
    }
    this.#streams.clear();
    this.#events.closed?.(error);
  }

  #receive(chunk: Uint8Array): void {
    if (this.#closed) return;
    try {
      this.#parse(chunk);
    } catch (error) {
      this.#channel.destroy();
      this.#end(error instanceof Error ? error : new SpdyError(String(error)));
    }
  }

  /** Data frames are passed on as they come; control frames only when whole. */
  #parse(chunk: Uint8Array): void {
    let rest = chunk;
    if (this.#partial) {
      rest = new Uint8Array(this.#have + chunk.length);
      rest.set(this.#partial.subarray(0, this.#have));
      rest.set(chunk, this.#have);
      this.#partial = undefined;
    }
    let at = 0;
    while (!this.#closed && at < rest.length) {
      const step = this.#frame(rest, at);
      if (step === 0) break;
      at += step;
    }
    if (at < rest.length && !this.#closed) {
      this.#partial = rest.slice(at);
      this.#have = this.#partial.length;
    }
  }

  /** What is left of a data frame whose beginning has been passed on. */
  #inData: { id: number; left: number; fin: boolean } | undefined;

  /** Returns how many bytes it used, 0 for "not enough". */
  #frame(b: Uint8Array, at: number): number {
    const available = b.length - at;
    if (this.#inData) {
      const take = Math.min(available, this.#inData.left);
      this.#dataPart(this.#inData, b.subarray(at, at + take));
      return take;
    }
    if (available < 8) return 0;
    const first = get32(b, at);
    const flags = b[at + 4]!;
    const length = get32(b, at + 4) & 0xffffff;
    if (first >>> 31 === 0) {
      const data = { id: first, left: length, fin: (flags & FIN) !== 0 };
      if (length === 0) this.#dataPart(data, b.subarray(at, at));
      else this.#inData = data;
      return 8;
    }
    if (length > MAX_CONTROL_FRAME) throw new SpdyError(`a control frame of ${length} bytes`);
    if (available < 8 + length) return 0;
    if (first >>> 16 !== 0x8003) throw new SpdyError(`SPDY version ${(first >>> 16) & 0x7fff}`);
    this.#control(first & 0xffff, flags, b.subarray(at + 8, at + 8 + length));
    return 8 + length;
  }

  #dataPart(data: { id: number; left: number; fin: boolean }, part: Uint8Array): void {
    data.left -= part.length;
    this.#inData = data.left > 0 ? data : undefined;
    const stream = this.#streams.get(data.id);
    if (stream && !stream.remoteEnded && part.length > 0) {
      this.#buffered += part.length;
      if (this.#buffered > HIGH_WATER && !this.#paused) {
        this.#paused = true;
        this.#channel.pause();
      }
      stream.readable.push(part, part.length);
    }
    if (stream && data.left === 0 && data.fin) this.#remoteEnd(stream);
  }

  #remoteEnd(stream: SpdyStream): void {
    stream.remoteEnded = true;
    stream.readable.end();
    this.#forgetIfDone(stream);
  }

  #forgetIfDone(stream: SpdyStream): void {
    if (stream.localEnded && stream.remoteEnded) this.#streams.delete(stream.id);
  }

  #control(type: number, flags: number, b: Uint8Array): void {
    const need = NEED[type];
    if (need === undefined) return;
    if (b.length < need) throw new SpdyError(`a frame of type ${type} with ${b.length} bytes`);
    const id = get32(b, 0) & 0x7fffffff;
    switch (type) {
      case Type.SYN_STREAM: {
        // The headers are read whatever becomes of the stream: their compression is the connection's.
        const headers = this.#reader.decode(b.subarray(10));
        if (this.#client === (id % 2 === 1) || id === 0) throw new SpdyError(`SYN_STREAM of stream ${id}`);
        if (!this.#events.stream || this.#streams.has(id) || this.#streams.size >= MAX_STREAMS) {
          return this.#sendReset(id, this.#streams.has(id) ? RstStatus.PROTOCOL_ERROR : RstStatus.REFUSED_STREAM);
        }
        const stream = new SpdyStream(this, id, headers, (flags & FIN) !== 0);
        this.#streams.set(id, stream);
        return this.#events.stream(stream);
      }
      case Type.SYN_REPLY: {
        this.#reader.decode(b.subarray(4));
        const stream = this.#streams.get(id);
        stream?.settle.resolve();
        if (stream && flags & FIN) this.#remoteEnd(stream);
        return;
      }
      case Type.HEADERS: {
        this.#reader.decode(b.subarray(4));
        const stream = this.#streams.get(id);
        if (stream && flags & FIN) this.#remoteEnd(stream);
        return;
      }
      case Type.RST_STREAM: {
        const stream = this.#streams.get(id);
        if (!stream) return;
        this.#streams.delete(id);
        const status = get32(b, 4);
        const error = new SpdyError(`the peer reset the stream with status ${status}`);
        stream.localEnded = stream.remoteEnded = true;
        stream.settle.reject(error);
        // Go's servers cancel what is left when they are done, and its readers take that for the end.
        return stream.readable.end(status === RstStatus.CANCEL ? undefined : error);
      }
      case Type.PING:
        // One of ours has another parity (section 2.6.5).
        if (this.#client === (id % 2 === 0)) {
          const frame = control(Type.PING, 0, 4);
          frame.set(b.subarray(0, 4), 8);
          this.#channel.write(frame);
        }
        return;
      case Type.GOAWAY:
        this.#goingAway = true;
        return;
    }
  }
}

/** Fewest bytes of a control frame; types that are not here are ignored. */
const NEED: Record<number, number> = {
  [Type.SYN_STREAM]: 10,
  [Type.SYN_REPLY]: 4,
  [Type.RST_STREAM]: 8,
  [Type.PING]: 4,
  [Type.GOAWAY]: 8,
  [Type.HEADERS]: 4,
};

/** A control frame with room for `length` bytes behind its header. */
function control(type: number, flags: number, length: number): Uint8Array {
  const frame = new Uint8Array(8 + length);
  put32(frame, 0, (0x80030000 | type) >>> 0);
  put32(frame, 4, length);
  frame[4] = flags;
  return frame;
}

function put32(b: Uint8Array, at: number, value: number): void {
  b[at] = value >>> 24;
  b[at + 1] = value >>> 16;
  b[at + 2] = value >>> 8;
  b[at + 3] = value;
}

const get32 = (b: Uint8Array, at: number) => ((b[at]! << 24) | (b[at + 1]! << 16) | (b[at + 2]! << 8) | b[at + 3]!) >>> 0;
