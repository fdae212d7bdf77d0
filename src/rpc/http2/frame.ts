// Frames of RFC 9113, section 4 and 6.
import { ErrorCode, Http2Error } from "./errors.ts";
import type { Output } from "./output.ts";

export const FrameType = {
  DATA: 0,
  HEADERS: 1,
  PRIORITY: 2,
  RST_STREAM: 3,
  SETTINGS: 4,
  PUSH_PROMISE: 5,
  PING: 6,
  GOAWAY: 7,
  WINDOW_UPDATE: 8,
  CONTINUATION: 9,
} as const;

export const Flag = { END_STREAM: 1, ACK: 1, END_HEADERS: 4, PADDED: 8, PRIORITY: 0x20 } as const;

export const Setting = {
  HEADER_TABLE_SIZE: 1,
  ENABLE_PUSH: 2,
  MAX_CONCURRENT_STREAMS: 3,
  INITIAL_WINDOW_SIZE: 4,
  MAX_FRAME_SIZE: 5,
  MAX_HEADER_LIST_SIZE: 6,
} as const;

export const PREFACE = new TextEncoder().encode("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
export const HEADER_SIZE = 9;
export const DEFAULT_WINDOW = 65535;
export const MAX_WINDOW = 0x7fffffff;
export const DEFAULT_FRAME_SIZE = 16384;

/** Appends a frame's header; its payload of `length` bytes follows. */
export function frameHeader(out: Output, length: number, type: number, flags: number, stream: number): void {
  const at = out.reserve(HEADER_SIZE);
  putHeader(out.bytes, at, length, type, flags, stream);
}

export function putHeader(b: Uint8Array, at: number, length: number, type: number, flags: number, stream: number): void {
  b[at] = length >>> 16;
  b[at + 1] = length >>> 8;
  b[at + 2] = length;
  b[at + 3] = type;
  b[at + 4] = flags;
  putUint32(b, at + 5, stream);
}

export function putUint32(b: Uint8Array, at: number, value: number): void {
  b[at] = value >>> 24;
  b[at + 1] = value >>> 16;
  b[at + 2] = value >>> 8;
  b[at + 3] = value;
}

export const uint32 = (b: Uint8Array, at: number) => ((b[at]! << 24) | (b[at + 1]! << 16) | (b[at + 2]! << 8) | b[at + 3]!) >>> 0;

/** Appends a frame whose payload is 32-bit words. */
export function wordFrame(out: Output, type: number, stream: number, ...words: number[]): void {
  frameHeader(out, words.length * 4, type, 0, stream);
  const at = out.reserve(words.length * 4);
  for (let i = 0; i < words.length; i++) putUint32(out.bytes, at + i * 4, words[i]!);
}

export function settingsFrame(out: Output, settings: readonly (readonly [id: number, value: number])[]): void {
  frameHeader(out, settings.length * 6, FrameType.SETTINGS, 0, 0);
  for (const [id, value] of settings) {
    const at = out.reserve(6);
    out.bytes[at] = id >>> 8;
    out.bytes[at + 1] = id;
    putUint32(out.bytes, at + 2, value);
  }
}

/** Takes one whole frame, whose payload is [start, end) of `bytes`; the bytes stay as they are afterwards. */
export type FrameHandler = (type: number, flags: number, stream: number, bytes: Uint8Array, start: number, end: number) => void;

/** Cuts a byte stream, however it comes in pieces, into frames. */
export class FrameReader {
  readonly #maxFrameSize: number;
  readonly #handle: FrameHandler;
  #expect: Uint8Array | undefined;
  /** The beginning of a frame that is not whole yet. */
  #partial: Uint8Array | undefined;
  #have = 0;

  /**
   * @param maxFrameSize most bytes of a payload, as announced in SETTINGS_MAX_FRAME_SIZE
   * @param preface what has to come before the first frame
   */
  constructor(maxFrameSize: number, handle: FrameHandler, preface?: Uint8Array) {
    this.#maxFrameSize = maxFrameSize;
    this.#handle = handle;
    this.#expect = preface;
  }

  /** Throws Http2Error for a wrong preface or a frame that is too long, and what the handler throws. */
  push(chunk: Uint8Array): void {
    let at = 0;
    if (this.#expect) {
      at = this.#preface(chunk);
      if (this.#expect) return;
    }
    while (this.#partial) {
      at = this.#fill(chunk, at);
      if (this.#partial && at === chunk.length) return;
    }
    while (chunk.length - at >= HEADER_SIZE) {
      const end = at + HEADER_SIZE + this.#length(chunk, at);
      if (end > chunk.length) break;
      this.#emit(chunk, at, end);
      at = end;
    }
    if (at === chunk.length) return;
    const left = chunk.length - at;
    const size = left >= HEADER_SIZE ? HEADER_SIZE + this.#length(chunk, at) : HEADER_SIZE;
    this.#partial = new Uint8Array(size);
    this.#partial.set(chunk.subarray(at));
    this.#have = left;
  }

  #preface(chunk: Uint8Array): number {
    const expect = this.#expect!;
    const length = Math.min(expect.length, chunk.length);
    for (let i = 0; i < length; i++) {
      if (chunk[i] !== expect[i]) throw new Http2Error(ErrorCode.PROTOCOL_ERROR, "no HTTP/2 connection preface");
    }
    this.#expect = length < expect.length ? expect.subarray(length) : undefined;
    return length;
  }

  /** Adds to the partial frame; returns how far the chunk is used. */
  #fill(chunk: Uint8Array, at: number): number {
    let partial = this.#partial!;
    const take = Math.min(partial.length - this.#have, chunk.length - at);
    partial.set(chunk.subarray(at, at + take), this.#have);
    this.#have += take;
    if (this.#have < partial.length) return at + take;
    const size = HEADER_SIZE + this.#length(partial, 0);
    if (size > partial.length) {
      const whole = new Uint8Array(size);
      whole.set(partial);
      partial = this.#partial = whole;
    } else {
      this.#partial = undefined;
      this.#emit(partial, 0, size);
    }
    return at + take;
  }

  #length(b: Uint8Array, at: number): number {
    const length = (b[at]! << 16) | (b[at + 1]! << 8) | b[at + 2]!;
    if (length > this.#maxFrameSize) {
      throw new Http2Error(ErrorCode.FRAME_SIZE_ERROR, `frame of ${length} bytes, at most ${this.#maxFrameSize} are allowed`);
    }
    return length;
  }

  #emit(b: Uint8Array, at: number, end: number): void {
    this.#handle(b[at + 3]!, b[at + 4]!, uint32(b, at + 5) & MAX_WINDOW, b, at + HEADER_SIZE, end);
  }
}
