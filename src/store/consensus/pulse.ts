// The ticks that Raft counts time in, while anybody needs them.

export class Pulse {
  readonly #millis: number;
  readonly #beat: (now: number, late: boolean) => void;
  #timer: ReturnType<typeof setInterval> | undefined;
  #beatAt = 0;
  #until = Number.POSITIVE_INFINITY;

  /** @param beat is told the time in milliseconds, and whether it is late by an interval: the disk, or the machine, holds the process up */
  constructor(millis: number, beat: (now: number, late: boolean) => void) {
    this.#millis = millis;
    this.#beat = beat;
  }

  /** Idempotent, as stop() is. */
  start(): void {
    this.#until = Number.POSITIVE_INFINITY;
    if (this.#timer) return;
    this.#beatAt = performance.now();
    this.#timer = setInterval(() => this.#fire(performance.now()), this.#millis).unref();
  }

  /** Stops after a last beat in so many milliseconds, if it runs. */
  runOut(millis: number): void {
    this.#until = performance.now() + millis;
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #fire(now: number): void {
    const late = now - this.#beatAt > 2 * this.#millis;
    this.#beatAt = now;
    if (now > this.#until) this.stop();
    this.#beat(now, late);
  }
}
