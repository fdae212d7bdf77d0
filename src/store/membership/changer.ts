// Changes of who the members are, asked of any member and made by the leader.
import { byLeader } from "../by-leader.ts";
import type { Member } from "../member.ts";
import { Refused } from "../mvcc/errors.ts";
import type { Transport } from "../peer/transport.ts";
import { confChangeOf, type MemberChange } from "./operations.ts";
import { type ClusterOptions, DEFAULT_TOKEN } from "./options.ts";

/** As proto/kubun/store/member.proto numbers them. */
const KINDS = { add: 0, addLearner: 1, promote: 2, remove: 3, update: 4 } as const;
/** Milliseconds that the leader has to answer. */
const TIMEOUT = 7000;

/** What it needs of its member. */
type Host = Pick<Member, "consensus" | "state" | "identity" | "changeMembers"> & {
  readonly transport: Pick<Transport, "connected" | "peer">;
};

export class MembershipChanger {
  readonly #member: Host;
  readonly #options: ClusterOptions;

  constructor(member: Host, options: ClusterOptions) {
    this.#member = member;
    this.#options = options;
  }

  /** Through the leader; resolves once it is applied here. Rejects with Refused. */
  async change(change: MemberChange): Promise<{ id: bigint }> {
    const member = this.#member;
    const { kind, id } = change;
    const peerUrls = [...change.peerUrls];
    const done = await byLeader(
      member,
      () => member.changeMembers(change),
      async (peer) => {
        const answer = await peer.changeMembers({ kind: KINDS[kind], id, peerUrls }, { timeout: TIMEOUT });
        return { id: answer.id, index: Number(answer.index) };
      },
    );
    // One that was removed sees no more of the log.
    if (kind !== "remove" || id !== member.identity.memberId) await member.consensus.appliedIndex(done.index);
    return { id: done.id };
  }

  /** As the leader that may take it. */
  async changeAsLeader(change: MemberChange): Promise<{ id: bigint; index: number }> {
    const { consensus, state, identity, transport } = this.#member;
    const { initialClusterToken = DEFAULT_TOKEN, maxLearners = 1, strictReconfigCheck = true } = this.#options;
    if (!consensus.isLeader) throw new Refused("not-leader");
    let id = 0n;
    const { index } = await consensus.change(() => {
      const made = confChangeOf(change, {
        membership: state.membership,
        own: identity.memberId,
        followers: consensus.followers,
        committed: consensus.committedIndex,
        connected: transport.connected,
        // Ids of new members are made from it.
        token: initialClusterToken,
        maxLearners,
        strict: strictReconfigCheck,
        seconds: Math.floor(Date.now() / 1000),
      });
      id = made.id;
      return made.change;
    });
    return { id, index };
  }
}
