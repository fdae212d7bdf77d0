// What every service of the server needs.
import type { Member } from "../member.ts";
import { ResponseHeader } from "../wire/responses.ts";
import type { Gate } from "./gate.ts";

export interface ServerContext {
  readonly member: Member;
  /** Who calls, and whether that matters. */
  readonly gate: Gate;
  /** The member's name in member lists. */
  readonly name: string;
  /** URLs that clients are told. */
  readonly clientUrls: readonly string[];
  readonly peerUrls: readonly string[];
  /** Milliseconds after which a watch without events tells progress, where asked to. */
  readonly progressInterval: number;
  /** Most bytes of events in a message of a watch that takes fragments. */
  readonly fragmentBytes: number;
  /** Most operations in a branch of a transaction. */
  readonly maxTxnOps: number;
}

let made: { header: ResponseHeader; clusterId: bigint; memberId: bigint } | undefined;

/** The header of answers that are written by hand. */
export function wireHeader({ member }: ServerContext): ResponseHeader {
  const { clusterId, memberId } = member.identity;
  const { term } = member.consensus;
  if (made?.header.term !== term || made.memberId !== memberId || made.clusterId !== clusterId) {
    made = { header: new ResponseHeader(clusterId, memberId, term), clusterId, memberId };
  }
  return made.header;
}

/** A response header. */
export function header({ member }: ServerContext, revision = member.state.mvcc.revision) {
  const { clusterId, memberId } = member.identity;
  return { clusterId, memberId, revision: BigInt(revision), raftTerm: BigInt(member.consensus.term) };
}
