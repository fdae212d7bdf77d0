// Inflate (RFC 1950, 1951) of a stream whose every piece ends with a sync
// flush, as SPDY's header blocks do: what goes in comes out whole, at once,
// which the asynchronous zlib of the runtimes does not promise.

const BASE_LENGTH = [3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258];
const EXTRA_LENGTH = [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0];
const BASE_DISTANCE = [
  1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385,
  24577,
];
const EXTRA_DISTANCE = [0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13];
const CODE_LENGTH_ORDER = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
const WINDOW = 32768;
const MAX_BITS = 15;

/** A canonical code: how many symbols of each length, and the symbols in order. */
interface Code {
  counts: Uint16Array;
  symbols: Uint16Array;
}

function makeCode(lengths: ArrayLike<number>): Code {
  const counts = new Uint16Array(MAX_BITS + 1);
  for (let i = 0; i < lengths.length; i++) counts[lengths[i]!]!++;
  counts[0] = 0;
  const offsets = new Uint16Array(MAX_BITS + 2);
  for (let i = 1; i <= MAX_BITS; i++) offsets[i + 1] = offsets[i]! + counts[i]!;
  const symbols = new Uint16Array(lengths.length);
  for (let i = 0; i < lengths.length; i++) if (lengths[i]) symbols[offsets[lengths[i]!]!++] = i;
  let left = 1;
  for (let i = 1; i <= MAX_BITS; i++) {
    left = left * 2 - counts[i]!;
    if (left < 0) throw new Error("inflate: over-subscribed code");
  }
  return { counts, symbols };
}

let fixed: { literals: Code; distances: Code } | undefined;
function fixedCodes() {
  const lengths = new Uint8Array(288);
  for (let i = 0; i < 288; i++) lengths[i] = i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8;
  fixed ??= { literals: makeCode(lengths), distances: makeCode(new Uint8Array(30).fill(5)) };
  return fixed;
}

export class Inflater {
  readonly #dictionary: Uint8Array;
  readonly #maxOutput: number;
  #input: Uint8Array = new Uint8Array(0);
  #at = 0;
  #bitBuffer = 0;
  #bitCount = 0;
  /** History, at most a window of it needed, and behind it what this piece gives. */
  #out: Uint8Array = new Uint8Array(4 * WINDOW);
  #length = 0;
  #pieceStart = 0;
  #begun = false;

  /** @param maxOutput most bytes that one piece may give */
  constructor(dictionary: Uint8Array, maxOutput = 256 * 1024) {
    this.#dictionary = dictionary;
    this.#maxOutput = maxOutput;
  }

  /** Inflates one piece. Throws Error where it is corrupt, cut off, or gives too much. */
  push(piece: Uint8Array): Uint8Array {
    this.#input = piece;
    this.#at = 0;
    if (this.#length > WINDOW) {
      this.#out.copyWithin(0, this.#length - WINDOW, this.#length);
      this.#length = WINDOW;
    }
    if (!this.#begun) this.#begin();
    this.#pieceStart = this.#length;
    while (this.#at < piece.length) this.#block();
    return this.#out.slice(this.#pieceStart, this.#length);
  }

  #begin(): void {
    this.#begun = true;
    const [method, flags] = [this.#byte(), this.#byte()];
    if ((method & 15) !== 8 || (method * 256 + flags) % 31 !== 0) throw new Error("inflate: no zlib header");
    if (!(flags & 0x20)) return;
    for (let i = 0; i < 4; i++) this.#byte();
    this.#out.set(this.#dictionary);
    this.#length = this.#dictionary.length;
  }

  #byte(): number {
    const byte = this.#input[this.#at++];
    if (byte === undefined) throw new Error("inflate: input cut off");
    return byte;
  }

  #bits(count: number): number {
    while (this.#bitCount < count) {
      this.#bitBuffer |= this.#byte() << this.#bitCount;
      this.#bitCount += 8;
    }
    const value = this.#bitBuffer & ((1 << count) - 1);
    this.#bitBuffer >>>= count;
    this.#bitCount -= count;
    return value;
  }

  #symbol({ counts, symbols }: Code): number {
    let code = 0;
    let first = 0;
    let index = 0;
    for (let length = 1; length <= MAX_BITS; length++) {
      code |= this.#bits(1);
      const count = counts[length]!;
      if (code - count < first) return symbols[index + code - first]!;
      index += count;
      first = (first + count) << 1;
      code <<= 1;
    }
    throw new Error("inflate: no such code");
  }

  #emit(byte: number): void {
    if (this.#length - this.#pieceStart >= this.#maxOutput) throw new Error("inflate: too much output");
    if (this.#length === this.#out.length) {
      const larger = new Uint8Array(this.#out.length * 2);
      larger.set(this.#out);
      this.#out = larger;
    }
    this.#out[this.#length++] = byte;
  }

  #block(): void {
    // The final bit says nothing here: the stream ends with its connection.
    this.#bits(1);
    const type = this.#bits(2);
    if (type === 0) this.#stored();
    else if (type === 1) this.#compressed(fixedCodes());
    else if (type === 2) this.#compressed(this.#dynamicCodes());
    else throw new Error("inflate: unknown block type");
  }

  #stored(): void {
    this.#bitBuffer = this.#bitCount = 0;
    const length = this.#byte() | (this.#byte() << 8);
    const check = this.#byte() | (this.#byte() << 8);
    if ((length ^ check) !== 0xffff) throw new Error("inflate: stored length");
    for (let i = 0; i < length; i++) this.#emit(this.#byte());
  }

  #dynamicCodes(): { literals: Code; distances: Code } {
    const literals = this.#bits(5) + 257;
    const distances = this.#bits(5) + 1;
    const codes = this.#bits(4) + 4;
    const order = new Uint8Array(19);
    for (let i = 0; i < codes; i++) order[CODE_LENGTH_ORDER[i]!] = this.#bits(3);
    const lengthCode = makeCode(order);
    const lengths: number[] = [];
    while (lengths.length < literals + distances) {
      const symbol = this.#symbol(lengthCode);
      if (symbol < 16) lengths.push(symbol);
      else {
        const value = symbol === 16 ? lengths.at(-1) : 0;
        if (value === undefined) throw new Error("inflate: nothing to repeat");
        const times = symbol === 16 ? 3 + this.#bits(2) : symbol === 17 ? 3 + this.#bits(3) : 11 + this.#bits(7);
        for (let i = 0; i < times; i++) lengths.push(value);
      }
    }
    if (lengths.length > literals + distances) throw new Error("inflate: too many lengths");
    return { literals: makeCode(lengths.slice(0, literals)), distances: makeCode(lengths.slice(literals)) };
  }

  #compressed({ literals, distances }: { literals: Code; distances: Code }): void {
    for (;;) {
      const symbol = this.#symbol(literals);
      if (symbol < 256) this.#emit(symbol);
      else if (symbol === 256) return;
      else {
        const base = BASE_LENGTH[symbol - 257];
        if (base === undefined) throw new Error("inflate: no such length");
        const length = base + this.#bits(EXTRA_LENGTH[symbol - 257]!);
        const code = this.#symbol(distances);
        const distance = BASE_DISTANCE[code]! + this.#bits(EXTRA_DISTANCE[code]!);
        if (!(distance <= this.#length)) throw new Error("inflate: distance too far back");
        for (let i = 0; i < length; i++) this.#emit(this.#out[this.#length - distance]!);
      }
    }
  }
}
