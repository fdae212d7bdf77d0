/** What an entry costs in the log besides its data. */
const ENTRY_OVERHEAD = 48;

/**
 * When a snapshot pays. It holds the whole state, so writing one every so many
 * entries would cost ever more as the store grows; it also has to wait until
 * the log since the last one is half as large as the state. What is written
 * stays within three times what the log takes, and a start reads back at most
 * the snapshot and half as much again.
 */
export class SnapshotPace {
  readonly #entries: number;
  #index = 0;
  #bytes = 0;

  /** @param entries fewest between two snapshots */
  constructor(entries: number) {
    this.#entries = entries;
  }

  /** An entry of the log was applied, or replayed at the start. */
  applied(dataBytes: number): void {
    this.#bytes += dataBytes + ENTRY_OVERHEAD;
  }

  /** @param stateBytes what a snapshot would about take */
  due(index: number, stateBytes: number): boolean {
    return index - this.#index >= this.#entries && this.#bytes * 2 >= stateBytes;
  }

  /** A snapshot begins, was read, or failed: the next is counted from here. */
  from(index: number): void {
    this.#index = index;
    this.#bytes = 0;
  }
}
