// fdatasync where it costs least. On the test machine's disk it takes 0.1 ms,
// and handing it to a thread and hearing back from it costs as much CPU time
// again: 64 clients get 56 000 puts/s with it on the event loop, and 25 000 with
// it on the thread pool. A disk that takes its time must not hold the loop up.
import { fdatasync, fdatasyncSync } from "node:fs";

/** Milliseconds that an fdatasync on the event loop may take, on average. */
const QUICK = 1;
/** How fast the average follows: a share of one eighth for the newest. */
const WEIGHT = 1 / 8;
/** After being slow, so many go aside before the disk is tried again; twice as many each time it is still slow. */
const REST = 32;
const LONGEST_REST = 4096;

/** The two ways, for tests. */
export interface SyncWays {
  /** Milliseconds. */
  now(): number;
  here(fd: number): void;
  aside(fd: number): Promise<void>;
}

const WAYS: SyncWays = {
  now: () => performance.now(),
  here: fdatasyncSync,
  aside: (fd) =>
    new Promise((resolve, reject) => {
      fdatasync(fd, (error) => (error ? reject(error) : resolve()));
    }),
};

export class DataSync {
  readonly #ways: SyncWays;
  #average = 0;
  /** How many still go aside. */
  #resting = 0;
  #rest = REST;

  constructor(ways: SyncWays = WAYS) {
    this.#ways = ways;
  }

  /** Resolves when the file's data is on the disk; rejects with what the system says. */
  async sync(fd: number): Promise<void> {
    if (this.#resting > 0) {
      this.#resting--;
      return this.#ways.aside(fd);
    }
    const started = this.#ways.now();
    this.#ways.here(fd);
    this.#took(this.#ways.now() - started);
  }

  #took(milliseconds: number): void {
    this.#average += (milliseconds - this.#average) * WEIGHT;
    if (this.#average <= QUICK) {
      this.#rest = Math.max(REST, this.#rest >> 1);
      return;
    }
    this.#resting = this.#rest;
    this.#rest = Math.min(this.#rest * 2, LONGEST_REST);
    // The next one decides by itself.
    this.#average = QUICK;
  }
}
