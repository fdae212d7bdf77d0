// How proposals become the log that every member applies. One member needs no
// vote: what its disk holds is committed. Raft takes this place for several.
import type { AnswerOf, Command } from "./command.ts";
import { Refused } from "./mvcc/errors.ts";
import { EntryType } from "./raft/types.ts";
import type { Entry, HardState } from "./wal/format.ts";
import { type Wal, WalError } from "./wal/wal.ts";

export interface Consensus {
  readonly term: number;
  /** 0n while there is none. */
  readonly leader: bigint;
  readonly committedIndex: number;
  /**
   * Answers with what applying the command answered; rejects with Refused.
   *
   * @param data the command encoded
   */
  propose<C extends Command>(command: C, data: Uint8Array): Promise<AnswerOf<C>>;
  /** Resolves when this member's state holds every write acknowledged before the call; undefined when it does already. */
  readBarrier(): Promise<void> | undefined;
  /** Takes no more proposals; resolves when those under way are settled. */
  stop(): Promise<void>;
}

/** What consensus drives. */
export interface Applier {
  /** Applies a committed entry; throws Refused. */
  apply(entry: Entry, command: Command): unknown;
  /** All committed so far is applied. */
  applied(): void;
  /** The disk refuses; `broken` when it will until the next start. */
  failed(error: WalError): void;
}

interface Proposal {
  command: Command;
  data: Uint8Array;
  resolve(answer: unknown): void;
  reject(error: Error): void;
}

/** Most entries and bytes that share one fdatasync; the rest waits for the next. */
const BATCH_ENTRIES = 1024;
const BATCH_BYTES = 4 * 1024 * 1024;
/** Proposals that may wait before more are refused. */
const MOST_WAITING = 65_536;

export class SoloConsensus implements Consensus {
  readonly #wal: Wal;
  readonly #applier: Applier;
  readonly #id: bigint;
  #state: HardState;
  /** The term is new and not in the log yet. */
  #stateChanged = true;
  #waiting: Proposal[] = [];
  #running: Promise<void> | undefined;
  #stopped = false;

  constructor(wal: Wal, applier: Applier) {
    this.#wal = wal;
    this.#applier = applier;
    this.#id = wal.identity.memberId;
    // A member that starts again begins a term, as an election would. It is written with its first entry.
    this.#state = { term: wal.hardState.term + 1, vote: this.#id, commit: wal.lastIndex };
  }

  get term(): number {
    return this.#state.term;
  }

  get leader(): bigint {
    return this.#id;
  }

  get committedIndex(): number {
    return this.#wal.lastIndex;
  }

  propose<C extends Command>(command: C, data: Uint8Array): Promise<AnswerOf<C>> {
    if (this.#stopped) return Promise.reject(new Refused("unavailable"));
    if (this.#waiting.length >= MOST_WAITING) return Promise.reject(new Refused("too-many-requests"));
    return new Promise((resolve, reject) => {
      this.#waiting.push({ command, data, resolve: resolve as (answer: unknown) => void, reject });
      // What all sockets bring in this turn joins; what comes during the fdatasync shares the next one.
      this.#running ??= new Promise<void>((turn) => setImmediate(turn)).then(() => this.#run());
    });
  }

  readBarrier(): undefined {
    return undefined;
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#running;
  }

  async #run(): Promise<void> {
    while (this.#waiting.length > 0) {
      const batch = this.#take();
      const { term } = this.#state;
      const first = this.#wal.lastIndex + 1;
      const entries = batch.map((p, i): Entry => ({ index: first + i, term, type: EntryType.normal, data: p.data }));
      try {
        await this.#wal.append(entries, this.#stateChanged ? this.#state : undefined);
      } catch (error) {
        this.#fail(batch, error);
        continue;
      }
      this.#stateChanged = false;
      for (const [i, p] of batch.entries()) this.#apply(entries[i]!, p);
      this.#applier.applied();
    }
    this.#running = undefined;
  }

  #take(): Proposal[] {
    let n = 0;
    for (let bytes = 0; n < this.#waiting.length && n < BATCH_ENTRIES && bytes < BATCH_BYTES; n++) bytes += this.#waiting[n]!.data.length;
    if (n < this.#waiting.length) return this.#waiting.splice(0, n);
    const all = this.#waiting;
    this.#waiting = [];
    return all;
  }

  #apply(entry: Entry, proposal: Proposal): void {
    try {
      proposal.resolve(this.#applier.apply(entry, proposal.command));
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      proposal.reject(error);
    }
  }

  #fail(batch: Proposal[], cause: unknown): void {
    const error = cause instanceof WalError ? cause : new WalError(String(cause), false, cause);
    this.#applier.failed(error);
    const refused = new Refused(error.noSpace ? "no-space" : "storage-failed", { cause });
    for (const p of batch) p.reject(refused);
  }
}
