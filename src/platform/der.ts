// ASN.1's distinguished encoding (X.690), as far as certificates need it.

const wrap = (tag: number, parts: readonly Uint8Array[]): Uint8Array => {
  const length = parts.reduce((n, p) => n + p.length, 0);
  const size = length < 128 ? [length] : length < 256 ? [0x81, length] : [0x82, length >> 8, length & 255];
  if (length > 0xffff) throw new RangeError(`${length} bytes are too many for one value`);
  const out = new Uint8Array(1 + size.length + length);
  out.set([tag, ...size]);
  let at = 1 + size.length;
  for (const p of parts) {
    out.set(p, at);
    at += p.length;
  }
  return out;
};

export const sequence = (...parts: readonly Uint8Array[]) => wrap(0x30, parts);
export const setOf = (...parts: readonly Uint8Array[]) => wrap(0x31, parts);
/** An explicit tag of the context. */
export const tagged = (tag: number, ...parts: readonly Uint8Array[]) => wrap(0xa0 | tag, parts);
/** An implicit tag of the context around plain bytes. */
export const implicit = (tag: number, bytes: Uint8Array) => wrap(0x80 | tag, [bytes]);
export const octets = (...parts: readonly Uint8Array[]) => wrap(0x04, parts);
export const boolean = (value: boolean) => wrap(0x01, [Uint8Array.of(value ? 0xff : 0)]);

/** A positive number, its bytes in order of weight. */
export function integer(bytes: Uint8Array): Uint8Array {
  let from = 0;
  while (from < bytes.length - 1 && bytes[from] === 0) from++;
  const short = bytes.subarray(from);
  return wrap(0x02, short[0]! & 0x80 ? [Uint8Array.of(0), short] : [short]);
}

/** Bits whose number is a multiple of eight. */
export const bits = (bytes: Uint8Array) => wrap(0x03, [Uint8Array.of(0), bytes]);

/** Named bits, the first one the heaviest; at most eight, none of them trailing zeros. */
export function flags(value: number): Uint8Array {
  const unused = value === 0 ? 0 : 31 - Math.clz32(value & -value);
  return wrap(0x03, [value === 0 ? Uint8Array.of(0) : Uint8Array.of(unused, value)]);
}

export function objectId(dotted: string): Uint8Array {
  const [first, second, ...rest] = dotted.split(".").map(Number);
  const bytes = [first! * 40 + second!];
  for (const arc of rest) {
    const groups = [arc & 127];
    for (let n = arc >>> 7; n > 0; n >>>= 7) groups.unshift((n & 127) | 128);
    bytes.push(...groups);
  }
  return wrap(0x06, [Uint8Array.from(bytes)]);
}

/** Of the smallest type that has the characters, as Go chooses it. */
export const text = (value: string) => wrap(/^[A-Za-z0-9 '()+,\-./:=?]*$/.test(value) ? 0x13 : 0x0c, [Buffer.from(value)]);

/** A point in time, to the second. */
export function time(date: Date): Uint8Array {
  const digits = date.toISOString().replace(/\.\d+|[-:T]/g, "");
  const inThisCentury = date.getUTCFullYear() >= 1950 && date.getUTCFullYear() < 2050;
  return wrap(inThisCentury ? 0x17 : 0x18, [Buffer.from(inThisCentury ? digits.slice(2) : digits)]);
}

export interface Value {
  tag: number;
  /** With tag and length. */
  raw: Uint8Array;
  content: Uint8Array;
}

/** The values that stand one after another. Throws a RangeError where they go past the end. */
export function values(bytes: Uint8Array): Value[] {
  const found: Value[] = [];
  for (let at = 0; at < bytes.length; ) {
    const start = at;
    const tag = bytes[at++]!;
    const first = bytes[at++] ?? Number.NaN;
    let length = first;
    if (first & 0x80) {
      length = 0;
      for (let n = first & 0x7f; n > 0; n--) length = length * 256 + (bytes[at++] ?? Number.NaN);
    }
    // Also when a length was cut off, which makes it no number.
    if (!(at + length <= bytes.length)) throw new RangeError(`a value at ${start} ends past the end`);
    found.push({ tag, raw: bytes.subarray(start, at + length), content: bytes.subarray(at, at + length) });
    at += length;
  }
  return found;
}
