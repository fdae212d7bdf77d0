// What this member has proposed and not seen applied yet.
import type { Command } from "../command.ts";
import type { Settle } from "../consensus.ts";
import type { Refused } from "../mvcc/errors.ts";
import { numberOf, seal } from "./envelope.ts";

/** Most entries and bytes that are proposed at once. */
const BATCH_ENTRIES = 1024;
const BATCH_BYTES = 4 * 1024 * 1024;
/** Proposals that may wait before more are refused. */
const MOST_WAITING = 65_536;

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
  /** Tells this life's proposals from those of others. */
  readonly #origin = crypto.getRandomValues(new Uint8Array(8));
  #last = 0;
  /** Not given to Raft yet, or refused for now. */
  #waiting: Proposal[] = [];
  /** By number, in that order. */
  readonly #open = new Map<number, Proposal>();
  /** Those that were given up. */
  failures = 0;

  get size(): number {
    return this.#waiting.length + this.#open.size;
  }

  get isFull(): boolean {
    return this.size >= MOST_WAITING;
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  /**
   * @param data the command encoded, with room for the envelope in front
   * @param since milliseconds on the member's clock
   */
  add(command: Command, data: Uint8Array, since: number, settle: Settle<unknown>): void {
    const number = ++this.#last;
    seal(data, this.#origin, number);
    this.#waiting.push({ command, data, number, context: undefined, since, settle });
  }

  /** Takes those that go to Raft together. */
  next(): Proposal[] {
    let n = 0;
    for (let sum = 0; n < this.#waiting.length && n < BATCH_ENTRIES && sum < BATCH_BYTES; n++) sum += this.#waiting[n]!.data.length;
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

  /** Takes out the one whose data this is; undefined if it is another's. */
  take(data: Uint8Array): Proposal | undefined {
    const number = numberOf(data, this.#origin);
    if (number === 0) return undefined;
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
