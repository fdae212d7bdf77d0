import { ErrorCode, Http2Error } from "./errors.ts";

const MAX_CONTINUATIONS = 64;

/** A header block that goes on in CONTINUATION frames. */
export class HeaderBlock {
  readonly stream: number;
  /** Of its HEADERS frame. */
  readonly flags: number;
  readonly #maxSize: number;
  readonly #parts: Uint8Array[];
  #size: number;

  constructor(stream: number, flags: number, first: Uint8Array, maxSize: number) {
    this.stream = stream;
    this.flags = flags;
    this.#maxSize = maxSize;
    this.#parts = [first];
    this.#size = first.length;
  }

  /** Throws Http2Error where it gets larger, or comes in more parts, than any right one. */
  add(part: Uint8Array): void {
    this.#parts.push(part);
    this.#size += part.length;
    if (this.#size > this.#maxSize || this.#parts.length > MAX_CONTINUATIONS) {
      throw new Http2Error(ErrorCode.ENHANCE_YOUR_CALM, "header block too large");
    }
  }

  get bytes(): Uint8Array {
    const whole = new Uint8Array(this.#size);
    let at = 0;
    for (const part of this.#parts) {
      whole.set(part, at);
      at += part.length;
    }
    return whole;
  }
}
