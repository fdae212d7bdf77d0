// Asks for votes: first whether it would get them (section 9.6 of Ongaro's
// dissertation), then for good.
import { membersOf } from "./configuration.ts";
import type { Message } from "./messages.ts";
import type { Node } from "./node.ts";
import { outcome } from "./quorum.ts";
import { RoleState } from "./role.ts";
import type { Role } from "./types.ts";

export class Candidate extends RoleState {
  readonly name: Role;
  readonly #asks: "preVote" | "vote";
  /** Of the election. */
  readonly #term: number;
  readonly #votes = new Map<bigint, boolean>();

  constructor(node: Node, asks: "preVote" | "vote", transfer: boolean) {
    super(node);
    this.name = asks === "vote" ? "candidate" : "preCandidate";
    this.#asks = asks;
    this.#votes.set(node.id, true);
    const { id, log, configuration } = node;
    const term = asks === "vote" ? node.term : node.term + 1;
    this.#term = term;
    for (const to of membersOf(configuration)) {
      if (to === id || configuration.learners.includes(to)) continue;
      node.send({ type: asks, from: id, to, term, lastIndex: log.last, lastTerm: log.lastTerm, transfer });
    }
  }

  step(m: Message): void {
    const { node } = this;
    if (m.type === "append" || m.type === "heartbeat" || m.type === "snapshot") {
      // Somebody else won.
      node.follow(node.term, m.from);
      node.role.step(m);
    } else if ((m.type === "voteResponse" && this.#asks === "vote") || (m.type === "preVoteResponse" && this.#asks === "preVote")) {
      // A promise for an election of an earlier term is none for this one.
      if (m.granted && m.term !== this.#term) return;
      this.#votes.set(m.from, m.granted);
      this.#count();
    }
  }

  #count(): void {
    const { node } = this;
    const result = outcome(node.configuration, (id) => this.#votes.get(id));
    if (result === "lost") node.follow(node.term, 0n);
    else if (result === "won" && this.#asks === "preVote") node.elect(false);
    else if (result === "won") node.lead();
  }
}
