// The protobuf wire format. Messages are written from their end to their
// beginning, so that the length of a nested one is known when its tag is due.

export enum Wire {
  Varint = 0,
  Fixed64 = 1,
  Bytes = 2,
  Fixed32 = 5,
}

/** A buffer that no writer has now. What it grew to serves the next. */
let spare: Buffer | undefined;
/** More than this is given back to the system. */
const KEPT = 1 << 20;
/** Strings up to this are shorter to copy here than to hand over. */
const SHORT = 64;

/** Writes backwards into a buffer that grows at its front. Its last call is finish(). */
export class BackWriter {
  #buffer: Buffer;
  #at: number;

  constructor(size = 4096) {
    this.#buffer = spare && spare.length >= size ? spare : Buffer.allocUnsafeSlow(size);
    spare = undefined;
    this.#at = this.#buffer.length;
  }

  /** Bytes written so far. */
  get length(): number {
    return this.#buffer.length - this.#at;
  }

  /** A copy of what was written, after `prefix`. */
  finish(prefix?: Uint8Array): Uint8Array<ArrayBuffer> {
    const before = prefix?.length ?? 0;
    const out = new Uint8Array(before + this.length);
    if (prefix) out.set(prefix);
    out.set(this.#buffer.subarray(this.#at), before);
    if (this.#buffer.length <= KEPT) spare = this.#buffer;
    return out;
  }

  /** Makes room and returns where it begins; the buffer may be another one afterwards. */
  #room(size: number): number {
    if (this.#at < size) this.#grow(size);
    this.#at -= size;
    return this.#at;
  }

  #grow(size: number): void {
    const used = this.length;
    const grown = Buffer.allocUnsafeSlow(Math.max(this.#buffer.length * 2, used + size));
    this.#buffer.copy(grown, grown.length - used, this.#at);
    this.#at = grown.length - used;
    this.#buffer = grown;
  }

  /** A non-negative safe integer. */
  varint(value: number): void {
    if (value < 128) {
      // First the room: it may be in another buffer.
      const at = this.#room(1);
      this.#buffer[at] = value;
      return;
    }
    let size = 2;
    for (let rest = Math.floor(value / 128); rest >= 128; rest = Math.floor(rest / 128)) size++;
    let at = this.#room(size);
    while (value >= 128) {
      this.#buffer[at++] = (value % 128) | 128;
      value = Math.floor(value / 128);
    }
    this.#buffer[at] = value;
  }

  /** Two's complement in 64 bits, as int32 and int64 are. */
  int(value: number): void {
    if (value >= 0) {
      this.varint(value);
      return;
    }
    let rest = BigInt.asUintN(64, BigInt(value));
    let at = this.#room(10);
    for (let i = 0; i < 9; i++, rest >>= 7n) this.#buffer[at++] = Number(rest & 127n) | 128;
    this.#buffer[at] = Number(rest);
  }

  double(value: number): void {
    const at = this.#room(8);
    this.#buffer.writeDoubleLE(value, at);
  }

  /** Bytes without their length. */
  raw(value: Uint8Array): void {
    const at = this.#room(value.length);
    this.#buffer.set(value, at);
  }

  bytes(value: Uint8Array): void {
    this.raw(value);
    this.varint(value.length);
  }

  string(value: string): void {
    const { length } = value;
    if (length <= SHORT) {
      const at = this.#room(length);
      const buffer = this.#buffer;
      let i = 0;
      for (; i < length; i++) {
        const code = value.charCodeAt(i);
        if (code > 127) break;
        buffer[at + i] = code;
      }
      if (i === length) return this.varint(length);
      this.#at += length;
    }
    const size = Buffer.byteLength(value);
    const at = this.#room(size);
    this.#buffer.write(value, at, size, "utf8");
    this.varint(size);
  }

  base64(value: string): void {
    const size = Buffer.byteLength(value, "base64");
    const at = this.#room(size);
    this.#buffer.write(value, at, size, "base64");
    this.varint(size);
  }

  tag(number: number, wire: Wire): void {
    this.varint(number * 8 + wire);
  }

  /** Writes a field of bytes whose content `write` writes. */
  nested(number: number, write: () => void): void {
    const before = this.length;
    write();
    this.varint(this.length - before);
    this.tag(number, Wire.Bytes);
  }

  stringField(number: number, value: string): void {
    this.string(value);
    this.tag(number, Wire.Bytes);
  }
}

/** Bytes that are no protobuf message. */
export class WireError extends Error {
  override name = "WireError";
}

const utf8 = new TextDecoder("utf-8", { fatal: false });

/** Reads forwards. Throws a WireError where the bytes end early. */
export class Reader {
  readonly #buffer: Buffer;
  #at: number;
  readonly #end: number;

  constructor(bytes: Uint8Array, start = 0, end = bytes.length) {
    this.#buffer = Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#at = start;
    this.#end = end;
  }

  get done(): boolean {
    return this.#at >= this.#end;
  }

  #take(size: number): number {
    const at = this.#at;
    if (size < 0 || at + size > this.#end) throw new WireError("unexpected EOF");
    this.#at = at + size;
    return at;
  }

  varint(): number {
    let value = 0;
    let factor = 1;
    for (let i = 0; i < 10; i++) {
      const byte = this.#buffer[this.#take(1)]!;
      // Beyond 49 bits only a negative number, or one that is no safe integer, has more.
      if (i === 7) return this.#long(value, byte);
      value += (byte & 127) * factor;
      if (byte < 128) return value;
      factor *= 128;
    }
    throw new WireError("proto: integer overflow");
  }

  #long(low: number, first: number): number {
    let value = BigInt(low);
    let byte = first;
    for (let shift = 49n; ; shift += 7n) {
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) return Number(BigInt.asIntN(64, value));
      if (shift >= 63n) throw new WireError("proto: integer overflow");
      byte = this.#buffer[this.#take(1)]!;
    }
  }

  double(): number {
    return this.#buffer.readDoubleLE(this.#take(8));
  }

  string(): string {
    const size = this.varint();
    const at = this.#take(size);
    return size < 256 ? this.#buffer.toString("utf8", at, at + size) : utf8.decode(this.#buffer.subarray(at, at + size));
  }

  bytes(): Uint8Array {
    const size = this.varint();
    const at = this.#take(size);
    return this.#buffer.subarray(at, at + size);
  }

  base64(): string {
    const size = this.varint();
    const at = this.#take(size);
    return this.#buffer.toString("base64", at, at + size);
  }

  /** A reader over the message that stands here. */
  nested(): Reader {
    const size = this.varint();
    const at = this.#take(size);
    return new Reader(this.#buffer, at, at + size);
  }

  /** Passes over a value of an unknown field. */
  skip(wire: number): void {
    if (wire === Wire.Varint) this.varint();
    else if (wire === Wire.Fixed64) this.#take(8);
    else if (wire === Wire.Bytes) this.#take(this.varint());
    else if (wire === Wire.Fixed32) this.#take(4);
    else throw new WireError(`proto: illegal wireType ${wire}`);
  }
}
