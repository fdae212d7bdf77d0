import type { Input } from "./input.ts";
import { Refusal } from "./refusal.ts";

const SIZE_LINE = /^([0-9a-fA-F]{1,12})(?:[ \t]*;[\t\x20-\x7e\x80-\xff]*)?$/;
const MAX_LINE = 4096;
/** Bytes around the chunks of a body beyond what a few per chunk come to; trailers too. */
const MAX_OVERHEAD = 16 * 1024;
/** That a chunk may have around it. */
const FREE_OVERHEAD = 16;

/** The body of a request as it comes: of known length, or in chunks (RFC 9112, sections 6 and 7). */
export class BodyReader {
  #left: number;
  #next: "size" | "data" | "end" | "trailers";
  readonly #chunked: boolean;
  #overhead = 0;
  done = false;

  constructor(length: number | "chunked") {
    this.#chunked = length === "chunked";
    this.#left = length === "chunked" ? 0 : length;
    this.#next = this.#chunked ? "size" : "data";
    this.done = length === 0;
  }

  /** Bytes that are to come; undefined where it does not say. */
  get left(): number | undefined {
    return this.#chunked ? undefined : this.#left;
  }

  /**
   * Takes the next part from `input`; undefined when more has to come. The
   * part may be empty; after the last one `done` is set.
   * @throws {Refusal}
   */
  read(input: Input): Uint8Array | undefined {
    while (!this.done) {
      if (this.#next === "data") {
        const take = Math.min(this.#left, input.length);
        if (take === 0) return undefined;
        this.#left -= take;
        if (this.#left === 0) {
          if (this.#chunked) this.#next = "end";
          else this.done = true;
        }
        return input.take(take);
      }
      const line = input.line();
      if (line === undefined) {
        if (input.length > MAX_LINE) throw new Refusal(400, "malformed chunk");
        return undefined;
      }
      this.#line(line);
    }
    return EMPTY;
  }

  #line(line: string): void {
    if (line.length > MAX_LINE) throw new Refusal(400, "malformed chunk");
    if (this.#next === "size") {
      const size = SIZE_LINE.exec(line)?.[1];
      if (size === undefined) throw new Refusal(400, "malformed chunk");
      this.#left = Number.parseInt(size, 16);
      this.#next = this.#left > 0 ? "data" : "trailers";
      this.#overhead = Math.max(0, this.#overhead + line.length + 4 - FREE_OVERHEAD - 2 * this.#left);
    } else if (this.#next === "end") {
      if (line !== "") throw new Refusal(400, "malformed chunk");
      this.#next = "size";
    } else if (line === "") this.done = true;
    else {
      if (!TRAILER.test(line)) throw new Refusal(400, "malformed trailer");
      this.#overhead += line.length + 2;
    }
    if (this.#overhead > MAX_OVERHEAD) throw new Refusal(400, "more around the chunks than in them");
  }
}

const TRAILER = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*$/;
const EMPTY = new Uint8Array(0);
