// What only the leader can do, asked of any member.
import type { Peer } from "../rpc/gen/kubun/store/member_pb.ts";
import type { Client } from "../rpc/types.ts";
import type { Consensus } from "./consensus.ts";
import { Refused } from "./mvcc/errors.ts";
import { refusalOf } from "./peer/refusal.ts";
import type { Transport } from "./peer/transport.ts";

export interface Asking {
  readonly consensus: Pick<Consensus, "isLeader" | "leader" | "leaderKnown">;
  readonly transport: Pick<Transport, "peer">;
}

const MOST_TRIES = 5;

/** Does it as the leader, or asks the leader, whoever that is now; waits for one. Both refuse with "not-leader" what had no effect. Rejects with Refused. */
export async function byLeader<T>(member: Asking, lead: () => T | Promise<T>, ask: (peer: Client<typeof Peer>) => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await (member.consensus.isLeader ? lead() : askLeader(member, ask));
    } catch (error) {
      // Who was asked has just stopped being the leader, or this member has become it.
      if (!(error instanceof Refused && error.refusal === "not-leader") || tries === MOST_TRIES) throw error;
    }
  }
}

async function askLeader<T>({ consensus, transport }: Asking, ask: (peer: Client<typeof Peer>) => Promise<T>): Promise<T> {
  await consensus.leaderKnown();
  if (consensus.isLeader) throw new Refused("not-leader");
  const peer = transport.peer(consensus.leader);
  if (!peer) throw new Refused(consensus.leader === 0n ? "no-leader" : "timeout");
  try {
    return await ask(peer);
  } catch (error) {
    throw refusalOf(error);
  }
}
