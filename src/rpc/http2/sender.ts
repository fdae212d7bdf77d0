// The sending half of a connection: frames into `output`, data only as fast as
// the peer's windows and the socket take it.
import { ErrorCode, Http2Error } from "./errors.ts";
import {
  DEFAULT_FRAME_SIZE,
  DEFAULT_WINDOW,
  Flag,
  FrameType,
  frameHeader,
  HEADER_SIZE,
  MAX_WINDOW,
  putHeader,
  putUint32,
} from "./frame.ts";
import { HpackEncoder } from "./hpack/encoder.ts";
import { Output } from "./output.ts";
import type { Stream } from "./stream.ts";

/** Output that waits for the socket: over this, data stays in the queues of its streams. */
export const HIGH_WATER = 256 * 1024;
/** Larger frames would let one stream keep the others waiting. */
const LARGEST_FRAME = 65536;

export class Sender {
  readonly output = new Output();
  readonly #encoder = new HpackEncoder();
  /** Streams with queued data whose own window is open. */
  readonly #waiting = new Set<Stream>();
  readonly #onOutput: () => void;
  readonly #onEnd: (stream: Stream) => void;
  #window = DEFAULT_WINDOW;
  #frameSize = DEFAULT_FRAME_SIZE;
  #awake = false;
  /** HEADERS and DATA frames so far. */
  frames = 0;
  /** Bytes of DATA that have gone. */
  sentData = 0;

  /**
   * @param onOutput `output` is no longer empty
   * @param onEnd END_STREAM was sent on a stream
   */
  constructor(onOutput: () => void, onEnd: (stream: Stream) => void) {
    this.#onOutput = onOutput;
    this.#onEnd = onEnd;
  }

  /** To be called after anything was put into output. */
  wake(): void {
    if (this.#awake) return;
    this.#awake = true;
    this.#onOutput();
  }

  /** The owner of the socket has written `bytes` of output. */
  taken(bytes: number): void {
    this.output.taken(bytes);
    if (this.output.length === 0) this.#awake = false;
    this.pump();
  }

  headers(stream: Stream, fields: readonly string[], end: boolean): void {
    const out = this.output;
    this.frames++;
    const before = out.length;
    out.reserve(HEADER_SIZE);
    this.#encoder.encode(fields, out);
    const length = out.length - before - HEADER_SIZE;
    const at = out.start + before;
    const flags = end ? Flag.END_STREAM : 0;
    if (length <= this.#frameSize) putHeader(out.bytes, at, length, FrameType.HEADERS, flags | Flag.END_HEADERS, stream.id);
    else {
      const block = out.bytes.slice(at + HEADER_SIZE, out.end);
      out.end = at;
      this.#continued(stream.id, block, flags);
    }
    this.wake();
    if (end) this.#onEnd(stream);
  }

  /** A header block over several frames. */
  #continued(id: number, block: Uint8Array, flags: number): void {
    for (let from = 0; from < block.length; from += this.#frameSize) {
      const part = block.subarray(from, from + this.#frameSize);
      const last = from + part.length === block.length ? Flag.END_HEADERS : 0;
      frameHeader(this.output, part.length, from ? FrameType.CONTINUATION : FrameType.HEADERS, from ? last : flags | last, id);
      this.output.append(part);
    }
  }

  /**
   * Writes data without a queue, in one frame, where windows and output have
   * room for all of it. Returns false where they have not.
   * @param flags of the five bytes before a message of gRPC; negative for none
   */
  direct(stream: Stream, data: Uint8Array, end: boolean, flags: number): boolean {
    const prefix = flags < 0 ? 0 : 5;
    const size = data.length;
    const length = size + prefix;
    const out = this.output;
    if (length > this.#frameSize || length > this.#window || length > stream.sendWindow || out.length >= HIGH_WATER) return false;
    let at = out.reserve(HEADER_SIZE + length);
    const b = out.bytes;
    putHeader(b, at, length, FrameType.DATA, end ? Flag.END_STREAM : 0, stream.id);
    at += HEADER_SIZE;
    if (prefix > 0) {
      b[at] = flags;
      putUint32(b, at + 1, size);
      at += 5;
    }
    b.set(data, at);
    stream.sendWindow -= length;
    this.#window -= length;
    this.sentData += length;
    this.frames++;
    this.wake();
    if (end) this.#onEnd(stream);
    return true;
  }

  /** Writes of a stream's queue what windows and output allow; true when nothing is left. */
  queued(stream: Stream): boolean {
    while (stream.queued > 0) {
      if (stream.sendWindow <= 0) {
        this.#waiting.delete(stream);
        return false;
      }
      if (this.#window <= 0 || this.output.length >= HIGH_WATER) {
        this.#waiting.add(stream);
        return false;
      }
      this.#data(stream);
    }
    this.#waiting.delete(stream);
    const after = stream.endAfterQueue;
    if (after) {
      stream.endAfterQueue = undefined;
      if (after !== true) this.headers(stream, after, true);
      else if (!stream.localEnded) {
        frameHeader(this.output, 0, FrameType.DATA, Flag.END_STREAM, stream.id);
        this.wake();
        this.#onEnd(stream);
      }
    }
    return true;
  }

  /** Writes one DATA frame, as large as windows and the peer allow. */
  #data(stream: Stream): void {
    const out = this.output;
    const length = Math.min(this.#window, stream.sendWindow, this.#frameSize, stream.queued);
    const end = length === stream.queued && stream.endAfterQueue === true;
    frameHeader(out, length, FrameType.DATA, end ? Flag.END_STREAM : 0, stream.id);
    stream.dequeue(length, out);
    this.#window -= length;
    this.sentData += length;
    this.frames++;
    this.wake();
    if (end) {
      stream.endAfterQueue = undefined;
      this.#onEnd(stream);
    }
  }

  /** Sends queued data, a frame of each stream in turn. */
  pump(): void {
    while (this.#waiting.size > 0 && this.#window > 0 && this.output.length < HIGH_WATER) {
      const stream = this.#waiting.values().next().value!;
      // Last in turn until the others have had theirs.
      this.#waiting.delete(stream);
      if (stream.sendWindow <= 0) continue;
      this.#data(stream);
      if (stream.queued > 0) this.#waiting.add(stream);
      else {
        this.queued(stream);
        if (!stream.localEnded) stream.listener?.drain?.();
      }
    }
  }

  /** Data waits for the connection's window or for the socket. */
  get waiting(): boolean {
    return this.#waiting.size > 0;
  }

  /** Drops what a stream has queued. */
  forget(stream: Stream): void {
    stream.queue.length = 0;
    stream.queued = 0;
    this.#waiting.delete(stream);
  }

  // What the peer says of how it wants to be sent to

  set tableSize(size: number) {
    this.#encoder.resize(size);
  }

  set frameSize(size: number) {
    this.#frameSize = Math.min(size, LARGEST_FRAME);
  }

  /** Throws Http2Error where the connection's window gets larger than it may. */
  widenConnection(bytes: number): void {
    this.#window += bytes;
    if (this.#window > MAX_WINDOW) throw new Http2Error(ErrorCode.FLOW_CONTROL_ERROR, "window too large");
  }

  /** The same for a stream's; `bytes` may be negative. */
  widen(stream: Stream, bytes: number): void {
    stream.sendWindow += bytes;
    if (stream.sendWindow > MAX_WINDOW) throw new Http2Error(ErrorCode.FLOW_CONTROL_ERROR, "window too large");
    if (stream.queued > 0 && stream.sendWindow > 0) this.#waiting.add(stream);
  }
}
