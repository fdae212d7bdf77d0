// How proposals become the log that every member applies: what the store asks
// of consensus, and what consensus asks of the store.
import type { AnswerOf, Command } from "./command.ts";
import type { Refused } from "./mvcc/errors.ts";
import type { Message } from "./raft/messages.ts";
import type { ConfChange, Entry, FollowerStatus, Position, ReadMode, SnapshotMeta, Status } from "./raft/types.ts";
import type { WalError } from "./wal/wal.ts";

/**
 * Who waits for a proposal. Called once, while the entry is applied: what it
 * does must be short, and must not throw.
 */
export interface Settle<A> {
  /** With what applying the command answered. */
  resolve(answer: A): void;
  reject(error: Refused): void;
}

export interface Consensus {
  readonly term: number;
  /** 0n while there is none. */
  readonly leader: bigint;
  readonly isLeader: boolean;
  readonly committedIndex: number;
  /** Proposals that are not settled yet, and how many failed, for metrics. */
  readonly pending: number;
  readonly failures: number;
  /** Members other than this one, known to the leader; empty on others. */
  readonly followers: readonly FollowerStatus[];
  /**
   * Answers with what applying the command answered; rejects with Refused.
   *
   * @param data the command encoded, with room for an envelope in front
   */
  propose<C extends Command>(command: C, data: Uint8Array): Promise<AnswerOf<C>>;
  /** The same without a promise. */
  submit<C extends Command>(command: C, data: Uint8Array, settle: Settle<AnswerOf<C>>): void;
  /**
   * Changes who the members are; resolves with where it stands once it is applied here. Only on the leader. Rejects with Refused.
   *
   * @param make called when no other change is known to be on its way, and again if one was: what it looks at is what the change meets
   */
  change(make: () => ConfChange): Promise<Position>;
  /** Resolves once the entry at this index is applied here. Rejects with Refused. */
  appliedIndex(index: number): Promise<void>;
  /** Resolves when a leader is known. Rejects with Refused. */
  leaderKnown(): Promise<void>;
  /** Resolves when this member's state holds every write acknowledged before the call; undefined when it does already. */
  readBarrier(): Promise<void> | undefined;
  /** Resolves when another is leader; rejects with Refused. Only on the leader. */
  transfer(target: bigint): Promise<void>;
  /** A leader that will stop lets another one lead first, if there is one that can. */
  handOver(): Promise<void>;
  /** Takes no more proposals; resolves when nothing is being written any more. */
  stop(): Promise<void>;
}

/** What consensus drives. */
export interface Host {
  /** Applies a committed entry; throws Refused. */
  apply(entry: Entry, command: Command): unknown;
  /** A committed entry changed who the members are. */
  changed(entry: Entry, change: ConfChange): void;
  /** A committed entry that says nothing. */
  passed(entry: Entry): void;
  /** All committed so far is applied. */
  applied(): void;
  /** Puts the received snapshot in place of the state; it is on the disk when this resolves. */
  install(meta: SnapshotMeta): Promise<void>;
  /** Another role, term or leader. */
  status(status: Status): void;
  /** The disk refuses, once more each time that it is tried; `broken` when it will until the next start. */
  failed(error: WalError): void;
  /** The others have this member's word for entries up to `acknowledged`, and its log ends at `last`: from now on it hears and says nothing. */
  lost(acknowledged: number, last: number): void;
  /** It took a write again. */
  recovered(): void;
  /** The others can do without this one, which is no member any more, or not yet. Told again and again. */
  dismissed(): void;
}

/** Where messages go. None is waited for, and any may be lost. */
export interface Network {
  send(messages: readonly Message[]): void;
  /** When the connection to a member was made that stands, in milliseconds; undefined while there is none. */
  connectedSince(id: bigint): number | undefined;
  /** Whether a member has said that it is about to stop. */
  stopping(id: bigint): boolean;
}

export interface Timing {
  /** Milliseconds between two ticks. */
  tickMillis: number;
  /** Milliseconds of the shortest election timeout. */
  electionMillis: number;
  /** What linearizable reads stand on. */
  reads: ReadMode;
}
