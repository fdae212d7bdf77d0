// A peer of HTTP/2 that sends whatever a test wants over a real socket, and
// writes down what comes back, a line a frame.
import type { Socket } from "bun";
import { ErrorCode } from "../http2/errors.ts";
import { Flag, FrameReader, FrameType, frameHeader, PREFACE, Setting, settingsFrame, uint32, wordFrame } from "../http2/frame.ts";
import { HpackDecoder } from "../http2/hpack/decoder.ts";
import { HpackEncoder } from "../http2/hpack/encoder.ts";
import { Output } from "../http2/output.ts";

const NAMES = Object.fromEntries(Object.entries(FrameType).map(([name, type]) => [type, name]));

/** Builds bytes to send, frame by frame. */
export class Frames {
  readonly out = new Output();
  readonly encoder = new HpackEncoder();

  preface(settings: [number, number][] = []): this {
    this.out.append(PREFACE);
    return this.settings(settings);
  }

  settings(settings: [number, number][] = []): this {
    settingsFrame(this.out, settings);
    return this;
  }

  frame(type: number, flags: number, stream: number, payload: Uint8Array | readonly number[] = []): this {
    frameHeader(this.out, payload.length, type, flags, stream);
    this.out.append(Uint8Array.from(payload));
    return this;
  }

  words(type: number, stream: number, ...words: number[]): this {
    wordFrame(this.out, type, stream, ...words);
    return this;
  }

  block(fields: readonly string[]): Uint8Array {
    const block = new Output();
    this.encoder.encode(fields, block);
    return block.bytes.slice(block.start, block.end);
  }

  headers(stream: number, fields: readonly string[], flags: number = Flag.END_HEADERS | Flag.END_STREAM): this {
    return this.frame(FrameType.HEADERS, flags, stream, this.block(fields));
  }

  data(stream: number, length: number, end = false): this {
    return this.frame(FrameType.DATA, end ? Flag.END_STREAM : 0, stream, new Uint8Array(length));
  }

  ping(n: number): this {
    return this.frame(FrameType.PING, 0, 0, [0xaa, 0, 0, 0, 0, 0, 0, n]);
  }

  times(count: number, what: (i: number) => void): this {
    for (let i = 0; i < count; i++) what(i);
    return this;
  }

  take(): Uint8Array {
    const bytes = this.out.bytes.slice(this.out.start, this.out.end);
    this.out.taken(bytes.length);
    return bytes;
  }
}

/** One end of a socket. */
export class RawPeer {
  /** What came, such as "HEADERS 1 END_STREAM :status=200" or "GOAWAY PROTOCOL_ERROR". */
  readonly lines: string[] = [];
  readonly frames = new Frames();
  /** Bytes of DATA by stream. */
  readonly received = new Map<number, number>();
  /** Header blocks as they came. */
  readonly blocks: Uint8Array[] = [];
  closed = false;
  readonly #reader: FrameReader;
  readonly #decoder = new HpackDecoder(4096, 1 << 24);
  #socket: Socket<unknown> | undefined;
  #backlog: Uint8Array[] = [];
  #wake: (() => void)[] = [];
  #block: { head: string; parts: Uint8Array[] } | undefined;
  onFrame: (type: number, flags: number, id: number) => void = () => {};
  onData: (id: number, length: number) => void = () => {};

  /** @param preface the peer at the other end is a client */
  constructor(preface = false) {
    this.#reader = new FrameReader(0xffffff, (...frame) => this.#frame(...frame), preface ? PREFACE : undefined);
  }

  static async connect(port: number): Promise<RawPeer> {
    const peer = new RawPeer();
    await Bun.connect({ hostname: "127.0.0.1", port, socket: peer.handler });
    return peer;
  }

  readonly handler = {
    binaryType: "uint8array" as const,
    open: (socket: Socket<unknown>) => {
      this.#socket = socket;
      this.#flush();
    },
    data: (_: unknown, chunk: Uint8Array) => {
      this.#reader.push(chunk);
      this.#tell();
    },
    drain: () => this.#flush(),
    close: () => this.#gone(),
    error: () => this.#gone(),
    connectError: () => this.#gone(),
  };

