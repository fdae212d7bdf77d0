// Simple tokens: who holds which, and until when. Every member learns of them
// from the log; each lets them expire by its own clock, anew with each use.

interface Held {
  user: string;
  /** Milliseconds. */
  expiry: number;
}

export class SimpleTokens {
  /** Milliseconds that an unused token lasts; etcd's --auth-token-ttl. */
  ttl = 300_000;
  /** In the order of expiry, for the TTL is the same for all. */
  readonly #held = new Map<string, Held>();

  get size(): number {
    return this.#held.size;
  }

  /** @param now milliseconds */
  assign(token: string, user: string, now: number): void {
    this.#sweep(now);
    this.#held.set(token, { user, expiry: now + this.ttl });
  }

  /** Whose token it is, which starts its time again; undefined for one that is not known (any more). */
  use(token: string, now: number): string | undefined {
    const held = this.#held.get(token);
    if (!held) return undefined;
    this.#held.delete(token);
    if (held.expiry <= now) return undefined;
    held.expiry = now + this.ttl;
    this.#held.set(token, held);
    return held.user;
  }

  /** Takes a user's tokens away. */
  revoke(user: string): void {
    for (const [token, held] of this.#held) if (held.user === user) this.#held.delete(token);
  }

  clear(): void {
    this.#held.clear();
  }

  #sweep(now: number): void {
    for (const [token, held] of this.#held) {
      if (held.expiry > now) return;
      this.#held.delete(token);
    }
  }
}
