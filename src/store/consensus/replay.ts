// Reads a log back into the state it led to. What is known to be committed is
// applied as it comes, so that no more than the rest is held in memory; and
// what a follower may still ask for.
import { decodeCommand } from "../codec.ts";
import { decodeBase } from "../membership/members.ts";
import { Refused } from "../mvcc/errors.ts";
import { changed, decodeConfChange, isJoint } from "../raft/configuration.ts";
import { type Entry, EntryType, type HardState, type SnapshotMeta, type StoredState } from "../raft/types.ts";
import type { SnapshotPace } from "../snapshot/pace.ts";
import type { StateMachine } from "../state.ts";
import { BASE, type Identity, type Entry as LogEntry } from "../wal/format.ts";
import type { LogVisitor } from "../wal/wal.ts";
import { commandAt } from "./envelope.ts";

/** Entries kept for followers unless told otherwise, and their bytes. */
export const CATCH_UP = 5000;
const CATCH_UP_BYTES = 32 * 1024 * 1024;

export class Replay implements LogVisitor {
  readonly #state: StateMachine;
  readonly #pace: SnapshotPace;
  readonly #now: number;
  readonly #catchUp: number;
  /** Whose log it is. */
  #own = 0n;
  #hardState: HardState = { term: 0, vote: 0n, commit: 0 };
  #base: SnapshotMeta;
  /** Applied, behind the base. */
  #kept: Entry[] = [];
  #keptBytes = 0;
  /** Not known to be committed. */
  #open: Entry[] = [];

  /**
   * @param now milliseconds, to date the leases
   * @param catchUp entries kept for followers
   */
  constructor(state: StateMachine, pace: SnapshotPace, now: number, catchUp: number) {
    this.#catchUp = catchUp;
    this.#pace = pace;
    this.#state = state;
    this.#now = now;
    this.#base = { index: state.index, term: state.term, configuration: state.membership.configuration };
  }

  identity({ memberId }: Identity): void {
    this.#own = memberId;
  }

  entry(entry: LogEntry): void {
    this.truncate(entry.index);
    if (entry.type === BASE) return this.#begin(entry);
    if (this.#alone) {
      // Whatever such a member wrote was committed by that. Its data is a view, and is not kept.
      this.#apply(entry as Entry);
      this.#base = { index: entry.index, term: entry.term, configuration: this.#state.membership.configuration };
      return;
    }
    this.#open.push({ ...(entry as Entry), data: entry.data.slice() });
    this.#advance();
  }

  hardState(state: HardState): void {
    this.#hardState = state;
    this.#advance();
  }

  truncate(from: number): void {
    while (this.#open.length > 0 && this.#open.at(-1)!.index >= from) this.#open.pop();
  }

  /** Takes for committed what may be: on a member that goes on alone, nobody else can have another log. */
  commitAll(): void {
    this.hardState({ ...this.#hardState, commit: Number.MAX_SAFE_INTEGER });
  }

  /** What Raft starts with. */
  stored(): StoredState {
    const { index, membership } = this.#state;
    // Of a log that was written before there were members, its own member is the only one.
    const base = this.#base.configuration.voters.length > 0 ? this.#base : { ...this.#base, configuration: membership.configuration };
    return {
      hardState: { ...this.#hardState, commit: Math.max(this.#hardState.commit, index) },
      base,
      entries: [...this.#kept, ...this.#open],
      applied: index,
    };
  }

  /** Whether nobody else has a part in what is committed; also in a log of before there were members. */
  get #alone(): boolean {
    const { configuration } = this.#state.membership;
    const { voters, learners } = configuration;
    return this.#kept.length === 0 && voters.every((id) => id === this.#own) && learners.length === 0 && !isJoint(configuration);
  }

  #begin(entry: LogEntry): void {
    const { state, index, term } = { state: this.#state, ...entry };
    state.membership.restore(decodeBase(entry.data));
    state.pass(index, term);
    this.#base = { index, term, configuration: state.membership.configuration };
  }

  #advance(): void {
    let n = 0;
    for (; n < this.#open.length && this.#open[n]!.index <= this.#hardState.commit; n++) {
      const entry = this.#open[n]!;
      this.#apply(entry);
      this.#kept.push(entry);
      this.#keptBytes += entry.data.length;
    }
    if (n > 0) this.#open.splice(0, n);
    if (this.#kept.length > 2 * this.#catchUp || this.#keptBytes > CATCH_UP_BYTES) this.#trim();
  }

  #trim(): void {
    let n = 0;
    for (; n < this.#kept.length && (this.#kept.length - n > this.#catchUp || this.#keptBytes > CATCH_UP_BYTES / 2); n++) {
      const { index, term, type, data } = this.#kept[n]!;
      const { configuration } = this.#base;
      const next = type === EntryType.confChange ? changed(configuration, decodeConfChange(data)) : configuration;
      this.#base = { index, term, configuration: next };
      this.#keptBytes -= data.length;
    }
    this.#kept.splice(0, n);
  }

  #apply({ index, term, type, data }: Entry): void {
    const state = this.#state;
    this.#pace.applied(data.length);
    if (type === EntryType.empty) return state.pass(index, term);
    if (type === EntryType.confChange) {
      state.membership.apply(decodeConfChange(data));
      return state.pass(index, term);
    }
    try {
      state.apply(index, term, decodeCommand(data, commandAt(data)), this.#now);
    } catch (error) {
      // Refused then, refused now.
      if (!(error instanceof Refused)) throw error;
    }
  }
}
