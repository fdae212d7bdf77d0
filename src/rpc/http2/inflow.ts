import { ErrorCode, Http2Error } from "./errors.ts";
import { FrameType, wordFrame } from "./frame.ts";
import type { Output } from "./output.ts";
import type { Stream } from "./stream.ts";

/** What the peer may send (RFC 9113, section 5.2): the connection's window is given back at once, a stream's when its reader has used it. */
export class Inflow {
  readonly #output: Output;
  readonly #wake: () => void;
  readonly #size: number;
  readonly #streamSize: number;
  #window: number;

  /**
   * @param size bytes of the connection's window
   * @param streamSize the same of each stream
   * @param wake something was put into `output`
   */
  constructor(output: Output, size: number, streamSize: number, wake: () => void) {
    this.#output = output;
    this.#size = this.#window = size;
    this.#streamSize = streamSize;
    this.#wake = wake;
  }

  /** Of a new stream. */
  get streamSize(): number {
    return this.#streamSize;
  }

  /** Throws Http2Error for more than the connection's window. */
  received(length: number): void {
    this.#window -= length;
    if (this.#window < 0) throw new Http2Error(ErrorCode.FLOW_CONTROL_ERROR, "more data than the connection's window");
    // Streams hold each other up by their own windows only.
    if (this.#window >= this.#size / 2) return;
    wordFrame(this.#output, FrameType.WINDOW_UPDATE, 0, this.#size - this.#window);
    this.#window = this.#size;
    this.#wake();
  }

  consumed(stream: Stream, bytes: number): void {
    stream.unacknowledged += bytes;
    if (stream.unacknowledged < this.#streamSize / 2) return;
    wordFrame(this.#output, FrameType.WINDOW_UPDATE, stream.id, stream.unacknowledged);
    stream.receiveWindow += stream.unacknowledged;
    stream.unacknowledged = 0;
    this.#wake();
  }
}
