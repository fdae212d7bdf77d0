// The protobuf wire format. Messages are written from their end to their
// beginning, so that the length of a nested one is known when its tag is due.

export enum Wire {
  Varint = 0,
  Fixed64 = 1,
  Bytes = 2,
  Fixed32 = 5,
}

/** Writes backwards into a buffer that grows at its front. */
export class BackWriter {
  #buffer: Buffer;
  #at: number;

  constructor(size = 1024) {
    this.#buffer = Buffer.allocUnsafe(size);
    this.#at = size;
  }

  /** Bytes written so far. */
  get length(): number {
    return this.#buffer.length - this.#at;
  }

  /** A copy of what was written. */
  finish(): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.#buffer.subarray(this.#at));
  }

  /** Makes room and returns where it begins; the buffer may be another one afterwards. */
  #room(size: number): number {
    if (this.#at < size) {
      const used = this.length;
      const grown = Buffer.allocUnsafe(Math.max(this.#buffer.length * 2, used + size));
      this.#buffer.copy(grown, grown.length - used, this.#at);
      this.#at = grown.length - used;
      this.#buffer = grown;
    }
    this.#at -= size;
    return this.#at;
  }

  /** A non-negative safe integer. */
  varint(value: number): void {
    let size = 1;
    for (let rest = value; rest >= 128; rest = Math.floor(rest / 128)) size++;
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

  bytes(value: Uint8Array): void {
    const at = this.#room(value.length);
    this.#buffer.set(value, at);
    this.varint(value.length);
  }

  string(value: string): void {
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
