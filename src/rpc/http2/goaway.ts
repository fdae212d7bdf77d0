import type { ErrorCode } from "./errors.ts";
import { FrameType, frameHeader, MAX_WINDOW, putUint32 } from "./frame.ts";
import type { Output } from "./output.ts";

/** The way a server leaves: a warning, a round trip in which streams may still come, and the last one named (RFC 9113, section 6.8). */
export class Goaway {
  readonly #output: Output;
  #last = MAX_WINDOW + 1;
  #warned = false;

  constructor(output: Output) {
    this.#output = output;
  }

  /** Streams beyond have been told that they are not processed. */
  get last(): number {
    return this.#last;
  }

  get sent(): boolean {
    return this.#last <= MAX_WINDOW;
  }

  send(last: number, code: ErrorCode, debug = ""): void {
    const text = new TextEncoder().encode(debug.slice(0, 200));
    frameHeader(this.#output, 8 + text.length, FrameType.GOAWAY, 0, 0);
    const at = this.#output.reserve(8);
    putUint32(this.#output.bytes, at, last);
    putUint32(this.#output.bytes, at + 4, code);
    this.#output.append(text);
    this.#last = last;
  }

  /** Names no last stream yet: the answer to the PING behind it says that the peer knows. */
  warn(code: ErrorCode): void {
    this.send(MAX_WINDOW, code);
    pingFrame(this.#output, DRAIN);
    this.#warned = true;
  }

  /** Whether the payload of a PING's ACK is the one of warn(). */
  heard(data: Uint8Array): boolean {
    if (!this.#warned || data[0] !== DRAIN[0]) return false;
    this.#warned = false;
    return true;
  }
}

export function pingFrame(out: Output, data: Uint8Array): void {
  frameHeader(out, 8, FrameType.PING, 0, 0);
  out.append(data);
}

export const KEEPALIVE = Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 1);
const DRAIN = Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 1);
