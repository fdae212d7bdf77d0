// Who leads next: handing over on request, before a stop, and by a leader that
// can't write.
import { logger } from "../../platform/log.ts";
import type { Network } from "../consensus.ts";
import { Refused } from "../mvcc/errors.ts";
import type { FollowerStatus, RaftCore } from "../raft/types.ts";
import type { Deadlines } from "./deadlines.ts";

export class Succession {
  readonly #raft: RaftCore;
  readonly #network: Network;
  readonly #deadlines: Deadlines;
  readonly #pump: () => void;

  /** @param pump carries out what Raft was told to */
  constructor(raft: RaftCore, network: Network, deadlines: Deadlines, pump: () => void) {
    this.#raft = raft;
    this.#network = network;
    this.#deadlines = deadlines;
    this.#pump = pump;
  }

  get #leads(): boolean {
    return this.#raft.status.role === "leader";
  }

  /** Resolves when another is leader; rejects with Refused. Only on the leader. */
  transfer(target: bigint): Promise<void> {
    if (!this.#leads) return Promise.reject(new Refused("not-leader"));
    if (target === this.#raft.status.leader) return Promise.resolve();
    if (!this.#raft.transferLeader(target)) return Promise.reject(new Refused("bad-transferee"));
    const done = this.#deadlines.led(target);
    this.#pump();
    return done;
  }

  /** A leader that will stop lets another one lead first, if there is one that can. */
  async handOver(): Promise<void> {
    const tried = new Set<bigint>();
    for (;;) {
      const next = this.#successors().find((f) => !tried.has(f.id));
      if (!this.#leads || !next) return;
      tried.add(next.id);
      try {
        return await this.transfer(next.id);
      } catch (error) {
        logger("etcd").warn("Could not hand over leadership", { to: next.id.toString(16), error: String(error) });
        // Who stops as well is known by now; who had its time and did not lead would only be waited for again.
        if (!(error instanceof Refused) || error.refusal !== "bad-transferee") return;
      }
    }
  }

  /** A leader that can't write hands over to whoever has most of its log. */
  stepAside(): void {
    const [next] = this.#successors();
    if (this.#leads && next) this.#raft.transferLeader(next.id);
    this.#pump();
  }

  /** Who could lead, the one with most of the log in front. */
  #successors(): FollowerStatus[] {
    const network = this.#network;
    const able = this.#raft.followers.filter(
      (f) => !f.learner && f.active && network.connectedSince(f.id) !== undefined && !network.stopping(f.id),
    );
    return able.sort((a, b) => b.match - a.match);
  }
}
