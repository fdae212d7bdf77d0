/** A buffer of more than this is handed back when it is empty: a burst must not hold its memory for the life of the connection. */
const KEPT = 64 * 1024;
/** What a burst needs: the senders stop a frame beyond 256 KiB. */
const LARGE = 512 * 1024;
const SPARE = 8;
/** Buffers of LARGE bytes that the last bursts have left, for the next ones of any connection. */
const spare: Uint8Array[] = [];

/** Bytes that wait for the socket: appended at the end, taken from the front. */
export class Output {
  /** Valid from `start` to `end`; changes identity when it grows. */
  bytes: Uint8Array;
  start = 0;
  end = 0;
  /** What it had before the burst. */
  #small: Uint8Array;

  constructor(capacity = 4096) {
    this.bytes = this.#small = new Uint8Array(capacity);
  }

  get length(): number {
    return this.end - this.start;
  }

  /** Makes room for `count` bytes at the end and returns where they start. */
  reserve(count: number): number {
    const at = this.end;
    if (at + count > this.bytes.length) return this.#grow(count);
    this.end = at + count;
    return at;
  }

  #grow(count: number): number {
    const length = this.end - this.start;
    const before = this.bytes;
    if (length + count > before.length || this.start < before.length / 2) {
      this.bytes = this.#larger(length + count);
      this.bytes.set(before.subarray(this.start, this.end));
    } else before.copyWithin(0, this.start, this.end);
    this.start = 0;
    this.end = length + count;
    return length;
  }

  #larger(atLeast: number): Uint8Array {
    let capacity = this.bytes.length * 2;
    while (capacity < atLeast) capacity *= 2;
    if (capacity <= KEPT) {
      this.#small = new Uint8Array(capacity);
      return this.#small;
    }
    if (capacity > LARGE) return new Uint8Array(capacity);
    return spare.pop() ?? new Uint8Array(LARGE);
  }

  byte(value: number): void {
    const at = this.reserve(1);
    this.bytes[at] = value;
  }

  append(data: Uint8Array): void {
    const at = this.reserve(data.length);
    this.bytes.set(data, at);
  }

  /** `count` bytes from the front have been written. */
  taken(count: number): void {
    this.start += count;
    if (this.start < this.end) return;
    this.start = this.end = 0;
    if (this.bytes === this.#small) return;
    if (this.bytes.length === LARGE && spare.length < SPARE) spare.push(this.bytes);
    this.bytes = this.#small;
  }
}
