/** Bytes that wait for the socket: appended at the end, taken from the front. */
export class Output {
  /** Valid from `start` to `end`; changes identity when it grows. */
  bytes: Uint8Array;
  start = 0;
  end = 0;
  readonly #initial: number;

  constructor(capacity = 4096) {
    this.#initial = capacity;
    this.bytes = new Uint8Array(capacity);
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
      let capacity = before.length * 2;
      while (capacity < length + count) capacity *= 2;
      this.bytes = new Uint8Array(capacity);
      this.bytes.set(before.subarray(this.start, this.end));
    } else before.copyWithin(0, this.start, this.end);
    this.start = 0;
    this.end = length + count;
    return length;
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
    // A burst must not hold its memory for the life of the connection.
    if (this.bytes.length > 256 * 1024) this.bytes = new Uint8Array(this.#initial);
  }
}
