// What must hold at every step of every history (figure 3 of the Raft paper),
// as an observer who sees all members checks it.

import type { StateMachine } from "../../state.ts";
import type { Change } from "../../testing/revisions.ts";
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
  /** By index: the term of the entry that some member knows to be committed, and that member's, which is that of the commit or a later one. */
  readonly #committed: ({ term: number; by: number } | undefined)[] = [];
  /** By index: what some member applied first. */
  readonly #applied: Entry[] = [];
  /** Proposals that whoever made them was told are in no log. */
  readonly #refused = new Set<number>();
  /** What the store's history is, revision by revision, by who applied each first. */
  readonly history: Change[] = [];
  #revision = 1;

  /** The highest index that any member knows to be committed. */
  get committed(): number {
    return Math.max(0, this.#committed.length - 1);
  }

  /** Election safety, and leader completeness: `has` tells the term of an entry of its log, or Infinity if a snapshot has it. */
  leads(id: bigint, { term }: Status, has: (index: number) => number | undefined): void {
    const other = this.#leaders.get(term);
    if (other === id) return;
    if (other !== undefined) throw new Violation(`election safety: ${id} and ${other} both lead in term ${term}`);
    this.#leaders.set(term, id);
    for (let index = this.#committed.length - 1; index > 0; index--) {
      const committed = this.#committed[index];
      // A leader of an older term that has only now counted its votes need not have it.
      if (!committed || committed.by >= term) continue;
      const own = has(index);
      if (own === Infinity) return;
      if (own !== committed.term) {
        throw new Violation(`leader completeness: ${id} leads in term ${term} and has not entry ${index} of term ${committed.term}`);
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

  /** Nobody takes another entry for committed at an index, in whatever term it hears of it. */
  commits(id: bigint, index: number, term: number | undefined, by: number): void {
    if (term === undefined) throw new Violation(`${id} commits entry ${index}, which it has not got`);
    const seen = this.#committed[index];
    if (seen && seen.term !== term) {
      throw new Violation(`state machine safety: ${id} commits entry ${index} of term ${term}, another one of term ${seen.term}`);
    }
    if (!seen || by < seen.by) this.#committed[index] = { term, by };
  }

  /** State machine safety: nobody applies another entry at an index. */
  applies(id: bigint, entry: Entry): void {
    const seen = this.#applied[entry.index];
    if (!seen) this.#applied[entry.index] = entry;
    else if (!same(seen, entry)) {
      throw new Violation(
        `state machine safety: ${id} applies entry ${entry.index} of term ${entry.term}, another one has term ${seen.term}`,
      );
    }
  }

  refuses(proposal: number): void {
    this.#refused.add(proposal);
  }

  /** What is applied was not refused. */
  appliesProposal(id: bigint, proposal: number): void {
    if (this.#refused.has(proposal)) throw new Violation(`${id} applies proposal ${proposal}, which was refused`);
  }

  /** Linearizable reads: one is answered with an index that includes all that was committed when it was asked for. */
  reads(id: bigint, index: number, least: number): void {
    if (index < least) throw new Violation(`stale read: ${id} may read at ${index}, and ${least} were committed before it asked`);
  }

  /** Writes down what a member's state has come to, before a compaction forgets it. */
  records({ mvcc }: StateMachine): void {
    while (this.#revision < mvcc.revision) {
      const revision = ++this.#revision;
      mvcc.log.visit(revision, ({ type, kv }) => {
        this.history.push({ key: text(kv.key), value: type === "put" ? text(kv.value) : null, revision });
      });
    }
  }
}

const text = (b: Uint8Array) => Buffer.from(b).toString("latin1");
