// Exponential backoff a key (k8s.io/client-go/util/flowcontrol Backoff): the
// delay doubles with each failure, and is forgotten after twice the maximum.

interface Entry {
  delay: number;
  updated: number;
}

export class Backoff {
  readonly #initial: number;
  readonly #max: number;
  readonly #entries = new Map<string, Entry>();

  /** Delays in milliseconds. */
  constructor(initial: number, max: number) {
    this.#initial = initial;
    this.#max = max;
  }

  /** The present delay of a key in milliseconds; 0 for none. */
  get(key: string): number {
    return this.#entries.get(key)?.delay ?? 0;
  }

  /** Milliseconds that are left of the delay that began at `since`; 0 when it may be tried. */
  remaining(key: string, since: number, now: number): number {
    const entry = this.#entries.get(key);
    if (!entry || this.#expired(entry, now)) return 0;
    return Math.max(0, since + entry.delay - now);
  }

  /** As remaining, counted from the last call of next. */
  remainingSinceUpdate(key: string, now: number): number {
    return this.remaining(key, this.#entries.get(key)?.updated ?? 0, now);
  }

  /** Notes another failure. */
  next(key: string, now: number): void {
    const entry = this.#entries.get(key);
    const delay = !entry || this.#expired(entry, now) ? this.#initial : Math.min(entry.delay * 2, this.#max);
    this.#entries.set(key, { delay, updated: now });
  }

  reset(key: string): void {
    this.#entries.delete(key);
  }

  /** Forgets every key that starts with a prefix. */
  forget(prefix: string): void {
    for (const key of this.#entries.keys()) if (key.startsWith(prefix)) this.#entries.delete(key);
  }

  #expired(entry: Entry, now: number): boolean {
    return now - entry.updated > this.#max * 2;
  }
}
