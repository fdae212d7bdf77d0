// Just enough of protobuf's encoding for Raft's messages, of which there may be
// a hundred thousand entries a second: no objects between the core's and the bytes.

const VARINT = 0;
const FIXED64 = 1;
const BYTES = 2;
const FIXED32 = 5;

/** Bytes that a number takes. */
export function varintBytes(n: number): number {
  let bytes = 1;
  for (let rest = n; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes++;
  return bytes;
}

export class Writer {
  #bytes = new Uint8Array(4096);
  #view = new DataView(this.#bytes.buffer);
  #at = 0;

  /** A copy of what was written; the writer starts over. */
  take(): Uint8Array {
    const out = this.#bytes.slice(0, this.#at);
    this.#at = 0;
    if (this.#bytes.length > 4 << 20) this.#resize(4096);
    return out;
  }

  /** A safe integer that is not negative; 0 is not written, being the default. */
  uint(field: number, n: number): void {
    if (n === 0) return;
    this.#room(20);
    this.#varint((field << 3) | VARINT);
    this.#varint(n);
  }

  bool(field: number, b: boolean): void {
    this.uint(field, b ? 1 : 0);
  }

  fixed64(field: number, n: bigint): void {
    if (n === 0n) return;
    this.#room(16);
    this.#varint((field << 3) | FIXED64);
    this.#view.setBigUint64(this.#at, n, true);
    this.#at += 8;
  }

  double(field: number, n: number): void {
    if (n === 0) return;
    this.#room(16);
    this.#varint((field << 3) | FIXED64);
    this.#view.setFloat64(this.#at, n, true);
    this.#at += 8;
  }

  /** @param repeated an element of a list, which is written also when it is empty */
  bytes(field: number, b: Uint8Array, repeated = false): void {
    if (b.length === 0 && !repeated) return;
    this.#room(20 + b.length);
    this.#varint((field << 3) | BYTES);
    this.#varint(b.length);
    this.#bytes.set(b, this.#at);
    this.#at += b.length;
  }

  packedFixed64(field: number, ids: readonly bigint[]): void {
    if (ids.length === 0) return;
    this.#room(20 + ids.length * 8);
    this.#varint((field << 3) | BYTES);
    this.#varint(ids.length * 8);
    for (const id of ids) {
      this.#view.setBigUint64(this.#at, id, true);
      this.#at += 8;
    }
  }

  /** The start of a message within whose length is known. */
  head(field: number, length: number): void {
    this.#room(20);
    this.#varint((field << 3) | BYTES);
    this.#varint(length);
  }

  /** A message within; its length is put before it once it is known. */
  message(field: number, write: () => void): void {
    this.#room(20);
    this.#varint((field << 3) | BYTES);
    const start = this.#at;
    write();
    const length = this.#at - start;
    this.#room(8);
    const head = varintBytes(length);
    this.#bytes.copyWithin(start + head, start, this.#at);
    this.#at = start;
    this.#varint(length);
    this.#at = start + head + length;
  }

  #varint(n: number): void {
    let rest = n;
    // Up to 32 bits, shifts do.
    if (n <= 0x7fff_ffff) for (; rest >= 0x80; rest >>>= 7) this.#bytes[this.#at++] = (rest & 0x7f) | 0x80;
    else for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) this.#bytes[this.#at++] = (rest % 0x80) | 0x80;
    this.#bytes[this.#at++] = rest;
  }

  #room(n: number): void {
    if (this.#at + n <= this.#bytes.length) return;
    const before = this.#bytes;
    this.#resize(Math.max(before.length * 2, this.#at + n));
    this.#bytes.set(before.subarray(0, this.#at));
  }

  #resize(length: number): void {
    this.#bytes = new Uint8Array(length);
    this.#view = new DataView(this.#bytes.buffer);
  }
}

/** Reads the fields of one message; those that are not asked for are passed over. */
export class Reader {
  readonly #bytes: Uint8Array;
  #at: number;
  readonly #end: number;
  #wire = 0;

  constructor(bytes: Uint8Array, start = 0, end = bytes.length) {
    this.#bytes = bytes;
    this.#at = start;
    this.#end = end;
  }

  /** The number of the next field, 0 at the end. */
  next(): number {
    if (this.#at >= this.#end) return 0;
    const tag = this.#varint();
    this.#wire = tag & 7;
    return Math.floor(tag / 8);
  }

  uint(): number {
    this.#expect(VARINT);
    return this.#varint();
  }

  bool(): boolean {
    return this.uint() !== 0;
  }

  fixed64(): bigint {
    this.#expect(FIXED64);
    return this.#view.getBigUint64(this.#take(8), true);
  }

  double(): number {
    this.#expect(FIXED64);
    return this.#view.getFloat64(this.#take(8), true);
  }

  /** A view of the bytes read, not a copy. */
  bytes(): Uint8Array {
    const [start, end] = this.#range();
    return this.#bytes.subarray(start, end);
  }

  /** A copy, which does not keep the message. */
  copy(): Uint8Array {
    const [start, end] = this.#range();
    return this.#bytes.slice(start, end);
  }

  message(): Reader {
    const [start, end] = this.#range();
    return new Reader(this.#bytes, start, end);
  }

  /** Elements of a list, packed or not. */
  addFixed64(to: bigint[]): void {
    if (this.#wire === FIXED64) {
      to.push(this.fixed64());
      return;
    }
    const [start, end] = this.#range();
    if ((end - start) % 8 !== 0) throw new RangeError("a list of fixed64 has a length that is no multiple of 8");
    const view = this.#view;
    for (let at = start; at < end; at += 8) to.push(view.getBigUint64(at, true));
  }

  skip(): void {
    if (this.#wire === VARINT) this.#varint();
    else if (this.#wire === FIXED64) this.#take(8);
    else if (this.#wire === FIXED32) this.#take(4);
    else this.#range();
  }

  #range(): [number, number] {
    this.#expect(BYTES);
    const length = this.#varint();
    const start = this.#take(length);
    return [start, start + length];
  }

  /** Made when it is needed: most messages are entries, which need none. */
  get #view(): DataView {
    return new DataView(this.#bytes.buffer, this.#bytes.byteOffset, this.#bytes.byteLength);
  }

  #take(n: number): number {
    const start = this.#at;
    if (start + n > this.#end) throw new RangeError("a message ends early");
    this.#at += n;
    return start;
  }

  #varint(): number {
    const first = this.#bytes[this.#take(1)]!;
    if (first < 0x80) return first;
    let n = first & 0x7f;
    for (let scale = 0x80; ; scale *= 0x80) {
      const b = this.#bytes[this.#take(1)]!;
      n += (b & 0x7f) * scale;
      if (b < 0x80) break;
    }
    if (!Number.isSafeInteger(n)) throw new RangeError("a number of a message is too large");
    return n;
  }

  #expect(wire: number): void {
    if (this.#wire !== wire) throw new RangeError(`a field has wire type ${this.#wire}, not ${wire}`);
  }
}
