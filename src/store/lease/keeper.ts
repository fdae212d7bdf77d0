// Leases as clients of any member see them: only the leader counts their time.

import type { Peer } from "../../rpc/gen/kubun/store/member_pb.ts";
import type { Client } from "../../rpc/types.ts";
import type { Consensus } from "../consensus.ts";
import { Refused } from "../mvcc/errors.ts";
import type { StateMachine } from "../state.ts";
import type { LeaseClock } from "./clock.ts";

export interface LeaseHost {
  readonly state: StateMachine;
  readonly consensus: Consensus;
  askLeader<T>(ask: (peer: Client<typeof Peer>) => Promise<T>): Promise<T>;
}

export interface TimeToLive {
  /** Whole seconds left; -1 if there is no such lease. */
  ttl: number;
  grantedTtl: number;
  /** In order. */
  keys: Uint8Array[];
}

/** Milliseconds that the leader has to answer. */
const TIMEOUT = 5000;

export class LeaseKeeper {
  readonly #host: LeaseHost;
  readonly #clock: LeaseClock;

  constructor(host: LeaseHost, clock: LeaseClock) {
    this.#host = host;
    this.#clock = clock;
  }

  /** Starts a lease's time again. Resolves with its seconds, 0 if there is none any more. Rejects with Refused. */
  async renew(id: bigint): Promise<number> {
    for (let tries = 0; ; tries++) {
      if (this.#host.consensus.isLeader) return this.renewAsLeader(id);
      try {
        return Number(await this.#host.askLeader(async (peer) => (await peer.renewLease({ id }, { timeout: TIMEOUT })).ttl));
      } catch (error) {
        // Who was asked has just stopped being the leader.
        if (!(error instanceof Refused && error.refusal === "not-leader") || tries > 3) throw error;
      }
    }
  }

  /** Rejects with Refused. */
  async timeToLive(id: bigint): Promise<TimeToLive> {
    await this.#host.consensus.readBarrier();
    const lease = this.#host.state.lessor.get(id);
    if (!lease) return { ttl: -1, grantedTtl: 0, keys: [] };
    const keys = [...lease.keys].sort().map((k) => Buffer.from(k, "latin1"));
    const ttl = this.#host.consensus.isLeader
      ? this.remainingAsLeader(id)
      : Number(await this.#host.askLeader(async (peer) => (await peer.leaseTimeToLive({ id }, { timeout: TIMEOUT })).ttl));
    return { ttl, grantedTtl: lease.ttl, keys };
  }

  /** Ids of all leases, the one that expires first in front. Rejects with Refused. */
  async leases(): Promise<bigint[]> {
    await this.#host.consensus.readBarrier();
    return [...this.#host.state.lessor.all()].sort((a, b) => a.expiry - b.expiry).map(({ id }) => id);
  }

  /** Throws Refused "not-leader". */
  renewAsLeader(id: bigint): number {
    this.#lead();
    return this.#clock.renew(id)?.ttl ?? 0;
  }

  /** Throws Refused "not-leader". */
  remainingAsLeader(id: bigint): number {
    this.#lead();
    const lease = this.#host.state.lessor.get(id);
    return lease ? this.#clock.remaining(lease) : -1;
  }

  #lead(): void {
    if (!this.#host.consensus.isLeader) throw new Refused("not-leader");
  }
}
