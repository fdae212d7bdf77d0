// Reads protobuf's binary form where it is as every client writes it: fields
// that are known, numbers that are safe and not negative. At anything else the
// reading is given up, and protobuf-es decides what it means.

export class Cursor {
  bytes: Uint8Array = new Uint8Array(0);
  at = 0;
  /** Something was read that is left to protobuf-es. */
  odd = false;

  /** Starts at a message. */
  open(bytes: Uint8Array, at: number): void {
    this.bytes = bytes;
    this.at = at;
    this.odd = false;
  }

  /** A varint below 2^49; 0 and `odd` for others. */
  number(end: number): number {
    const first = this.bytes[this.at]!;
    if (first < 0x80 && this.at < end) {
      this.at++;
      return first;
    }
    let n = 0;
    for (let scale = 1; this.at < end && scale < 2 ** 49; scale *= 0x80) {
      const b = this.bytes[this.at++]!;
      n += (b & 0x7f) * scale;
      if (b < 0x80) {
        return n;
      }
    }
    return this.give();
  }

  flag(end: number): boolean {
    const n = this.number(end);
    if (n > 1) this.odd = true;
    return n === 1;
  }

  /** One of `count` values from 0 on. */
  choice(end: number, count: number): number {
    const n = this.number(end);
    return n < count ? n : this.give();
  }

  /** Any 64 bits, signed. */
  id(end: number): bigint {
    let low = 0;
    let high = 0;
    for (let shift = 0; shift < 70 && this.at < end; shift += 7) {
      const b = this.bytes[this.at++]!;
      const part = b & 0x7f;
      if (shift < 28) low |= part << shift;
      else if (shift === 28) {
        low |= part << 28;
        high = part >> 4;
      } else high |= part << (shift - 32);
      if (b < 0x80) return high === 0 && low >= 0 ? BigInt(low) : (BigInt(high) << 32n) | BigInt(low >>> 0);
    }
    this.give();
    return 0n;
  }

  /** Where the bytes of a length-delimited field end; the cursor is at their start. */
  length(end: number): number {
    const to = this.number(end) + this.at;
    if (to <= end) return to;
    this.odd = true;
    return this.at;
  }

  give(): 0 {
    this.odd = true;
    return 0;
  }
}
