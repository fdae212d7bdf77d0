import { ErrorCode, Http2Error } from "./errors.ts";

/** How a stream ended, as far as it is remembered. */
export type Closing =
  /** Both sides sent END_STREAM. */
  | "ended"
  /** The peer sent RST_STREAM. */
  | "reset by the peer"
  /** RST_STREAM was sent: what the peer had on its way is ignored. */
  | "reset here"
  /** A later stream was opened before it. */
  | "never opened"
  /** Too long ago. */
  | "forgotten";

const KINDS: readonly Closing[] = ["ended", "reset by the peer", "reset here"];
const REMEMBERED = 256;

/** The last streams that have closed: what a frame for one of them means depends on how it did (RFC 9113, section 5.1). */
export class ClosedStreams {
  readonly #ids = new Uint32Array(REMEMBERED);
  readonly #kinds = new Uint8Array(REMEMBERED);
  #count = 0;

  add(id: number, closing: "ended" | "reset by the peer" | "reset here"): void {
    const at = this.#count++ % REMEMBERED;
    this.#ids[at] = id;
    this.#kinds[at] = KINDS.indexOf(closing);
  }

  /** Of a stream that is neither open nor idle. */
  find(id: number): Closing {
    const held = Math.min(this.#count, REMEMBERED);
    for (let at = 0; at < held; at++) if (this.#ids[at] === id) return KINDS[this.#kinds[at]!]!;
    return this.#count > REMEMBERED ? "forgotten" : "never opened";
  }
}

/**
 * Whether the peer has to be told that a stream which its frame is for is closed.
 *
 * @throws Http2Error where the frame can't have been on its way when the stream closed
 */
export function isToBeTold(id: number, how: Closing): boolean {
  if (how === "never opened") throw new Http2Error(ErrorCode.PROTOCOL_ERROR, `stream ${id} after a later one`);
  if (how === "ended") throw new Http2Error(ErrorCode.STREAM_CLOSED, `a frame for stream ${id}, which has ended`);
  return how === "reset by the peer";
}
