// The syntax of frames (RFC 9113, section 6): sizes, padding, which frames
// belong to a stream and which to the connection, and header blocks made whole.
import { ErrorCode, Http2Error } from "./errors.ts";
import { Flag, FrameReader, FrameType, MAX_WINDOW, PREFACE, uint32 } from "./frame.ts";
import { HeaderBlock } from "./headerblock.ts";

/** What frames mean is for the connection. Bytes stay as they are afterwards. */
export interface FrameTarget {
  /** `length` counts for flow control: the payload with its padding. */
  onData(id: number, b: Uint8Array, start: number, end: number, last: boolean, length: number): void;
  onHeaders(id: number, b: Uint8Array, start: number, end: number, last: boolean): void;
  onReset(id: number, code: number): void;
  /** The payload of a SETTINGS frame that is no ACK. */
  onSettings(b: Uint8Array, start: number, end: number): void;
  onPing(data: Uint8Array, ack: boolean): void;
  onGoaway(last: number, code: number, debug: string): void;
  onWindowUpdate(id: number, increment: number): void;
  /** A frame that means nothing, such as PRIORITY or one of an unknown type. */
  onIgnored(): void;
}

/** Compressed, no header list within the limit takes this much more than it. */
const BLOCK_SLACK = 65536;

export class FrameParser {
  readonly #target: FrameTarget;
  readonly #reader: FrameReader;
  readonly #client: boolean;
  readonly #maxBlock: number;
  #gotSettings = false;
  #block: HeaderBlock | undefined;

  /**
   * @param client the frames come from a server
   * @param maxFrameSize as announced in SETTINGS_MAX_FRAME_SIZE
   */
  constructor(target: FrameTarget, client: boolean, maxFrameSize: number, maxHeaderListSize: number) {
    this.#target = target;
    this.#client = client;
    this.#maxBlock = maxHeaderListSize + BLOCK_SLACK;
    this.#reader = new FrameReader(maxFrameSize, this.#frame, client ? undefined : PREFACE);
  }

  /** Throws Http2Error where the peer breaks the rules, and what the target throws. */
  push(chunk: Uint8Array): void {
    this.#reader.push(chunk);
  }

  readonly #frame = (type: number, flags: number, id: number, b: Uint8Array, start: number, end: number): void => {
    if (this.#block && (type !== FrameType.CONTINUATION || id !== this.#block.stream)) throw protocol("a frame within a header block");
    if (!this.#gotSettings) {
      if (type !== FrameType.SETTINGS || flags & Flag.ACK) throw protocol("the first frame is not SETTINGS");
      this.#gotSettings = true;
    }
    switch (type) {
      case FrameType.DATA:
        return this.#data(flags, id, b, start, end);
      case FrameType.HEADERS:
        return this.#headers(flags, id, b, start, end);
      case FrameType.CONTINUATION:
        return this.#continuation(flags, b, start, end);
      case FrameType.PRIORITY:
        ofStream(id, "PRIORITY");
        size(end - start === 5, "PRIORITY");
        return this.#target.onIgnored();
      case FrameType.RST_STREAM:
        ofStream(id, "RST_STREAM");
        size(end - start === 4, "RST_STREAM");
        return this.#target.onReset(id, uint32(b, start));
      case FrameType.SETTINGS:
        ofConnection(id, "SETTINGS");
        size(flags & Flag.ACK ? start === end : (end - start) % 6 === 0, "SETTINGS");
        if (!(flags & Flag.ACK)) this.#target.onSettings(b, start, end);
        return;
      case FrameType.PUSH_PROMISE:
        throw protocol("PUSH_PROMISE is not allowed");
      case FrameType.PING:
        ofConnection(id, "PING");
        size(end - start === 8, "PING");
        return this.#target.onPing(b.subarray(start, end), (flags & Flag.ACK) !== 0);
      case FrameType.GOAWAY: {
        ofConnection(id, "GOAWAY");
        size(end - start >= 8, "GOAWAY");
        const debug = new TextDecoder().decode(b.subarray(start + 8, Math.min(end, start + 208)));
        return this.#target.onGoaway(uint32(b, start) & MAX_WINDOW, uint32(b, start + 4), debug);
      }
      case FrameType.WINDOW_UPDATE:
        size(end - start === 4, "WINDOW_UPDATE");
        return this.#target.onWindowUpdate(id, uint32(b, start) & MAX_WINDOW);
      default:
        return this.#target.onIgnored();
    }
  };

  #data(flags: number, id: number, b: Uint8Array, start: number, end: number): void {
    ofStream(id, "DATA");
    const length = end - start;
    if (flags & Flag.PADDED) {
      end -= padding(b, start, end);
      start++;
    }
    this.#target.onData(id, b, start, end, (flags & Flag.END_STREAM) !== 0, length);
  }

  #headers(flags: number, id: number, b: Uint8Array, start: number, end: number): void {
    if (id === 0 || (!this.#client && id % 2 === 0)) throw protocol(`HEADERS of stream ${id}`);
    if (flags & Flag.PADDED) {
      end -= padding(b, start, end);
      start++;
    }
    if (flags & Flag.PRIORITY) start += 5;
    size(start <= end, "HEADERS");
    if (flags & Flag.END_HEADERS) this.#target.onHeaders(id, b, start, end, (flags & Flag.END_STREAM) !== 0);
    else this.#block = new HeaderBlock(id, flags, b.slice(start, end), this.#maxBlock);
  }

  #continuation(flags: number, b: Uint8Array, start: number, end: number): void {
    const block = this.#block;
    if (!block) throw protocol("CONTINUATION without a header block");
    block.add(b.slice(start, end));
    if (!(flags & Flag.END_HEADERS)) return;
    this.#block = undefined;
    const whole = block.bytes;
    this.#target.onHeaders(block.stream, whole, 0, whole.length, (block.flags & Flag.END_STREAM) !== 0);
  }
}

/** The padding of [start, end), whose first byte says how much there is. */
function padding(b: Uint8Array, start: number, end: number): number {
  size(end > start, "frame with padding");
  if (b[start]! >= end - start) throw protocol("padding longer than its frame");
  return b[start]!;
}

const protocol = (what: string) => new Http2Error(ErrorCode.PROTOCOL_ERROR, what);

function ofStream(id: number, frame: string): void {
  if (id === 0) throw protocol(`${frame} of stream 0`);
}

function ofConnection(id: number, frame: string): void {
  if (id !== 0) throw protocol(`${frame} of a stream`);
}

function size(right: boolean, frame: string): void {
  if (!right) throw new Http2Error(ErrorCode.FRAME_SIZE_ERROR, `${frame} of a wrong size`);
}
