/** A rate limit: `burst` at once, then `rate` a second. */
export class TokenBucket {
  readonly #burst: number;
  readonly #rate: number;
  readonly #now: () => number;
  #tokens: number;
  #last: number | undefined;

  /** @param now milliseconds */
  constructor(burst: number, rate: number, now: () => number) {
    this.#burst = burst;
    this.#rate = rate;
    this.#now = now;
    this.#tokens = burst;
  }

  take(): boolean {
    if (this.#tokens >= 1 && this.#tokens > this.#burst / 2) {
      // The clock is read only once half is gone.
      this.#tokens--;
      return true;
    }
    const now = this.#now();
    this.#tokens = Math.min(this.#burst, this.#tokens + ((now - (this.#last ?? now)) / 1000) * this.#rate);
    this.#last = now;
    if (this.#tokens < 1) return false;
    this.#tokens--;
    return true;
  }
}
