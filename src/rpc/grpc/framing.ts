// Length-prefixed messages (grpc/grpc, doc/PROTOCOL-HTTP2.md): a byte that says
// whether the message is compressed, four of its length, the message.
import { Code, RpcError } from "../types.ts";

export const PREFIX_SIZE = 5;

/** What goes before a message of `length` bytes. */
export function prefix(length: number, flags = 0): Uint8Array {
  return Uint8Array.of(flags, length >>> 24, length >>> 16, length >>> 8, length);
}

export interface Frame {
  /** 1: compressed. gRPC-Web and Connect give other bits a meaning. */
  flags: number;
  data: Uint8Array;
  /** Bytes of the last chunk that belong to it: to be given back to the peer when it is used. */
  cost: number;
}

/** Cuts the data of a stream, however it comes in pieces, into messages. */
export class Deframer {
  readonly #maxSize: number;
  readonly #onFrame: (frame: Frame) => void;
  readonly #head = new Uint8Array(PREFIX_SIZE);
  #headLength = 0;
  #body: Uint8Array | undefined;
  #bodyLength = 0;

  /** @param maxSize most bytes of a message as it is sent */
  constructor(maxSize: number, onFrame: (frame: Frame) => void) {
    this.#maxSize = maxSize;
    this.#onFrame = onFrame;
  }

  /** In the middle of a message. */
  get partial(): boolean {
    return this.#headLength > 0;
  }

  /**
   * Takes a chunk and returns how many of its bytes belong to no whole message yet.
   * Throws RpcError with ResourceExhausted for a message that is too large.
   */
  push(chunk: Uint8Array): number {
    let at = 0;
    while (at < chunk.length) {
      const from = at;
      if (this.#headLength < PREFIX_SIZE) {
        while (this.#headLength < PREFIX_SIZE && at < chunk.length) this.#head[this.#headLength++] = chunk[at++]!;
        if (this.#headLength < PREFIX_SIZE) return at - from;
        const h = this.#head;
        const length = ((h[1]! << 24) | (h[2]! << 16) | (h[3]! << 8) | h[4]!) >>> 0;
        if (length > this.#maxSize) throw tooLarge(length, this.#maxSize);
        if (chunk.length - at >= length) {
          // A view would hold the whole chunk as long as the message lives.
          const small = length * 2 < chunk.buffer.byteLength;
          const data = small ? chunk.slice(at, at + length) : chunk.subarray(at, at + length);
          at += length;
          this.#emit(data, at - from);
          continue;
        }
        this.#body = new Uint8Array(length);
        this.#bodyLength = 0;
      }
      const body = this.#body!;
      const take = Math.min(body.length - this.#bodyLength, chunk.length - at);
      body.set(chunk.subarray(at, at + take), this.#bodyLength);
      this.#bodyLength += take;
      at += take;
      if (this.#bodyLength < body.length) return at - from;
      this.#body = undefined;
      this.#emit(body, at - from);
    }
    return 0;
  }

  #emit(data: Uint8Array, cost: number): void {
    this.#headLength = 0;
    this.#onFrame({ flags: this.#head[0]!, data, cost });
  }
}

export const tooLarge = (size: number, max: number) =>
  new RpcError(Code.ResourceExhausted, `grpc: received message larger than max (${size} vs. ${max})`);
