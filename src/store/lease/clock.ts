// The leader's clock: one timer, set to when the next lease may have expired.
import { logger } from "../../platform/log.ts";
import { Refused } from "../mvcc/errors.ts";
import type { Lease, Lessor } from "./lessor.ts";

/** Revocations proposed in one turn; a thundering herd of expiries is spread. */
const MOST_AT_ONCE = 500;
const RETRY = 500;
const LONGEST_TIMER = 2 ** 31 - 1;

export class LeaseClock {
  readonly #lessor: Lessor;
  readonly #revoke: (id: bigint) => Promise<unknown>;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #due = Number.POSITIVE_INFINITY;
  #running = false;
  /** Leases whose time was up, for metrics. */
  expired = 0;

  constructor(lessor: Lessor, revoke: (id: bigint) => Promise<unknown>) {
    this.#lessor = lessor;
    this.#revoke = revoke;
  }

  start(): void {
    this.#running = true;
    this.wake();
  }

  stop(): void {
    this.#running = false;
    clearTimeout(this.#timer);
    this.#due = Number.POSITIVE_INFINITY;
  }

  /** Starts a lease's time again; undefined if there is none. */
  renew(id: bigint): Lease | undefined {
    return this.#lessor.renew(id, performance.now());
  }

  /** Whole seconds left, not below 0. */
  remaining(lease: Lease): number {
    return Math.max(0, Math.floor((lease.expiry - performance.now()) / 1000));
  }

  /** Sets the timer if a lease may expire before it fires. */
  wake(): void {
    if (!this.#running) return;
    const next = this.#lessor.nextExpiry();
    if (next === undefined || next >= this.#due) return;
    clearTimeout(this.#timer);
    this.#due = next;
    this.#timer = setTimeout(() => this.#fire(), Math.min(Math.max(0, next - performance.now()) + 1, LONGEST_TIMER));
    this.#timer.unref();
  }

  #fire(): void {
    this.#due = Number.POSITIVE_INFINITY;
    for (const lease of this.#lessor.expired(performance.now(), MOST_AT_ONCE)) {
      this.expired++;
      this.#revoke(lease.id).catch((error: unknown) => {
        if (error instanceof Refused && error.refusal === "lease-not-found") return;
        logger("etcd").error("Could not revoke an expired lease; trying again", error, { lease: lease.id.toString(16) });
        this.#lessor.requeue(lease, performance.now() + RETRY);
        this.wake();
      });
    }
    this.wake();
  }
}
