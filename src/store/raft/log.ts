// The log in memory: a base, which stands for all that a snapshot or the state
// machine holds, and the entries behind it. Indexes have no gaps, terms never
// fall.
import type { Entry, Position } from "./types.ts";

/** What an entry counts for besides its data, so that many empty ones are bounded too. */
const OVERHEAD = 32;

export const bytesOf = (entry: Entry): number => entry.data.length + OVERHEAD;

export class Log {
  #base: Position;
  #entries: Entry[];
  #bytes = 0;

  constructor(base: Position, entries: readonly Entry[]) {
    this.#base = { index: base.index, term: base.term };
    this.#entries = [...entries];
    for (const [i, e] of entries.entries()) {
      if (e.index !== base.index + 1 + i) throw new RangeError(`entry ${e.index} of a log stands at ${base.index + 1 + i}`);
      this.#bytes += bytesOf(e);
    }
  }

  /** The position before the first entry that is in memory. */
  get base(): Position {
    return this.#base;
  }

  get last(): number {
    return this.#base.index + this.#entries.length;
  }

  get lastTerm(): number {
    return this.#entries.at(-1)?.term ?? this.#base.term;
  }

  /** Bytes that the entries in memory count for. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Undefined for what is before the base or behind the end. */
  termAt(index: number): number | undefined {
    const at = index - this.#base.index - 1;
    if (at < 0) return at === -1 ? this.#base.term : undefined;
    return this.#entries[at]?.term;
  }

  has({ index, term }: Position): boolean {
    return this.termAt(index) === term;
  }

  /** The entry at an index in memory. */
  at(index: number): Entry {
    const entry = this.#entries[index - this.#base.index - 1];
    if (!entry) throw new RangeError(`entry ${index} is not in memory, which holds those after ${this.#base.index} up to ${this.last}`);
    return entry;
  }

  /** Whether a log that ends there has all that this one may have committed (section 5.4.1 of the Raft paper). */
  isBehindOrSame(lastIndex: number, lastTerm: number): boolean {
    return lastTerm > this.lastTerm || (lastTerm === this.lastTerm && lastIndex >= this.last);
  }

  append(entry: Entry): void {
    this.#entries.push(entry);
    this.#bytes += bytesOf(entry);
  }

  /**
   * Takes a leader's entries, which follow a position that this log has. What
   * contradicts them goes; what is here already stays, for a late message must
   * not cut off what a newer one brought.
   *
   * @param commit what can't be contradicted any more
   * @returns the first index that is new, undefined if none is
   * @throws RangeError if a committed entry would go: two leaders in one term, or another cluster's
   */
  merge(entries: readonly Entry[], commit: number): number | undefined {
    const known = entries.findIndex((e) => !this.has(e));
    if (known < 0) return undefined;
    const from = entries[known]!.index;
    if (from <= commit) throw new RangeError(`a leader contradicts entry ${from}, and ${commit} are committed`);
    this.truncate(from);
    for (let i = known; i < entries.length; i++) this.append(entries[i]!);
    return from;
  }

  /** Forgets the entries from an index on. */
  truncate(from: number): void {
    if (from <= this.#base.index) throw new RangeError(`entry ${from} is in the state already and can't be taken back`);
    for (const e of this.#entries.splice(from - this.#base.index - 1)) this.#bytes -= bytesOf(e);
  }

  /** Entries from `from` to `to`, as many as fit, but one at the least if there is one. */
  slice(from: number, to: number, maxBytes = Infinity): Entry[] {
    const start = from - this.#base.index - 1;
    const end = Math.min(to - this.#base.index, this.#entries.length);
    if (maxBytes === Infinity) return this.#entries.slice(start, end);
    let n = start;
    for (let bytes = 0; n < end; n++) {
      bytes += bytesOf(this.#entries[n]!);
      if (bytes > maxBytes && n > start) break;
    }
    return this.#entries.slice(start, n);
  }

  /**
   * The last index, at most the given one, whose term is at most the given
   * term: behind it, a log that has that term there can't agree with this one.
   */
  lastAgreeing(index: number, term: number): Position {
    let at = Math.min(index, this.last);
    for (; at > this.#base.index; at--) {
      const own = this.termAt(at)!;
      if (own <= term) return { index: at, term: own };
    }
    return at === this.#base.index ? this.#base : { index: at, term: 0 };
  }

  /** Makes an entry the base, and forgets it and those before. */
  compact(index: number): void {
    const count = index - this.#base.index;
    if (count <= 0) return;
    const term = this.at(index).term;
    const dropped = this.#entries.splice(0, count);
    for (const e of dropped) this.#bytes -= bytesOf(e);
    this.#base = { index, term };
  }

  /** Starts anew behind a snapshot. */
  reset(base: Position): void {
    this.#base = { index: base.index, term: base.term };
    this.#entries = [];
    this.#bytes = 0;
  }
}
