// What members tell each other.
import type { Entry, EntryType, ReadMode, Refusal, SnapshotMeta } from "./types.ts";

interface Envelope {
  readonly from: bigint;
  readonly to: bigint;
  /** The sender's; in a pre-vote, the term that it would campaign for. 0 in what a member only passes on to the leader. */
  readonly term: number;
}

export interface Append extends Envelope {
  readonly type: "append";
  /** What has to stand before `entries`. */
  readonly prevIndex: number;
  readonly prevTerm: number;
  readonly commit: number;
  readonly entries: readonly Entry[];
}

export interface AppendResponse extends Envelope {
  readonly type: "appendResponse";
  /** The follower's log is durable and the leader's up to here; if rejected, the `prevIndex` that did not fit. */
  readonly index: number;
  readonly rejected: boolean;
  /** If rejected: the last position of the follower at which both may still agree. */
  readonly hintIndex: number;
  readonly hintTerm: number;
}

export interface Heartbeat extends Envelope {
  readonly type: "heartbeat";
  readonly commit: number;
  /** The newest round of reads that an answer confirms. */
  readonly round: number;
  /** The leader's clock when it sent this, to be returned: milliseconds that mean nothing to others. */
  readonly sentAt: number;
}

export interface HeartbeatResponse extends Envelope {
  readonly type: "heartbeatResponse";
  readonly round: number;
  readonly sentAt: number;
  /** Milliseconds on the sender's clock for which it gives nobody else a vote; 0 promises nothing. */
  readonly promise: number;
}

export interface Vote extends Envelope {
  readonly type: "vote" | "preVote";
  readonly lastIndex: number;
  readonly lastTerm: number;
  /** The leader asked for this election, so that nobody need protect it. */
  readonly transfer: boolean;
}

export interface VoteResponse extends Envelope {
  readonly type: "voteResponse" | "preVoteResponse";
  readonly granted: boolean;
}

export interface InstallSnapshot extends Envelope {
  readonly type: "snapshot";
  readonly meta: SnapshotMeta;
}

/** The leader's word to its successor: campaign now. */
export interface TimeoutNow extends Envelope {
  readonly type: "timeoutNow";
}

/** Asks the leader to propose. */
export interface Propose extends Envelope {
  readonly type: "propose";
  readonly kind: typeof EntryType.normal | typeof EntryType.confChange;
  readonly datas: readonly Uint8Array[];
  /** The sender's number of it, to be returned with a refusal. */
  readonly context: number;
}

/** Whoever was asked to propose did not: nothing of it is in the log, nor will be. */
export interface ProposeRefused extends Envelope {
  readonly type: "proposeRefused";
  readonly context: number;
  readonly refusal: Refusal;
}

export interface ReadIndex extends Envelope {
  readonly type: "readIndex";
  readonly context: number;
  readonly mode: ReadMode;
}

export interface ReadIndexResponse extends Envelope {
  readonly type: "readIndexResponse";
  readonly context: number;
  readonly index: number;
}

/** Asks the leader to hand over. */
export interface TransferLeader extends Envelope {
  readonly type: "transferLeader";
  readonly target: bigint;
}

export type Message =
  | Append
  | AppendResponse
  | Heartbeat
  | HeartbeatResponse
  | Vote
  | VoteResponse
  | InstallSnapshot
  | TimeoutNow
  | Propose
  | ProposeRefused
  | ReadIndex
  | ReadIndexResponse
  | TransferLeader;