  #gone(): void {
    this.closed = true;
    this.#tell();
  }

  #tell(): void {
    for (const wake of this.#wake.splice(0)) wake();
  }

  /** Sends what `build` makes, after what is waiting. */
  send(build: (frames: Frames) => void): this {
    build(this.frames);
    return this.write(this.frames.take());
  }

  write(bytes: Uint8Array): this {
    this.#backlog.push(bytes);
    this.#flush();
    return this;
  }

  #flush(): void {
    while (this.#socket && !this.closed && this.#backlog.length > 0) {
      const first = this.#backlog[0]!;
      const written = Math.max(0, this.#socket.write(first));
      if (written === first.length) this.#backlog.shift();
      else {
        this.#backlog[0] = first.subarray(written);
        return;
      }
    }
  }

  /** Waits until something holds of what has come, or the socket has closed; throws with what came after `ms`. */
  async until(what: () => boolean, ms = 20_000): Promise<void> {
    const deadline = Date.now() + ms;
    while (!what() && !this.closed) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wake.push(resolve);
      const timer = setTimeout(resolve, Math.max(0, deadline - Date.now()));
      await promise;
      clearTimeout(timer);
      if (Date.now() >= deadline && !what()) throw new Error(`within ${ms} ms came only: ${this.lines.join(", ")}`);
    }
  }

  /** Waits for the answer to a PING that is sent behind all else, or for the end. */
  async settled(): Promise<this> {
    const n = 1 + this.lines.filter((line) => line.startsWith("PONG")).length;
    this.send((frames) => frames.ping(n));
    await this.until(() => this.lines.includes(`PONG ${n}`));
    return this;
  }

  /** Closes the socket behind what was sent. */
  finish(): void {
    this.#socket?.end();
  }

  /** Resets the socket. */
  end(): void {
    this.#socket?.terminate();
  }

  #frame(type: number, flags: number, id: number, b: Uint8Array, start: number, end: number): void {
    this.#write(type, flags, id, b, start, end);
    this.onFrame(type, flags, id);
  }

  #write(type: number, flags: number, id: number, b: Uint8Array, start: number, end: number): void {
    const last = flags & Flag.END_STREAM ? " END_STREAM" : "";
    switch (type) {
      case FrameType.DATA:
        this.onData(id, end - start);
        this.received.set(id, (this.received.get(id) ?? 0) + end - start);
        if (last) this.lines.push(`DATA ${id}${last}`);
        return;
      case FrameType.HEADERS:
        this.#block = { head: `HEADERS ${id}${last}`, parts: [] };
        return this.#part(flags, b.slice(start, end));
      case FrameType.CONTINUATION:
        return this.#part(flags, b.slice(start, end));
      case FrameType.RST_STREAM:
        return void this.lines.push(`RST_STREAM ${id} ${ErrorCode[uint32(b, start)]}`);
      case FrameType.GOAWAY: {
        const debug = new TextDecoder().decode(b.subarray(start + 8, end));
        return void this.lines.push(`GOAWAY ${ErrorCode[uint32(b, start + 4)]}${debug === "too_many_pings" ? ` ${debug}` : ""}`);
      }
      case FrameType.PING:
        return void this.lines.push(flags & Flag.ACK ? `PONG ${b[end - 1]}` : "PING");
      case FrameType.SETTINGS:
        return void this.lines.push(flags & Flag.ACK ? "SETTINGS ACK" : "SETTINGS");
      case FrameType.WINDOW_UPDATE:
        return;
      default:
        this.lines.push(`${NAMES[type] ?? type} ${id}`);
    }
  }

  #part(flags: number, part: Uint8Array): void {
    const block = this.#block!;
    block.parts.push(part);
    if (!(flags & Flag.END_HEADERS)) return;
    this.#block = undefined;
    const whole = new Uint8Array(Buffer.concat(block.parts));
    this.blocks.push(whole);
    const { fields } = this.#decoder.decode(whole);
    const values = [":status", "grpc-message"].map((name) => fields.indexOf(name)).filter((at) => at >= 0);
    this.lines.push([block.head, ...values.map((at) => fields[at + 1])].join(" "));
  }
}

export { ErrorCode, Flag, FrameType, Setting };
