// Leases: a pure core that is told the time. Grants and revocations come
// through the log and are the same on every member; the clock is only the
// leader's, which proposes a revocation when it finds a lease expired.
import { Refused } from "../mvcc/errors.ts";

/** The shortest TTL that is granted, in seconds: one and a half of etcd's default election timeouts, rounded up. */
export const MIN_TTL = 2;
export const MAX_TTL = 9_000_000_000;

export interface Lease {
  readonly id: bigint;
  /** Seconds. */
  readonly ttl: number;
  /** Milliseconds on the clock of the caller. */
  expiry: number;
  readonly keys: Set<string>;
}

export class Lessor {
  #leases = new Map<bigint, Lease>();
  /** Min-heap by expiry as it was when pushed; an entry that a keep-alive outdated is pushed again. */
  #heap: { at: number; lease: Lease }[] = [];

  /** For metrics: what was asked of it since it was made. */
  granted = 0;
  revoked = 0;
  renewed = 0;

  get size(): number {
    return this.#leases.size;
  }

  get(id: bigint): Lease | undefined {
    return this.#leases.get(id);
  }

  has(id: bigint): boolean {
    return this.#leases.has(id);
  }

  all(): Iterable<Lease> {
    return this.#leases.values();
  }

  /**
   * Adds a lease. `ttl` in seconds is raised to MIN_TTL.
   *
   * @param now milliseconds
   * @throws Refused "lease-exists" or "lease-ttl-too-large"
   */
  grant(id: bigint, ttl: number, now: number): Lease {
    if (ttl > MAX_TTL) throw new Refused("lease-ttl-too-large");
    if (this.#leases.has(id)) throw new Refused("lease-exists");
    const granted = Math.max(ttl, MIN_TTL);
    const lease: Lease = { id, ttl: granted, expiry: now + granted * 1000, keys: new Set() };
    this.#leases.set(id, lease);
    this.granted++;
    this.#push({ at: lease.expiry, lease });
    return lease;
  }

  /** Starts the TTL again; undefined if there is no such lease, or it has run out and its revocation is under way. */
  renew(id: bigint, now: number): Lease | undefined {
    const lease = this.#leases.get(id);
    if (!lease || lease.expiry <= now) return undefined;
    lease.expiry = now + lease.ttl * 1000;
    this.renewed++;
    return lease;
  }

  /** After a restart or a new leader: nobody knows how much had passed, so every lease starts again. */
  renewAll(now: number): void {
    for (const lease of this.#leases.values()) lease.expiry = now + lease.ttl * 1000;
  }

  /** Takes what another has, which is not to be used any more, in place of all it has. */
  adopt(other: Lessor): void {
    this.#leases = other.#leases;
    this.#heap = other.#heap;
  }

  /** Takes a lease out; its keys are the caller's to delete. */
  remove(id: bigint): Lease | undefined {
    const lease = this.#leases.get(id);
    if (this.#leases.delete(id)) this.revoked++;
    return lease;
  }

  attach(key: string, before: bigint, after: bigint): void {
    if (before !== 0n) this.#leases.get(before)?.keys.delete(key);
    if (after !== 0n) this.#leases.get(after)?.keys.add(key);
  }

  /** Takes up to `most` leases that have expired off the heap; each has to be removed, or renewed and queued again. */
  expired(now: number, most: number): Lease[] {
    const found: Lease[] = [];
    for (let top = this.#heap[0]; top && top.at <= now && found.length < most; top = this.#heap[0]) {
      this.#pop();
      const { lease } = top;
      if (this.#leases.get(lease.id) !== lease) continue;
      if (lease.expiry > now) this.#push({ at: lease.expiry, lease });
      else found.push(lease);
    }
    return found;
  }

  /** Looks at a lease again at this time, when its revocation did not go through. */
  requeue(lease: Lease, at: number): void {
    this.#push({ at, lease });
  }

  /** When expired() may next find one, in milliseconds. */
  nextExpiry(): number | undefined {
    return this.#heap[0]?.at;
  }

  #push(item: { at: number; lease: Lease }): void {
    const heap = this.#heap;
    let i = heap.length;
    heap.push(item);
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (heap[parent]!.at <= item.at) break;
      heap[i] = heap[parent]!;
      i = parent;
    }
    heap[i] = item;
  }

  #pop(): void {
    const heap = this.#heap;
    const item = heap.pop()!;
    if (heap.length === 0) return;
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && heap[child + 1]!.at < heap[child]!.at) child++;
      if (heap[child]!.at >= item.at) break;
      heap[i] = heap[child]!;
      i = child;
    }
    heap[i] = item;
  }
}
