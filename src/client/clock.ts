// Time as an input, so that everything that waits can be run by a test.

export interface Timer {
  cancel(): void;
}

export interface Clock {
  /** Milliseconds since the epoch. */
  now(): number;
  /** Calls `fn` once, `ms` milliseconds from now at the earliest. */
  after(ms: number, fn: () => void): Timer;
}

/** setTimeout fires at once past this many milliseconds (about 24.8 days). */
const longest = 2 ** 31 - 1;

export const realClock: Clock = {
  now: () => Date.now(),
  after(ms, fn) {
    let handle: ReturnType<typeof setTimeout>;
    const due = Date.now() + ms;
    const arm = (left: number) => {
      handle = left > longest ? setTimeout(() => arm(due - Date.now()), longest) : setTimeout(fn, Math.max(0, left));
    };
    arm(ms);
    return { cancel: () => clearTimeout(handle) };
  },
};

/** A clock that stands still until a test moves it. */
export class SimulatedClock implements Clock {
  #now: number;
  #sequence = 0;
  #timers: { due: number; sequence: number; fn: () => void }[] = [];

  constructor(start = Date.UTC(2026, 0, 1)) {
    this.#now = start;
  }

  now(): number {
    return this.#now;
  }

  after(ms: number, fn: () => void): Timer {
    const timer = { due: this.#now + Math.max(0, ms), sequence: this.#sequence++, fn };
    this.#timers.push(timer);
    return {
      cancel: () => {
        const at = this.#timers.indexOf(timer);
        if (at >= 0) this.#timers.splice(at, 1);
      },
    };
  }

  /** Milliseconds until the next timer is due; undefined without one. */
  get next(): number | undefined {
    const due = Math.min(...this.#timers.map((t) => t.due));
    return Number.isFinite(due) ? due - this.#now : undefined;
  }

  /** Moves time on by `ms`, running what falls due in order, at its own time. */
  advance(ms: number): void {
    const end = this.#now + ms;
    for (;;) {
      let first = this.#timers[0];
      for (const t of this.#timers) if (first && (t.due < first.due || (t.due === first.due && t.sequence < first.sequence))) first = t;
      if (!first || first.due > end) break;
      this.#timers.splice(this.#timers.indexOf(first), 1);
      this.#now = Math.max(this.#now, first.due);
      first.fn();
    }
    this.#now = end;
  }
}

/** RFC 3339 in whole seconds, as metav1.Time is written. */
export function timestamp(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19)}Z`;
}

/** RFC 3339 with microseconds, as metav1.MicroTime is written. */
export function microTimestamp(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 23)}000Z`;
}

/** Resolves after `ms`, or at once when the signal aborts. */
export function wait(clock: Clock, ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve();
    const done = () => {
      timer.cancel();
      signal?.removeEventListener("abort", done);
      resolve();
    };
    const timer = clock.after(ms, done);
    signal?.addEventListener("abort", done, { once: true });
  });
}
