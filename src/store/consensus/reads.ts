// Linearizable reads: those that come while a round to the majority is under
// way share the next one (the Raft dissertation, 6.4).

/** Reads that came together. */
interface Waiting {
  readonly since: number;
  count: number;
  readonly done: Promise<void>;
  resolve(): void;
  reject(error: Error): void;
}

/** Reads that come within so many milliseconds wait as one. */
const TOGETHER = 1;

interface Round {
  readonly context: number;
  /** When it was asked for; a lost question is asked again. */
  readonly at: number;
  readonly reads: Waiting[];
}

/** Contexts are unique to a member, its earlier lives included. */
const firstContext = () => Math.floor(Math.random() * 2 ** 48);

export class Reads {
  #next = firstContext();
  /** Reads that got no answer. */
  failures = 0;
  #waiting: Waiting[] = [];
  #round: Round | undefined;
  /** Rounds that were answered, whose index is not applied yet; by index. */
  #answered: { index: number; reads: Waiting[] }[] = [];

  get pending(): boolean {
    return this.#waiting.length > 0 || this.#round !== undefined;
  }

  add(now: number): Promise<void> {
    const last = this.#waiting.at(-1);
    if (last && now - last.since < TOGETHER) {
      last.count++;
      return last.done;
    }
    const { promise: done, resolve, reject } = Promise.withResolvers<void>();
    this.#waiting.push({ since: now, count: 1, done, resolve, reject });
    return done;
  }

  /** The context to ask Raft for, if there is a reason to ask. */
  start(now: number): number | undefined {
    if (this.#round || this.#waiting.length === 0) return undefined;
    this.#round = { context: this.#next++, at: now, reads: this.#waiting };
    this.#waiting = [];
    return this.#round.context;
  }

  /** The round under way is lost, or got no answer for so long: its reads go into the next. */
  retry(before: number): boolean {
    if (!this.#round || this.#round.at > before) return false;
    this.#waiting = [...this.#round.reads, ...this.#waiting];
    this.#round = undefined;
    return true;
  }

  answered(context: number, index: number): void {
    if (this.#round?.context !== context) return;
    this.#answered.push({ index, reads: this.#round.reads });
    this.#round = undefined;
  }

  /** The state includes everything up to here. */
  applied(index: number): void {
    if (this.#answered.length === 0) return;
    this.#answered = this.#answered.filter((round) => {
      if (round.index > index) return true;
      for (const read of round.reads) read.resolve();
      return false;
    });
  }

  /** Rejects what waits since before a time. */
  expire(before: number, why: () => Error): void {
    const live = (reads: Waiting[]) =>
      reads.filter((read) => {
        if (read.since > before) return true;
        this.failures += read.count;
        read.reject(why());
        return false;
      });
    this.#waiting = live(this.#waiting);
    if (this.#round) this.#round = { ...this.#round, reads: live(this.#round.reads) };
    this.#answered = this.#answered.map((round) => ({ ...round, reads: live(round.reads) }));
  }

  rejectAll(error: Error): void {
    this.expire(Number.POSITIVE_INFINITY, () => error);
  }
}
