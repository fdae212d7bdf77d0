/** Milliseconds between two questions; etcd's. */
const INTERVAL = 5000;

/** Asks every so often, and tells how long each answer took; what fails is told by nobody. */
export class Probe {
  readonly #ask: () => Promise<unknown>;
  readonly #answered: (seconds: number) => void;
  #timer: Timer | undefined;
  #asking = false;

  constructor(ask: () => Promise<unknown>, answered: (seconds: number) => void) {
    this.#ask = ask;
    this.#answered = answered;
  }

  start(): void {
    clearInterval(this.#timer);
    this.#timer = setInterval(() => this.#once(), INTERVAL);
    this.#timer.unref();
    this.#once();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  async #once(): Promise<void> {
    // One that takes longer than the interval is not asked again meanwhile.
    if (this.#asking) return;
    this.#asking = true;
    const start = performance.now();
    const answered = await this.#ask().then(
      () => true,
      () => false,
    );
    this.#asking = false;
    if (answered) this.#answered((performance.now() - start) / 1000);
  }
}
