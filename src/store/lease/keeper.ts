// Leases as clients of any member see them: only the leader counts their time.
import { type Asking, byLeader } from "../by-leader.ts";
import type { Consensus } from "../consensus.ts";
import { Refused } from "../mvcc/errors.ts";
import type { StateMachine } from "../state.ts";
import type { LeaseClock } from "./clock.ts";

export interface LeaseHost extends Asking {
  readonly state: StateMachine;
  readonly consensus: Consensus;
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
  renew(id: bigint): Promise<number> {
    return byLeader(
      this.#host,
      () => this.renewAsLeader(id),
      async (peer) => Number((await peer.renewLease({ id }, { timeout: TIMEOUT })).ttl),
    );
  }

  /** Rejects with Refused. */
  async timeToLive(id: bigint): Promise<TimeToLive> {
    await this.#host.consensus.readBarrier();
    const lease = this.#host.state.lessor.get(id);
    if (!lease) return { ttl: -1, grantedTtl: 0, keys: [] };
    const keys = [...lease.keys].sort().map((k) => Buffer.from(k, "latin1"));
    const ttl = await byLeader(
      this.#host,
      () => this.remainingAsLeader(id),
      async (peer) => Number((await peer.leaseTimeToLive({ id }, { timeout: TIMEOUT })).ttl),
    );
    return { ttl, grantedTtl: lease.ttl, keys };
  }

  /** Ids of all leases, the one that expires first in front. Rejects with Refused. */
  async leases(): Promise<bigint[]> {
    await this.#host.consensus.readBarrier();
    return [...this.#host.state.lessor.all()].sort((a, b) => a.expiry - b.expiry).map(({ id }) => id);
  }

  /** Rejects with Refused, "not-leader" too. */
  async renewAsLeader(id: bigint): Promise<number> {
    this.#lead();
    const lease = this.#clock.renew(id);
    if (lease) return lease.ttl;
    // One that was paused may have found it expired while another already leads, and keeps it.
    await this.#host.consensus.readBarrier();
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
