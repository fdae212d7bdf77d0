// When a read may be answered from the cache: once that holds all that was
// acknowledged before the read began.
import type { RangeOptions, RangeResult } from "../../client/etcd.ts";
import { tooLarge } from "./errors.ts";
import { Shared } from "./shared.ts";

/** Milliseconds that a read waits for the cache. */
const PATIENCE = 3000;
/** Milliseconds after which the store is asked how far the cache is, where that costs it more than it does to wait. */
const ASK_AFTER = 50;

/** What freshness is judged by. */
export interface Feed {
  /** A read of the store; throws the API's errors. */
  range(key: Uint8Array, options: RangeOptions): Promise<RangeResult>;
  /** Has the cache told how far it is, also where nothing changes. */
  askProgress(): void;
  /** Whether that is answered at once. */
  readonly progressAtOnce: boolean;
}

/** Keys that lie together, and how many of them the cache has. */
export interface Part {
  readonly key: Uint8Array;
  readonly end: Uint8Array;
  size(): number;
}

interface Waiter {
  /** Whether it may go on, asked whenever the cache has moved. */
  due(): boolean;
  go(): void;
}

export class Freshness {
  readonly #feed: Feed;
  readonly #everything: Pick<Part, "key">;
  #revision = 0;
  #ended = false;
  #waiters: Waiter[] = [];
  #read: Promise<number> | undefined;
  readonly #looks = new Map<string, Shared<RangeResult>>();

  /** `everything` begins with the first key of the cache. */
  constructor(feed: Feed, everything: Pick<Part, "key">) {
    this.#feed = feed;
    this.#everything = everything;
  }

  /** The cache has seen every change up to this revision. */
  get revision(): number {
    return this.#revision;
  }

  /** The cache has come to a revision. */
  advance(revision: number): void {
    this.#revision = revision;
    if (this.#waiters.length === 0) return;
    const due = this.#waiters.filter((w) => w.due());
    if (due.length === 0) return;
    this.#waiters = this.#waiters.filter((w) => !due.includes(w));
    for (const w of due) w.go();
  }

  /** Starts from nothing: what the cache held is of no use. */
  reset(): void {
    this.#revision = 0;
  }

  /** Nothing comes any more: who waits goes on with what there is. */
  end(): void {
    this.#ended = true;
    for (const w of this.#waiters.splice(0)) w.go();
  }

  /** Waits until the cache has seen a revision. Throws 504 as upstream where that takes too long. */
  until(revision: number): Promise<void> {
    if (this.#revision >= revision) return Promise.resolve();
    this.#feed.askProgress();
    return this.#wait(revision, () => this.#revision >= revision);
  }

  /** As `until`, for a revision that changed an object: its event is on the way. */
  seen(revision: number): Promise<void> {
    return this.#wait(revision, () => this.#revision >= revision);
  }

  /** Waits until the cache holds all that was acknowledged before this call. */
  async whole(): Promise<void> {
    await this.until(await this.#now());
  }

  /**
   * What `read` makes of the cache at a moment when its part of it is what the
   * store held at one between the call and now. `read` is called once, and has
   * to take what it wants without waiting. `direct` answers from the store, where
   * that is the smaller effort than to find out how far the cache is.
   */
  async fresh<T>(part: Part, read: () => T, direct?: () => Promise<T>): Promise<T> {
    const now = await this.#now();
    if (this.#revision >= now) return read();
    if (this.#feed.progressAtOnce) {
      await this.until(now);
      return read();
    }
    return direct ? direct() : this.#compared(part, read);
  }

  /** The store's revision. Calls of one tick share a read: it begins after each of them. */
  #now(): Promise<number> {
    this.#read ??= Promise.resolve().then(async () => {
      this.#read = undefined;
      return (await this.#feed.range(this.#everything.key, { limit: 1, keysOnly: true })).revision;
    });
    return this.#read;
  }

  /**
   * A store that can't say at once how far the cache is can still be compared
   * with it. Let the store be asked at revision S which keys of the part have
   * changed since the cache's revision, and how many keys there are, and M be
   * the newest change in the answer. A cache at a revision from M to S has every
   * key of the answer as it was at S, for none of those changed later; it can
   * only have more, which were deleted meanwhile. So where it has as many, it is
   * the same. Every change of the part reaches the cache as an event, so it
   * comes to that without being told anything else.
   */
  async #compared<T>(part: Part, read: () => T): Promise<T> {
    const { revision, kvs, count } = await this.#changes(part);
    const newest = kvs.reduce((most, kv) => Math.max(most, kv.modRevision), 0);
    const same = () => this.#revision >= revision || (this.#revision >= newest && this.#revision > 0 && part.size() === count);
    if (same()) return read();
    const timer = setTimeout(() => this.#feed.askProgress(), ASK_AFTER);
    let taken: { value: T } | undefined;
    try {
      // Read in the same turn: the next event may bring a key that was deleted before this call.
      await this.#wait(revision, same, () => {
        taken = { value: read() };
      });
    } finally {
      clearTimeout(timer);
    }
    return taken ? taken.value : read();
  }

  /** Keys that changed since some revision that the cache had come to when the question was sent. */
  #changes(part: Part): Promise<RangeResult> {
    const name = Buffer.from(part.key).toString("latin1");
    let look = this.#looks.get(name);
    if (!look) {
      look = new Shared(() => this.#feed.range(part.key, { end: part.end, keysOnly: true, minModRevision: this.#revision + 1 }));
      this.#looks.set(name, look);
    }
    return look.call();
  }

  async #wait(revision: number, due: () => boolean, go?: () => void): Promise<void> {
    if (due()) return go?.();
    const { promise, resolve, reject } = Promise.withResolvers<boolean>();
    const waiter: Waiter = {
      due,
      go: () => {
        try {
          go?.();
          resolve(true);
        } catch (error) {
          reject(error);
        }
      },
    };
    this.#waiters.push(waiter);
    const timer = setTimeout(() => {
      this.#waiters = this.#waiters.filter((w) => w !== waiter);
      resolve(false);
    }, PATIENCE);
    try {
      if (!(await promise) && !this.#ended) throw tooLarge(revision, this.#revision);
    } finally {
      clearTimeout(timer);
    }
  }
}
