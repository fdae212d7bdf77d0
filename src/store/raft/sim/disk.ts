// A disk that loses what was not synced: at a crash, some of the frames under
// way are there and the rest is torn off.
import type { Entry, HardState, SnapshotMeta, StoredState } from "../types.ts";
import type { Random } from "./random.ts";
import type { Schedule } from "./schedule.ts";

/** The state machine as of an index, as a snapshot has it. */
export interface SavedState {
  meta: SnapshotMeta;
  chunks: readonly unknown[];
}

export interface Frame {
  write: number;
  snapshot: SavedState | undefined;
  hardState: HardState | undefined;
  entries: readonly Entry[];
}

export class SimDisk {
  readonly #random: Random;
  readonly #schedule: Schedule;
  /** What a start would find. */
  #snapshot: SavedState | undefined;
  #base: SnapshotMeta;
  #hardState: HardState;
  #entries: Entry[];
  /** Written, not synced; the first `#syncing` are being. */
  #pending: Frame[] = [];
  #syncing = 0;
  /** Crashes so far: a sync that a crash interrupted must not end later. */
  #epoch = 0;
  /** Milliseconds that a sync takes. */
  latency: () => number;
  onSynced: (write: number) => void = () => {};

  constructor(random: Random, schedule: Schedule, stored: StoredState) {
    this.#random = random;
    this.#schedule = schedule;
    this.#base = stored.base;
    this.#hardState = stored.hardState;
    this.#entries = [...stored.entries];
    this.latency = () => random.between(0.1, 3);
  }

  /** Frames that are written while others are being synced share the next sync. */
  write(frame: Frame): void {
    this.#pending.push(frame);
    if (this.#syncing === 0) this.#sync();
  }

  /** A snapshot that the member took itself; the log before it goes. */
  save(saved: SavedState): void {
    if (saved.meta.index <= this.#base.index) return;
    this.#snapshot = saved;
    this.#base = saved.meta;
    this.#entries = this.#entries.filter((e) => e.index > saved.meta.index);
  }

  /** The power goes: of the frames under way, the first few are there. */
  crash(): void {
    this.#epoch++;
    for (const frame of this.#pending.slice(0, this.#random.below(this.#pending.length + 1))) this.#keep(frame);
    this.#pending = [];
    this.#syncing = 0;
  }

  read(): { stored: StoredState; snapshot: SavedState | undefined } {
    return { stored: { hardState: this.#hardState, base: this.#base, entries: this.#entries }, snapshot: this.#snapshot };
  }

  #sync(): void {
    const epoch = this.#epoch;
    this.#syncing = this.#pending.length;
    this.#schedule.after(this.latency(), () => {
      if (epoch !== this.#epoch) return;
      const synced = this.#pending.splice(0, this.#syncing);
      this.#syncing = 0;
      for (const frame of synced) this.#keep(frame);
      if (this.#pending.length > 0) this.#sync();
      this.onSynced(synced.at(-1)!.write);
    });
  }

  #keep({ snapshot, hardState, entries }: Frame): void {
    if (snapshot) {
      this.#snapshot = snapshot;
      this.#base = snapshot.meta;
      this.#entries = [];
    }
    if (hardState) this.#hardState = hardState;
    const first = entries.find((e) => e.index > this.#base.index);
    if (!first) return;
    const kept = first.index - this.#base.index - 1;
    if (kept > this.#entries.length) throw new Error(`entry ${first.index} written behind ${this.#base.index + this.#entries.length}`);
    this.#entries = [...this.#entries.slice(0, kept), ...entries.slice(entries.indexOf(first))];
  }
}
