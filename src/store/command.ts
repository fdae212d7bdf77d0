// What the log's entries say: every change of the store, and nothing that a
// member could decide differently from another.
import type { TxnAnswer, TxnRequest } from "./mvcc/types.ts";

export type AlarmKind = "nospace" | "corrupt";

export interface Alarm {
  memberId: bigint;
  kind: AlarmKind;
}

export type Command =
  | ({ type: "txn" } & TxnRequest)
  | { type: "compact"; revision: number }
  | { type: "leaseGrant"; id: bigint; ttl: number }
  | { type: "leaseRevoke"; id: bigint }
  | { type: "alarm"; raise: boolean; alarm: Alarm };

/** What applying each kind of command answers. */
export interface Answers {
  txn: TxnAnswer;
  compact: { revision: number };
  leaseGrant: { revision: number; id: bigint; ttl: number };
  leaseRevoke: { revision: number };
  alarm: { revision: number; changed: boolean };
}

export type AnswerOf<C extends Command> = Answers[C["type"]];
