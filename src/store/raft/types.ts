// What goes into Raft and what comes out of it: the seam between the core,
// which decides, and a shell, which owns the disk, the network and the clock.
//
// How a shell drives it
//
//   const raft = new Raft(config, stored);
//   for (;;) { an input; for (let r = raft.ready(); r; r = raft.ready()) carry out r }
//
// Inputs never fail half-way and never call back. `ready()` hands out, once,
// all that they brought about; the shell carries it out in this order:
//
// 1. `messages` may be sent at once, also before anything of this Ready is on
//    the disk (what has to wait for the disk, Raft holds back itself), and also
//    while the leader's own fdatasync runs. They may get lost, doubled (but for
//    `propose`, which would be two proposals) and out of order; per peer in order
//    is faster. An input that takes long to deliver
//    is better dropped: everything is repeated when it matters.
// 2. If there is `write`, the disk has something to take, in the order of the
//    writes: `snapshot` (the state was received in full: put it in place and
//    start the log anew behind it), then `hardState` and `entries`, which
//    belong into one atomic frame. `entries[0].index` may be at or below what
//    the log has: then everything from there on is replaced. A log that only
//    appends does that by writing the entry again, for a reader takes an index
//    that goes back as "forget what you have from here on". When all writes up
//    to this one are durable: `raft.durable(write)`. Several writes may be
//    under way, or share one fdatasync: `durable` of the last says it of all.
// 3. `committed` entries are applied in order, then `raft.appliedTo(index)`.
//    They are on this member's disk already, so a state machine never is ahead
//    of its log. A conf change has had its effect on Raft by then. A leader that
//    a change leaves without a vote goes on leading until the others can do
//    without it, and if it falls before, they may need its vote, to find out what
//    is committed: a member shuts down when it is `dismissed`. Who left without
//    that has to be started again if the others find no leader.
// 4. `reads`: the read `context` may be answered once the applied index has
//    reached `index`. Reads asked for and not answered when `status` changes
//    are forgotten: ask again.
// 5. `refused`: of a proposal that was forwarded nothing is in the log, nor will
//    be. It may be proposed again, best when `status` changes or after a while:
//    at once it would go the same way, to a member that does not lead any more,
//    or that has no room. A forwarded `propose` that the transport can't send may
//    be treated alike; one that it may have sent, never.
// 6. `status` and `configuration` are told when they have changed. Peers of a
//    configuration that the shell has no connection to are unreachable for now.
//
// Start and crash recovery. The shell reads its newest snapshot and its log
// back, replays the entries up to `hardState.commit` if it wants to (saying so
// with `applied`), and hands over what is left: `base` names the position before
// `entries[0]`, with the configuration as of there. A member of a new cluster
// starts from `bootstrap(voters)`, the same on every one of them; a member that
// joins an existing one from `joining()`, and learns everything from a snapshot.
// What the shell read back it has to sync before it starts, for a log that a
// killed process wrote may not be on the disk yet; and it has to remember the
// base that it started from, as it does a snapshot.
//
// A single voter is leader as soon as it starts, commits when `durable` is told,
// and keeps no applied entry in memory while nobody follows it. One that a change
// leaves as the only voter is not yet: it needs ticks until it leads, and then has
// entries of earlier terms that it may not know to be committed. Only from then on,
// when it has applied what it had, is its state as of now all that was acknowledged.
//
// Snapshots. A `snapshot` message says that the peer has to have the state as of
// `meta.index` or later: the sender's transport takes its state machine as it is
// now, at index i, streams it together with `raft.metaAt(i)`, and tells how it
// went with `reportSnapshot`. The receiver steps the message, with that meta,
// once it has all bytes; only if `ready().snapshot` names it, it is installed.
//
// Leases. `readIndex(context, "lease")` is answered in the same Ready if the
// leader holds one, on a follower after a single way there and back; without one
// it is a `quorum` read. The shell gives `clock`, and treats both alike: a read
// is answered once `reads` names it and its index is applied. It must not answer
// later reads from an earlier answer, nor keep a time of its own. Who answers a
// heartbeat promises to give nobody else a vote for an election timeout of its
// own, on its own clock, and says how long that is; the leader counts it from
// when it SENT that heartbeat, less `maxClockDrift`, on its clock. So no tick,
// no delay and no stopped process makes a lease last too long: who was stopped
// finds on its clock that the lease has run out. What it takes: clocks that run
// on meanwhile (CLOCK_MONOTONIC, which performance.now() is, does so while a
// process is stopped, not while the machine sleeps), and that a member is not
// started again with a shorter election timeout before the old one has passed.

