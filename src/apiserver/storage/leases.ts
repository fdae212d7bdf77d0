// Leases of objects that expire. Those that live equally long and expire at about
// the same time share one, as upstream's lease manager has it.

/** Objects share a lease for this many seconds, at most a twentieth of their time. */
const DEFAULT_REUSE = 60;
/** And no more than this many (upstream's --lease-max-object-count). */
const MAX_OBJECTS = 1000;

interface Lease {
  id: Promise<bigint>;
  /** On the monotonic clock, in milliseconds. */
  until: number;
  objects: number;
}

export class Leases {
  readonly #grant: (ttl: number) => Promise<{ id: bigint }>;
  readonly #reuse: number;
  /** By the objects' seconds. */
  readonly #leases = new Map<number, Lease>();

  /**
   * @param grant makes a lease of so many seconds
   * @param reuse seconds for which a lease is given to further objects
   */
  constructor(grant: (ttl: number) => Promise<{ id: bigint }>, reuse = DEFAULT_REUSE) {
    this.#grant = grant;
    this.#reuse = reuse;
  }

  /** A lease for an object that lives so many seconds. Throws what granting one does. */
  of(ttl: number): Promise<bigint> {
    const now = performance.now();
    let lease = this.#leases.get(ttl);
    if (!lease || lease.until < now || lease.objects >= MAX_OBJECTS) {
      const reuse = Math.min(this.#reuse, Math.floor(ttl / 20));
      const made: Lease = { id: this.#grant(ttl + reuse).then((l) => l.id), until: now + reuse * 1000, objects: 0 };
      lease = made;
      this.#leases.set(ttl, made);
      made.id.catch(() => {
        if (this.#leases.get(ttl) === made) this.#leases.delete(ttl);
      });
    }
    lease.objects++;
    return lease.id;
  }

  /** Those in use are gone: the next objects get others. */
  forget(): void {
    this.#leases.clear();
  }
}
