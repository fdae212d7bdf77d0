// WebSocket frames (RFC 6455, section 5), the server's side and the client's.

export const Opcode = { CONTINUATION: 0, TEXT: 1, BINARY: 2, CLOSE: 8, PING: 9, PONG: 10 } as const;

/** Why a connection is closed (section 7.4.1). */
export const CloseCode = { NORMAL: 1000, GOING_AWAY: 1001, PROTOCOL_ERROR: 1002, TOO_LARGE: 1009, INTERNAL: 1011 } as const;

export class WebSocketError extends Error {
  readonly code: number;
  constructor(code: number, message: string) {
    super(message);
    this.name = "WebSocketError";
    this.code = code;
  }
}

/** A frame as bytes; a client gives the mask, which it has to use. */
export function encodeFrame(opcode: number, payload: Uint8Array, mask?: Uint8Array): Uint8Array {
  const { length } = payload;
  const extended = length < 126 ? 0 : length < 65536 ? 2 : 8;
  const start = 2 + extended + (mask ? 4 : 0);
  const frame = new Uint8Array(start + length);
  frame[0] = 0x80 | opcode;
  frame[1] = (mask ? 0x80 : 0) | (extended === 0 ? length : extended === 2 ? 126 : 127);
  const view = new DataView(frame.buffer);
  if (extended === 2) view.setUint16(2, length);
  else if (extended === 8) view.setBigUint64(2, BigInt(length));
  frame.set(payload, start);
  if (mask) {
    frame.set(mask, start - 4);
    for (let i = 0; i < length; i++) frame[start + i]! ^= mask[i & 3]!;
  }
  return frame;
}

export interface FrameEvents {
  /** A whole message: TEXT or BINARY. */
  message(opcode: number, data: Uint8Array): void;
  ping(data: Uint8Array): void;
  pong?(data: Uint8Array): void;
  close(code: number, reason: string): void;
}

/** Cuts a byte stream, however it comes in pieces, into messages. */
export class FrameParser {
  readonly #events: FrameEvents;
  readonly #masked: boolean;
  readonly #maxSize: number;
  /** What is not parsed yet: the first #have bytes. */
  #rest: Uint8Array = new Uint8Array(0);
  #have = 0;
  #need = 2;
  #parts: Uint8Array[] = [];
  #partsSize = 0;
  #opcode = 0;

  /**
   * @param masked whether frames have to be masked: true for those of a client
   * @param maxSize most bytes of a message
   */
  constructor(events: FrameEvents, masked: boolean, maxSize = 16 * 1024 * 1024) {
    this.#events = events;
    this.#masked = masked;
    this.#maxSize = maxSize;
  }

  /** Throws WebSocketError where the peer breaks the protocol. */
  push(chunk: Uint8Array): void {
    const bytes = this.#have > 0 ? this.#append(chunk) : chunk;
    if (bytes.length < this.#need) {
      if (bytes === chunk) this.#keep(chunk);
      return;
    }
    let at = 0;
    for (;;) {
      const used = this.#frame(bytes, at);
      if (used === 0) break;
      at += used;
    }
    this.#need -= at;
    this.#keep(bytes.subarray(at));
  }

  #keep(bytes: Uint8Array): void {
    this.#rest = bytes.slice();
    this.#have = bytes.length;
  }

  /** Doubles the buffer where it has to grow, so that a long message costs no more than its length. */
  #append(chunk: Uint8Array): Uint8Array {
    const have = this.#have + chunk.length;
    if (this.#rest.length < have) {
      const larger = new Uint8Array(Math.max(have, this.#rest.length * 2));
      larger.set(this.#rest.subarray(0, this.#have));
      this.#rest = larger;
    }
    this.#rest.set(chunk, this.#have);
    this.#have = have;
    return this.#rest.subarray(0, have);
  }

  /** Returns how many bytes it used, or 0 with #need set to where the frame ends, from the start of `b`. */
  #frame(b: Uint8Array, at: number): number {
    this.#need = at + 2;
    if (b.length < this.#need) return 0;
    const first = b[at]!;
    const second = b[at + 1]!;
    const opcode = first & 15;
    const fin = (first & 0x80) !== 0;
    if (first & 0x70) throw new WebSocketError(CloseCode.PROTOCOL_ERROR, "a reserved bit is set");
    if (((second & 0x80) !== 0) !== this.#masked) throw new WebSocketError(CloseCode.PROTOCOL_ERROR, "wrong mask bit");
    let length = second & 0x7f;
    const extended = length === 126 ? 2 : length === 127 ? 8 : 0;
    const start = at + 2 + extended + (this.#masked ? 4 : 0);
    this.#need = start;
    if (b.length < start) return 0;
    const view = new DataView(b.buffer, b.byteOffset, b.byteLength);
    if (extended === 2) length = view.getUint16(at + 2);
    else if (extended === 8) length = Number(view.getBigUint64(at + 2));
    if (opcode >= 8 && (!fin || length > 125)) throw new WebSocketError(CloseCode.PROTOCOL_ERROR, "a control frame too long or in parts");
    if (length + this.#partsSize > this.#maxSize) throw new WebSocketError(CloseCode.TOO_LARGE, `a message over ${this.#maxSize} bytes`);
    this.#need = start + length;
    if (b.length < this.#need) return 0;
    const payload = b.slice(start, start + length);
    if (this.#masked) for (let i = 0; i < length; i++) payload[i]! ^= b[start - 4 + (i & 3)]!;
    if (opcode >= 8) this.#control(opcode, payload);
    else this.#data(opcode, payload, fin);
    return start + length - at;
  }

  #control(opcode: number, payload: Uint8Array): void {
    if (opcode === Opcode.PING) this.#events.ping(payload);
    else if (opcode === Opcode.PONG) this.#events.pong?.(payload);
    else if (opcode === Opcode.CLOSE) {
      const code = payload.length >= 2 ? payload[0]! * 256 + payload[1]! : 1005;
      this.#events.close(code, new TextDecoder().decode(payload.subarray(2)));
    } else throw new WebSocketError(CloseCode.PROTOCOL_ERROR, `opcode ${opcode}`);
  }

  #data(opcode: number, payload: Uint8Array, fin: boolean): void {
    const first = this.#parts.length === 0;
    if (opcode > Opcode.BINARY || first !== (opcode !== Opcode.CONTINUATION)) {
      throw new WebSocketError(CloseCode.PROTOCOL_ERROR, `opcode ${opcode} out of place`);
    }
    if (first && fin) return this.#events.message(opcode, payload);
    if (first) this.#opcode = opcode;
    this.#parts.push(payload);
    this.#partsSize += payload.length;
    if (!fin) return;
    const whole = new Uint8Array(this.#partsSize);
    let at = 0;
    for (const part of this.#parts) {
      whole.set(part, at);
      at += part.length;
    }
    this.#parts = [];
    this.#partsSize = 0;
    this.#events.message(this.#opcode, whole);
  }
}
