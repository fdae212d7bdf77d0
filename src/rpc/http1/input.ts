import { Refusal } from "./refusal.ts";

const HEAD_END = Buffer.from("\r\n\r\n");
const CRLF = Buffer.from("\r\n");
const NOTHING = Buffer.alloc(0);

/** Bytes that have come and are not used yet. What was taken stays as it is. */
export class Input {
  #bytes: Buffer = NOTHING;
  #start = 0;
  #end = 0;
  /** Made here, so that there may be room behind the end. */
  #own = false;
  /** The end of a head stands nowhere before. */
  #searched = 0;

  get length(): number {
    return this.#end - this.#start;
  }

  push(chunk: Uint8Array): void {
    const { length } = this;
    if (length === 0) {
      this.#bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
      this.#start = this.#searched = 0;
      this.#end = chunk.length;
      this.#own = false;
      return;
    }
    if (!this.#own || this.#end + chunk.length > this.#bytes.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(1024, 2 * (length + chunk.length)));
      larger.set(this.#bytes.subarray(this.#start, this.#end));
      this.#bytes = larger;
      this.#searched = Math.max(0, this.#searched - this.#start);
      this.#start = 0;
      this.#end = length;
      this.#own = true;
    }
    this.#bytes.set(chunk, this.#end);
    this.#end += chunk.length;
  }

  /** Drops empty lines (RFC 9112, section 2.2: one may stand before a request). Returns how many. */
  skipEmptyLines(): number {
    const from = this.#start;
    while (this.length >= 2 && this.#bytes[this.#start] === 13 && this.#bytes[this.#start + 1] === 10) this.#start += 2;
    return (this.#start - from) / 2;
  }

  /**
   * Takes a head with the empty line behind it, and returns its text without;
   * undefined while it is not there.
   * @throws {Refusal} for lines that end in a bare LF, which would never have one
   */
  head(): string | undefined {
    const from = Math.max(this.#start, this.#searched);
    const at = this.#find(HEAD_END, from);
    if (at < 0) {
      this.#checkLineEnds(from);
      this.#searched = Math.max(this.#start, this.#end - 3);
      return undefined;
    }
    const text = this.#bytes.toString("latin1", this.#start, at);
    this.#start = this.#searched = at + 4;
    return text;
  }

  #checkLineEnds(from: number): void {
    const bytes = this.#bytes;
    for (let at = from; at < this.#end; at++)
      if (bytes[at] === 10 && (at === this.#start || bytes[at - 1] !== 13)) throw new Refusal(400, "a line ends in a bare LF");
  }

  /** Takes a line and returns it without its end; undefined while it is not there. */
  line(): string | undefined {
    const at = this.#find(CRLF, this.#start);
    if (at < 0) return undefined;
    const text = this.#bytes.toString("latin1", this.#start, at);
    this.#start = at + 2;
    return text;
  }

  take(count: number): Uint8Array {
    const part = new Uint8Array(this.#bytes.buffer, this.#bytes.byteOffset + this.#start, count);
    this.#start += count;
    return part;
  }

  /** All that is there, which stays. */
  peek(): Uint8Array {
    return this.#bytes.subarray(this.#start, this.#end);
  }

  #find(what: Buffer, from: number): number {
    return this.#bytes.subarray(0, this.#end).indexOf(what, from);
  }
}
