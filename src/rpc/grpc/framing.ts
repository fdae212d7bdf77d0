// Length-prefixed messages (grpc/grpc, doc/PROTOCOL-HTTP2.md): a byte that says
// whether the message is compressed, four of its length, the message.
import { Code, RpcError } from "../types.ts";

export const PREFIX_SIZE = 5;

/** What goes before a message of `length` bytes. */
export function prefix(length: number, flags = 0): Uint8Array {
  return Uint8Array.of(flags, length >>> 24, length >>> 16, length >>> 8, length);
}

export interface FrameListener {
  /**
   * @param flags 1: compressed. gRPC-Web and Connect give other bits a meaning.
   * @param cost bytes of the last chunk that belong to it: to be given back to the peer when it is used
   */
  frame(flags: number, data: Uint8Array, cost: number): void;
}

/** Cuts the data of a stream, however it comes in pieces, into messages. */
export class Deframer {
  readonly #maxSize: number;
  readonly #listener: FrameListener;
  /** The prefix of a message that has not come whole. */
  #head: Uint8Array | undefined;
  #headLength = 0;
  #body: Uint8Array | undefined;
  #bodyLength = 0;

  /** @param maxSize most bytes of a message as it is sent */
  constructor(maxSize: number, listener: FrameListener) {
    this.#maxSize = maxSize;
    this.#listener = listener;
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
    while (this.#headLength === 0 && chunk.length - at >= PREFIX_SIZE) {
      const length = this.#size(chunk, at);
      const from = at + PREFIX_SIZE;
      if (chunk.length - from < length) break;
      at = from + length;
      this.#listener.frame(chunk[from - PREFIX_SIZE]!, part(chunk, from, at), PREFIX_SIZE + length);
    }
    return at < chunk.length ? this.#pieces(chunk, at) : 0;
  }

  /** Messages of which not all, or not the beginning, is in the chunk. */
  #pieces(chunk: Uint8Array, at: number): number {
    this.#head ??= new Uint8Array(PREFIX_SIZE);
    const head = this.#head;
    while (at < chunk.length) {
      const from = at;
      if (this.#headLength < PREFIX_SIZE) {
        while (this.#headLength < PREFIX_SIZE && at < chunk.length) head[this.#headLength++] = chunk[at++]!;
        if (this.#headLength < PREFIX_SIZE) return at - from;
        const length = this.#size(head, 0);
        if (chunk.length - at >= length) {
          at += length;
          this.#emit(part(chunk, at - length, at), at - from);
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

  #size(b: Uint8Array, at: number): number {
    const length = ((b[at + 1]! << 24) | (b[at + 2]! << 16) | (b[at + 3]! << 8) | b[at + 4]!) >>> 0;
    if (length > this.#maxSize) throw tooLarge(length, this.#maxSize);
    return length;
  }

  #emit(data: Uint8Array, cost: number): void {
    this.#headLength = 0;
    this.#listener.frame(this.#head![0]!, data, cost);
  }
}

/** A view would hold the whole chunk as long as the message lives. */
function part(chunk: Uint8Array, from: number, to: number): Uint8Array {
  return (to - from) * 2 < chunk.buffer.byteLength ? chunk.slice(from, to) : chunk.subarray(from, to);
}

/** What a call ends with that is to send such a message. */
export const tooLargeToSend = (size: number, max: number) =>
  new RpcError(Code.ResourceExhausted, `trying to send message larger than max (${size} vs. ${max})`);

export const tooLarge = (size: number, max: number) =>
  new RpcError(Code.ResourceExhausted, `grpc: received message larger than max (${size} vs. ${max})`);
