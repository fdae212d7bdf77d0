// What must hold at every step of every history (figure 3 of the Raft paper),
// as an observer who sees all members checks it.
import type { Entry, Position, Status } from "../types.ts";

/** An invariant that a step broke. */
export class Violation extends Error {
  override name = "Violation";
}

interface Seen {
  entry: Entry;
  /** Of the entry before it. */
  prevTerm: number;
}

const same = (a: Entry, b: Entry) => a.term === b.term && a.type === b.type && Buffer.compare(a.data, b.data) === 0;

export class Observer {
  readonly #leaders = new Map<number, bigint>();
  /** By index, then by term. */
  readonly #appended: Map<number, Seen>[] = [];
  /** By index: what some member applied first, and the term it was in: that of the commit, or a later one. */
  readonly #committed: ({ entry: Entry; term: number } | undefined)[] = [];

  /** Election safety, and leader completeness: `has` tells the term of an entry of its log, or Infinity if a snapshot has it. */
  leads(id: bigint, { term }: Status, has: (index: number) => number | undefined): void {
    const other = this.#leaders.get(term);
    if (other === id) return;
    if (other !== undefined) throw new Violation(`election safety: ${id} and ${other} both lead in term ${term}`);
    this.#leaders.set(term, id);
    for (let index = this.#committed.length - 1; index > 0; index--) {
      const committed = this.#committed[index];
      // A leader of an older term that has only now counted its votes need not have it.
      if (!committed || committed.term >= term) continue;
      const { entry } = committed;
      const own = has(index);
      if (own === Infinity) return;
      if (own !== entry.term) {
        throw new Violation(`leader completeness: ${id} leads in term ${term} and has not entry ${index} of term ${entry.term}`);
      }
    }
  }

  /**
   * Log matching: an index and a term name one entry, and one entry before it.
   * Asked of what leaves a member and of what it finds on its disk: what it
   * only thought before a crash is nobody's business.
   */
  appends(id: bigint, { term }: Position, entries: readonly Entry[]): void {
    let prevTerm = term;
    for (const entry of entries) {
      this.#append(id, entry, prevTerm);
      prevTerm = entry.term;
    }
  }

  #append(id: bigint, entry: Entry, prevTerm: number): void {
    this.#appended[entry.index] ??= new Map();
    const terms = this.#appended[entry.index]!;
    const seen = terms.get(entry.term);
    if (!seen) terms.set(entry.term, { entry, prevTerm });
    else if (!same(seen.entry, entry)) throw new Violation(`log matching: ${id} has another entry ${entry.index} of term ${entry.term}`);
    else if (prevTerm !== seen.prevTerm) {
      throw new Violation(
        `log matching: before entry ${entry.index} of term ${entry.term}, ${id} has term ${prevTerm}, not ${seen.prevTerm}`,
      );
    }
  }

  /** State machine safety: nobody applies another entry at an index. */
  applies(id: bigint, entry: Entry, term: number): void {
    const seen = this.#committed[entry.index]?.entry;
    if (!seen) this.#committed[entry.index] = { entry, term };
    else if (!same(seen, entry)) {
      throw new Violation(
        `state machine safety: ${id} applies entry ${entry.index} of term ${entry.term}, another one has term ${seen.term}`,
      );
    }
  }
}
