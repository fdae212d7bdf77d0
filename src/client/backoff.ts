// Exponential backoff with jitter (k8s.io/apimachinery/pkg/util/wait.Backoff).

export interface BackoffOptions {
  /** First delay in milliseconds. */
  initial: number;
  /** Longest delay in milliseconds, before jitter. */
  max: number;
  /** What each delay is multiplied by. */
  factor: number;
  /** 0.5 adds up to half of the delay at random. */
  jitter: number;
}

/** What client-go's reflector waits between failed lists and watches. */
export const reflectorBackoff: BackoffOptions = { initial: 800, max: 30_000, factor: 2, jitter: 1 };

export class Backoff {
  readonly #options: BackoffOptions;
  readonly #random: () => number;
  #next: number;

  constructor(options: BackoffOptions, random: () => number = Math.random) {
    this.#options = options;
    this.#random = random;
    this.#next = options.initial;
  }

  /** Milliseconds to wait now; the next answer is longer. */
  next(): number {
    const delay = this.#next;
    this.#next = Math.min(this.#options.max, delay * this.#options.factor);
    return delay * (1 + this.#options.jitter * this.#random());
  }

  reset(): void {
    this.#next = this.#options.initial;
  }
}
