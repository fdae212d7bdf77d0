// Takes what the leader sends: entries, its commit index, snapshots.

import type { Append, Heartbeat, InstallSnapshot, Message } from "./messages.ts";
import { RoleState } from "./role.ts";
import type { Role } from "./types.ts";

export class Follower extends RoleState {
  readonly name: Role = "follower";

  step(m: Message): void {
    const { node } = this;
    switch (m.type) {
      case "append":
        node.heardFrom(m.from);
        node.known(m.commit);
        this.#append(m);
        break;
      case "snapshot":
        node.heardFrom(m.from);
        node.known(m.meta.index);
        this.#restore(m);
        break;
      case "heartbeat":
        node.heardFrom(m.from);
        // The leader tells no more than it knows to be here.
        node.commitTo(Math.min(m.commit, node.log.last));
        this.#answer(m);
        break;
      case "timeoutNow":
        if (m.from === node.leader) node.campaign(true);
    }
  }

  #answer({ from: to, round, sentAt }: Heartbeat): void {
    const { id: from, term, promise } = this.node;
    this.node.send({ type: "heartbeatResponse", from, to, term, round, sentAt, promise });
  }

  #append(m: Append): void {
    const { log, commit } = this.node;
    // All of this is committed here already; what follows it is the leader's to find out.
    if (m.prevIndex < commit) return this.#confirm(m.from, commit);
    if (!log.has({ index: m.prevIndex, term: m.prevTerm })) return this.#reject(m);
    const first = log.merge(m.entries, commit);
    if (first !== undefined) this.node.disk.replaced(first);
    const last = m.prevIndex + m.entries.length;
    this.node.commitTo(Math.min(m.commit, last));
    this.#confirm(m.from, last);
  }

  #reject(m: Append): void {
    const { id, term, log } = this.node;
    const hint = log.lastAgreeing(m.prevIndex, m.prevTerm);
    this.node.send({
      type: "appendResponse",
      from: id,
      to: m.from,
      term,
      index: m.prevIndex,
      rejected: true,
      hintIndex: hint.index,
      hintTerm: hint.term,
    });
  }

  #restore({ from, meta }: InstallSnapshot): void {
    const { node } = this;
    if (meta.index > node.commit) {
      // What the log has up to there is what the snapshot has.
      if (node.log.has(meta)) node.commitTo(meta.index);
      else node.restore(meta);
    }
    this.#confirm(from, node.commit);
  }

  #confirm(to: bigint, index: number): void {
    const { id, term } = this.node;
    this.node.send({ type: "appendResponse", from: id, to, term, index, rejected: false, hintIndex: 0, hintTerm: 0 });
  }
}
