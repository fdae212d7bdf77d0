// Gives back the memory that a burst of writes leaves. The engine collects when
// something is allocated, so a store that has become quiet would keep what the
// last requests took: 85 of 255 MiB after 100 000 pairs of 1 KB.

export interface TidyOptions {
  /** Bytes that the log has taken since the start. */
  written(): number;
  collect?(): void;
  /** Milliseconds without a write after which it is quiet. Default 1000. */
  quiet?: number;
  /** Bytes of writes that are worth a collection. Default 16 MiB. */
  worth?: number;
  /** Milliseconds that a collection may take, or the next has to be worth twice as much. Default 100. */
  longest?: number;
}

export class Tidy {
  readonly #written: () => number;
  readonly #collect: () => void;
  readonly #quiet: number;
  readonly #longest: number;
  #worth: number;
  #timer: Timer | undefined;
  #seen = 0;
  #collected = 0;

  constructor({ written, collect = () => Bun.gc(true), quiet = 1000, worth = 16 * 1024 * 1024, longest = 100 }: TidyOptions) {
    this.#written = written;
    this.#collect = collect;
    this.#quiet = quiet;
    this.#worth = worth;
    this.#longest = longest;
  }

  /** Something was written. */
  wake(): void {
    this.#timer ??= setTimeout(() => this.#look(), this.#quiet).unref();
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  #look(): void {
    this.#timer = undefined;
    const written = this.#written();
    const busy = written !== this.#seen;
    this.#seen = written;
    if (busy) return this.wake();
    if (written - this.#collected < this.#worth) return;
    this.#collected = written;
    const began = performance.now();
    this.#collect();
    if (performance.now() - began > this.#longest) this.#worth *= 2;
  }
}