import type { Message } from "./messages.ts";

/** A position in the log, as entries have it. */
export interface Position {
  /** Counts from 1; 0 is before the first. */
  readonly index: number;
  readonly term: number;
}

export const EntryType = { normal: 0, confChange: 1, empty: 2 } as const;
export type EntryType = (typeof EntryType)[keyof typeof EntryType];

export interface Entry extends Position {
  /** `empty` is what a leader begins its term with; nothing to apply. */
  readonly type: EntryType;
  /** Opaque to Raft, but for `confChange`: decodeConfChange. */
  readonly data: Uint8Array;
}

/** What a member must remember besides the log (figure 2 of the Raft paper). */
export interface HardState {
  readonly term: number;
  /** Member voted for in this term; 0n is none. */
  readonly vote: bigint;
  readonly commit: number;
}

/** Who takes part. Ids are in ascending order. */
export interface Configuration {
  readonly voters: readonly bigint[];
  /** The voters before, while a joint change is under way: both majorities are needed. Empty otherwise. */
  readonly outgoing: readonly bigint[];
  /** Get the log, and have no vote. */
  readonly learners: readonly bigint[];
  /** Voters of `outgoing` that become learners when the joint change ends. */
  readonly learnersNext: readonly bigint[];
  /** The leader ends the joint change by itself, as soon as it is committed. */
  readonly autoLeave: boolean;
}

export interface MemberChange {
  readonly type: "addVoter" | "addLearner" | "remove";
  readonly id: bigint;
}

export interface ConfChange {
  /**
   * Several at once go through a joint configuration. `addVoter` promotes a
   * learner, `addLearner` demotes a voter. Empty ends a joint configuration.
   */
  readonly changes: readonly MemberChange[];
  /**
   * `auto`: a joint configuration only if it takes one, which ends by itself.
   * `joint`: one that ends by itself. `explicit`: one that an empty change ends.
   */
  readonly transition: "auto" | "joint" | "explicit";
  /** For whoever applies it, such as the member's name and URLs. */
  readonly context: Uint8Array;
}

/** What a snapshot replaces: all entries up to `index`. */
export interface SnapshotMeta extends Position {
  readonly configuration: Configuration;
}

/**
 * `quorum`: the leader asks a majority whether it still is the leader; right
 * under any clocks. `lease`: it answers from what a majority promised with its
 * last answers to heartbeats, if that still holds; right as long as no other
 * clock is faster than the leader's by more than `maxClockDrift`. Falls back to
 * `quorum`.
 */
export type ReadMode = "quorum" | "lease";

export type Role = "follower" | "preCandidate" | "candidate" | "leader";

export interface Status {
  readonly role: Role;
  readonly term: number;
  /** 0n while there is none known. */
  readonly leader: bigint;
}

export interface Read {
  readonly context: number;
  readonly index: number;
}

/** A proposal that was forwarded, and that the other member did not take. */
export interface RefusedProposal {
  /** As `propose` gave it. */
  readonly context: number;
  readonly refusal: Refusal;
}

export interface Ready {
  readonly messages: readonly Message[];
  /** Number of this write, counting up; undefined if there is nothing for the disk. */
  readonly write: number | undefined;
  readonly snapshot: SnapshotMeta | undefined;
  readonly hardState: HardState | undefined;
  readonly entries: readonly Entry[];
  readonly committed: readonly Entry[];
  readonly reads: readonly Read[];
  readonly refused: readonly RefusedProposal[];
  readonly status: Status | undefined;
  /** In effect from now on. */
  readonly configuration: Configuration | undefined;
}

export interface RaftConfig {
  readonly id: bigint;
  /** Uniform in [0, 1): where election timeouts come from. */
  readonly random: () => number;
  /**
   * Milliseconds of a clock that is never set, and goes on while the process is
   * stopped: what leases stand on. Read at the call, not once for a turn.
   */
  readonly clock: () => number;
  /** By how much the clock of another member may be faster, at the most: a lease holds for that much less. Default 0.1, a tenth. */
  readonly maxClockDrift?: number;
  /** Ticks between heartbeats. Default 1. */
  readonly heartbeatTicks?: number;
  /** Least ticks without a leader before a campaign; a timeout is between this and twice this. Default 10. */
  readonly electionTicks?: number;
  /** Milliseconds from one tick to the next. Default 100. */
  readonly tickMillis?: number;
  /** Most bytes of entries in a message. Default 512 KiB; one entry is sent however large. */
  readonly maxMessageBytes?: number;
  /** Appends that may be under way to a follower. Default 256. */
  readonly maxInflight?: number;
  /** Bytes that may be under way to a follower. Default 64 MiB. */
  readonly maxInflightBytes?: number;
  /** Bytes of proposals that may wait for their commit before more are refused. Default 256 MiB. */
  readonly maxUncommittedBytes?: number;
  /** Applied entries kept in memory for followers that are behind. Default 5 000. */
  readonly catchUpEntries?: number;
  /** And their bytes. Default 64 MiB. */
  readonly catchUpBytes?: number;
}

