// What this member has proposed and not seen applied yet.
import type { Command } from "../command.ts";
import type { Settle } from "../consensus.ts";
import type { Refused } from "../mvcc/errors.ts";

export interface Proposal {
  readonly command: Command;
  /** The command encoded, behind its envelope. */
  readonly data: Uint8Array;
  readonly number: number;
  /** Of the batch that went to the leader, if another member leads. */
  context: number | undefined;
  /** Milliseconds on the member's clock. */
  readonly since: number;
  readonly settle: Settle<unknown>;
}

export class Proposals {
  /** Not given to Raft yet, or refused for now. */
  #waiting: Proposal[] = [];
  /** By number, in that order. */
  readonly #open = new Map<number, Proposal>();
  /** Those that were given up. */
  failures = 0;

  get size(): number {
    return this.#waiting.length + this.#open.size;
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  add(proposal: Proposal): void {
    this.#waiting.push(proposal);
  }

  /** Takes those that go to Raft together. */
  take(most: number, bytes: number): Proposal[] {
    let n = 0;
    for (let sum = 0; n < this.#waiting.length && n < most && sum < bytes; n++) sum += this.#waiting[n]!.data.length;
    if (n < this.#waiting.length) return this.#waiting.splice(0, n);
    const all = this.#waiting;
    this.#waiting = [];
    return all;
  }

  /** They are under way. */
  proposed(batch: readonly Proposal[], context?: number): void {
    for (const p of batch) {
      this.#open.set(p.number, p);
      if (context !== undefined) p.context = context;
    }
  }

  /** They could not be taken now, and are before all others the next time. */
  putBack(batch: Proposal[]): void {
    this.#waiting = this.#waiting.length > 0 ? [...batch, ...this.#waiting] : batch;
  }

  /** What went to the leader with these contexts did not get into the log, and waits again. */
  refused(contexts: ReadonlySet<number>): void {
    const back = [...this.#open.values()].filter((p) => p.context !== undefined && contexts.has(p.context));
    for (const p of back) {
      this.#open.delete(p.number);
      p.context = undefined;
    }
    this.putBack(back);
  }

  /** The one that was applied. */
  applied(number: number): Proposal | undefined {
    const found = this.#open.get(number);
    if (found) this.#open.delete(number);
    return found;
  }

  /** Rejects what was proposed before a time, oldest first. */
  expire(before: number, why: (p: Proposal) => Refused): void {
    for (const p of this.#open.values()) {
      if (p.since > before) break;
      this.#open.delete(p.number);
      this.fail(p, why(p));
    }
    let n = 0;
    while (n < this.#waiting.length && this.#waiting[n]!.since <= before) n++;
    for (const p of this.#waiting.splice(0, n)) this.fail(p, why(p));
  }

  fail(proposal: Proposal, error: Refused): void {
    this.failures++;
    proposal.settle.reject(error);
  }

  rejectAll(error: Refused): void {
    const all = [...this.#open.values(), ...this.#waiting.splice(0)];
    this.#open.clear();
    for (const p of all) this.fail(p, error);
  }
}
