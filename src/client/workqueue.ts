// The work queue of controllers (k8s.io/client-go/util/workqueue): a key waits
// at most once, is never worked on twice at a time, and failures come back later.
import { isConflict, isNotFound } from "../api/status.ts";
import { type Logger, logger } from "../platform/log.ts";
import { type Clock, realClock, type Timer } from "./clock.ts";

export interface RateLimiter {
  /** Milliseconds that this key should wait now. */
  when(key: string): number;
  forget(key: string): void;
  requeues(key: string): number;
}

/** Each failure of a key doubles its wait. */
export class ExponentialLimiter implements RateLimiter {
  readonly #failures = new Map<string, number>();
  constructor(
    readonly base = 5,
    readonly max = 1_000_000,
  ) {}
  when(key: string): number {
    const n = this.#failures.get(key) ?? 0;
    this.#failures.set(key, n + 1);
    return Math.min(this.max, this.base * 2 ** n);
  }
  forget(key: string): void {
    this.#failures.delete(key);
  }
  requeues(key: string): number {
    return this.#failures.get(key) ?? 0;
  }
}

/** A token bucket over all keys: `qps` tokens a second, `burst` at most. */
export class BucketLimiter implements RateLimiter {
  readonly #clock: Clock;
  #tokens: number;
  #at: number;
  constructor(
    readonly qps = 10,
    readonly burst = 100,
    clock: Clock = realClock,
  ) {
    this.#clock = clock;
    this.#tokens = burst;
    this.#at = clock.now();
  }
  when(): number {
    const now = this.#clock.now();
    this.#tokens = Math.min(this.burst, this.#tokens + ((now - this.#at) / 1000) * this.qps) - 1;
    this.#at = now;
    return this.#tokens >= 0 ? 0 : (-this.#tokens / this.qps) * 1000;
  }
  /** Takes a token if there is one. */
  tryTake(): boolean {
    const now = this.#clock.now();
    this.#tokens = Math.min(this.burst, this.#tokens + ((now - this.#at) / 1000) * this.qps);
    this.#at = now;
    if (this.#tokens < 1) return false;
    this.#tokens--;
    return true;
  }
  forget(): void {}
  requeues(): number {
    return 0;
  }
}

/** The longest of several waits. */
export class MaxLimiter implements RateLimiter {
  readonly #limiters: readonly RateLimiter[];
  constructor(...limiters: RateLimiter[]) {
    this.#limiters = limiters;
  }
  when(key: string): number {
    return Math.max(...this.#limiters.map((l) => l.when(key)));
  }
  forget(key: string): void {
    for (const l of this.#limiters) l.forget(key);
  }
  requeues(key: string): number {
    return Math.max(...this.#limiters.map((l) => l.requeues(key)));
  }
}

/** 5 ms doubling to 1000 s for a key, and 10 a second with bursts of 100 over all: client-go's default. */
export function defaultLimiter(clock: Clock = realClock): RateLimiter {
  return new MaxLimiter(new ExponentialLimiter(), new BucketLimiter(10, 100, clock));
}

/** What a metrics registry wants to know (workqueue_* of upstream); durations in milliseconds. */
export interface QueueMetrics {
  add?(queue: string): void;
  depth?(queue: string, n: number): void;
  latency?(queue: string, ms: number): void;
  duration?(queue: string, ms: number): void;
  retry?(queue: string): void;
}

export interface QueueOptions {
  /** Keys worked on at the same time. */
  workers?: number;
  limiter?: RateLimiter;
  clock?: Clock;
  metrics?: QueueMetrics;
  log?: Logger;
}

/** What became of a key: nothing more to do, or to be looked at again after so many milliseconds. */
export type Outcome = { requeueAfter?: number } | void;

export class WorkQueue {
  readonly name: string;
  readonly #reconcile: (key: string) => Promise<Outcome> | Outcome;
  readonly #workers: number;
  readonly #limiter: RateLimiter;
  readonly #clock: Clock;
  readonly #metrics: QueueMetrics;
  readonly #log: Logger;
  /** Keys that need work: those waiting, and those changed while being worked on. */
  readonly #dirty = new Set<string>();
  readonly #active = new Set<string>();
  readonly #since = new Map<string, number>();
  readonly #delayed = new Map<string, { due: number; timer: Timer }>();
  #queue: string[] = [];
  #scheduled = false;
  #running = false;
  #stopped = false;
  #idle: (() => void)[] = [];

  /** Nothing is worked on before start(). */
  constructor(name: string, reconcile: (key: string) => Promise<Outcome> | Outcome, options: QueueOptions = {}) {
    this.name = name;
    this.#reconcile = reconcile;
    this.#workers = options.workers ?? 1;
    this.#clock = options.clock ?? realClock;
    this.#limiter = options.limiter ?? defaultLimiter(this.#clock);
    this.#metrics = options.metrics ?? {};
    this.#log = options.log ?? logger(name);
  }

  /** Keys that wait to be worked on. */
  get length(): number {
    return this.#queue.length;
  }

  /** Neither waiting, nor worked on, nor due later. */
  get empty(): boolean {
    return this.#queue.length === 0 && this.#active.size === 0 && this.#delayed.size === 0;
  }

  requeues(key: string): number {
    return this.#limiter.requeues(key);
  }

  add(key: string): void {
    if (this.#stopped || this.#dirty.has(key)) return;
    this.#dirty.add(key);
    this.#metrics.add?.(this.name);
    if (this.#active.has(key)) return;
    this.#enqueue(key);
  }

  /** Adds the key after `ms`; of several such calls the earliest holds. */
  addAfter(key: string, ms: number): void {
    if (this.#stopped) return;
    if (ms <= 0) {
      this.add(key);
      return;
    }
    const due = this.#clock.now() + ms;
    const waiting = this.#delayed.get(key);
    if (waiting && waiting.due <= due) return;
    waiting?.timer.cancel();
    const timer = this.#clock.after(ms, () => {
      this.#delayed.delete(key);
      this.add(key);
    });
    this.#delayed.set(key, { due, timer });
  }

  /** Adds the key after what the limiter says of its failures. */
  addRateLimited(key: string): void {
    this.#metrics.retry?.(this.name);
    this.addAfter(key, this.#limiter.when(key));
  }

  forget(key: string): void {
    this.#limiter.forget(key);
  }

  start(): void {
    this.#running = true;
    this.#schedule();
  }

  /** Takes no more keys and resolves when those under way are done. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#queue = [];
    for (const { timer } of this.#delayed.values()) timer.cancel();
    this.#delayed.clear();
    await this.idle();
  }

  /** Resolves when nothing waits and nothing is worked on; what is due later does not count. */
  idle(): Promise<void> {
    if (this.#queue.length === 0 && this.#active.size === 0) return Promise.resolve();
    return new Promise((resolve) => this.#idle.push(resolve));
  }

  #enqueue(key: string): void {
    this.#queue.push(key);
    this.#since.set(key, this.#clock.now());
    this.#metrics.depth?.(this.name, this.#queue.length);
    this.#schedule();
  }

  /** After the current task, so that events which come together are one reconcile. */
  #schedule(): void {
    if (this.#scheduled || !this.#running) return;
    this.#scheduled = true;
    queueMicrotask(() => {
      this.#scheduled = false;
      while (this.#queue.length > 0 && this.#active.size < this.#workers) void this.#work(this.#queue.shift()!);
    });
  }

  async #work(key: string): Promise<void> {
    const began = this.#clock.now();
    this.#metrics.depth?.(this.name, this.#queue.length);
    this.#metrics.latency?.(this.name, began - (this.#since.get(key) ?? began));
    this.#since.delete(key);
    this.#active.add(key);
    this.#dirty.delete(key);
    try {
      const outcome = await this.#reconcile(key);
      this.#limiter.forget(key);
      if (outcome?.requeueAfter !== undefined) this.addAfter(key, outcome.requeueAfter);
    } catch (error) {
      // The normal course: another wrote or deleted first, and the event of that is on the way.
      const quiet = isConflict(error) || isNotFound(error);
      if (quiet) this.#log.info("Trying again after a conflict", { queue: this.name, key, err: (error as Error).message }, 4);
      else this.#log.error("Reconcile failed, trying again", error, { queue: this.name, key, failures: this.requeues(key) + 1 });
      this.addRateLimited(key);
    } finally {
      this.#metrics.duration?.(this.name, this.#clock.now() - began);
      this.#active.delete(key);
      if (this.#dirty.has(key) && !this.#stopped) this.#enqueue(key);
      else if (this.#queue.length > 0) this.#schedule();
      if (this.#queue.length === 0 && this.#active.size === 0) for (const resolve of this.#idle.splice(0)) resolve();
    }
  }
}