/** What a member starts with. */
export interface StoredState {
  readonly hardState: HardState;
  /** The position before `entries`, which is that of the newest snapshot or of an entry replayed since. */
  readonly base: SnapshotMeta;
  readonly entries: readonly Entry[];
  /** What the state machine has applied; at least `base.index`, which is the default. */
  readonly applied?: number;
}

/** Why a proposal was not taken. Nothing of it is in the log, nor will be. */
export type Refusal =
  /** None is known; try again when there is. */
  | "no-leader"
  /** Leadership is being handed over; try again. */
  | "transferring"
  /** More would be uncommitted than is allowed. */
  | "too-much-uncommitted"
  /** A change of the configuration is under way, or the leader has not committed an entry of its term yet. */
  | "change-pending"
  /** The change makes no sense here, such as removing the last voter. */
  | "invalid-change";

/**
 * Where a proposal stands in the log; `forwarded` to the leader, nobody knows,
 * nor whether it will: if that one refuses it, `ready().refused` names `context`.
 */
export type Proposed = { readonly at: Position } | { readonly forwarded: bigint; readonly context: number } | { readonly refused: Refusal };

/** What is known of a member, on the leader. */
export interface FollowerStatus {
  readonly id: bigint;
  readonly learner: boolean;
  readonly state: "probe" | "replicate" | "snapshot";
  /** Its log is known to be durable and ours up to here. */
  readonly match: number;
  readonly next: number;
  /** Heard from within the last election timeout, or the one before. */
  readonly active: boolean;
}

/** The core's inputs and output; `Raft` is the implementation. */
export interface RaftCore {
  readonly id: bigint;
  readonly status: Status;
  readonly configuration: Configuration;
  readonly commit: number;
  readonly lastIndex: number;
  /** Whether this is a member no more, and nobody needs it to find that out. Not told in a Ready: it may come with any input. */
  readonly dismissed: boolean;
  /** Members other than this one, known to the leader; empty on others. */
  readonly followers: readonly FollowerStatus[];

  /** `tickMillis` have passed, roughly: late ticks, lost ones and bursts of them delay or provoke elections, and harm nothing else. */
  tick(): void;
  step(message: Message): void;
  /** All of them, in order and next to each other, or none. */
  propose(datas: readonly Uint8Array[]): Proposed;
  proposeConfChange(change: ConfChange): Proposed;
  /**
   * Asks for an index from which on the state includes every write acknowledged before the call.
   *
   * @param context a safe integer that this member never used before, also not before a restart: start at a random one
   * @returns false if no leader is known
   */
  readIndex(context: number, mode: ReadMode): boolean;
  /** Starts to hand leadership to a voter, given up after an election timeout. False if no leader is known, or the target is none. */
  transferLeader(target: bigint): boolean;
  /** Campaigns now, as if a longer time had passed; not while it hears from a leader, who may hold a lease. */
  campaign(): void;
  /** Messages to the member are known to get lost. */
  reportUnreachable(id: bigint): void;
  /** How sending a snapshot ended. */
  reportSnapshot(id: bigint, ok: boolean): void;
  /** All writes up to this one are on the disk for good. */
  durable(write: number): void;
  /** The state machine has applied all up to here. */
  appliedTo(index: number): void;
  /** Forgets entries up to here (at most the applied ones); appliedTo does so by itself when there are many. */
  compact(index: number): void;
  /** What a snapshot of the state as of an applied index is to say; undefined if the entry is no longer known. */
  metaAt(index: number): SnapshotMeta | undefined;
  /**
   * Takes back the entries from this index on, which the disk refused and which
   * will not be made durable. Only a leader that nobody follows can; false if not.
   */
  retract(from: number): boolean;
  /** All since the last call; undefined if there is nothing. */
  ready(): Ready | undefined;
}
