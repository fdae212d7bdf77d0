// What the log's entries say: every change of the store, and nothing that a
// member could decide differently from another.
import type { AuthAnswer } from "./auth/auth.ts";
import type { AuthChange, Author } from "./auth/types.ts";
import type { TxnAnswer, TxnRequest } from "./mvcc/types.ts";

export type AlarmKind = "nospace" | "corrupt";

export interface Alarm {
  memberId: bigint;
  kind: AlarmKind;
}

/** The request that says the same, as a client sent it: the log takes it as it is (codec.ts, sentRequest). */
export interface SentRequest {
  /** The log entry, with `room` bytes left free in front. */
  readonly entry: Uint8Array;
  readonly room: number;
}

/**
 * With `by`, a client asks for it, and while auth is on it needs that user's
 * permission when it is applied; without, the store itself does.
 */
export type Command = { by?: Author } & Change;

type Change =
  | ({ type: "txn"; sent?: SentRequest } & TxnRequest)
  | { type: "compact"; revision: number }
  | { type: "leaseGrant"; id: bigint; ttl: number }
  | { type: "leaseRevoke"; id: bigint }
  | { type: "alarm"; raise: boolean; alarm: Alarm }
  | { type: "auth"; change: AuthChange }
  /** A member says its name and where it serves clients. */
  | { type: "memberPublish"; id: bigint; name: string; clientUrls: readonly string[] }
  | { type: "memberUpdate"; id: bigint; peerUrls: readonly string[] }
  | { type: "clusterVersion"; version: string }
  /** To this release, such as "3.5.0"; empty: no longer. */
  | { type: "downgrade"; target: string };

/** What applying each kind of command answers. */
export interface Answers {
  txn: TxnAnswer;
  compact: { revision: number };
  leaseGrant: { revision: number; id: bigint; ttl: number };
  leaseRevoke: { revision: number };
  alarm: { revision: number; changed: boolean };
  auth: { revision: number } & AuthAnswer;
  memberPublish: { revision: number };
  memberUpdate: { revision: number };
  clusterVersion: { revision: number };
  downgrade: { revision: number };
}

export type AnswerOf<C extends Command> = Answers[C["type"]];
