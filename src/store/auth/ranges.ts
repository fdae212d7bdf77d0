// A set of keys as ranges that neither overlap nor touch, so that whether it
// holds a range is one binary search, however many permissions it was made of.
import type { Span } from "../mvcc/key.ts";
import type { Permission } from "./types.ts";

export class KeyRanges {
  readonly #starts: string[] = [];
  readonly #ends: (string | undefined)[] = [];

  constructor(spans: readonly Span[]) {
    const sorted = spans
      .filter((s) => s.end === undefined || s.start < s.end)
      .sort((a, b) => (a.start < b.start ? -1 : a.start > b.start ? 1 : 0));
    for (const { start, end } of sorted) {
      const last = this.#ends.length - 1;
      if (last >= 0 && reaches(this.#ends[last], start)) {
        const before = this.#ends[last];
        if (before !== undefined && (end === undefined || end > before)) this.#ends[last] = end;
      } else {
        this.#starts.push(start);
        this.#ends.push(end);
      }
    }
  }

  /** How many ranges there are. */
  get size(): number {
    return this.#starts.length;
  }

  /** Whether every key of the span is in one of the ranges; a span without keys has to begin in one. */
  covers(span: Span): boolean {
    let low = 0;
    let high = this.#starts.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#starts[middle]! <= span.start) low = middle + 1;
      else high = middle;
    }
    if (low === 0) return false;
    const end = this.#ends[low - 1];
    return end === undefined || (span.start < end && span.end !== undefined && span.end <= end);
  }
}

const reaches = (end: string | undefined, start: string) => end === undefined || end >= start;

/** The keys that a permission is about. */
export function spanOfPermission({ key, end }: Permission): Span {
  if (end === "") return { start: key, end: `${key}\0` };
  return { start: key, end: end === "\0" ? undefined : end };
}
