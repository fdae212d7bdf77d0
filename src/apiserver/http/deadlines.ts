/** Things under way that may take so long each, and no longer. */
export class Deadlines<T> {
  readonly #limit: number;
  readonly #late: (thing: T) => void;
  /** When each began; the oldest first, because all have the same time. */
  readonly #since = new Map<T, number>();
  #timer: Timer | undefined;
  #idle: (() => void) | undefined;

  /**
   * @param limit milliseconds; noticed at most a quarter later
   * @param late called once for what takes longer, which is forgotten then
   */
  constructor(limit: number, late: (thing: T) => void) {
    this.#limit = limit;
    this.#late = late;
  }

  get size(): number {
    return this.#since.size;
  }

  add(thing: T): void {
    this.#since.set(thing, performance.now());
    if (this.#timer) return;
    this.#timer = setInterval(() => this.#sweep(), this.#limit / 4);
    this.#timer.unref();
  }

  delete(thing: T): void {
    this.#since.delete(thing);
    if (this.#since.size === 0) this.#idle?.();
  }

  /** Resolves when there is nothing left, or after `limit` milliseconds. */
  async idle(limit: number): Promise<void> {
    if (this.#since.size === 0) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#idle = resolve;
    const timer = setTimeout(resolve, limit);
    await promise;
    clearTimeout(timer);
  }

  #sweep(): void {
    const now = performance.now();
    for (const [thing, since] of this.#since) {
      if (now - since < this.#limit) return;
      this.delete(thing);
      this.#late(thing);
    }
    if (this.#since.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}
