// A disk that loses what was not synced: at a crash, some of the frames under
// way are there and the rest is torn off. It may be full for a while, or break.
// What a start finds is what the store's own log would (wal/, consensus/disk.ts).
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

export interface DiskEvents {
  /** All writes up to this one are on the disk. */
  synced(write: number): void;
  /** A write was refused, with all that wait behind it. The disk is not used again before retry() or discard(); never if it is broken. */
  failed(frames: readonly Frame[], broken: boolean): void;
}

export class SimDisk {
  readonly #random: Random;
  readonly #schedule: Schedule;
  readonly #events: DiskEvents;
  /** What a start would find. */
  #snapshot: SavedState | undefined;
  #base: SnapshotMeta;
  #hardState: HardState;
  #entries: Entry[];
  /** Written, not synced. */
  #pending: Frame[] = [];
  #syncing = false;
  /** It refused a write, and is let alone. */
  #failed = false;
  #broken = false;
  /** The hard state of writes that were given up goes along with the next. */
  #owed: HardState | undefined;
  /** Crashes so far: a sync that a crash interrupted must not end later. */
  #epoch = 0;
  /** Takes no write for now. */
  full = false;
  /** Milliseconds that a sync takes. */
  latency: () => number;

  constructor(random: Random, schedule: Schedule, stored: StoredState, events: DiskEvents) {
    this.#random = random;
    this.#schedule = schedule;
    this.#events = events;
    this.#base = stored.base;
    this.#hardState = stored.hardState;
    this.#entries = [...stored.entries];
    this.latency = () => random.between(0.1, 3);
  }

  get broken(): boolean {
    return this.#broken;
  }

  /** Frames that are written while others are being synced share the next sync. */
  write(frame: Frame): void {
    this.#pending.push(frame);
    this.#start();
  }

  /** A snapshot that the member took itself; the log before it goes. */
  save(saved: SavedState): void {
    if (saved.meta.index <= Math.max(this.#base.index, this.#snapshot?.meta.index ?? 0)) return;
    this.#snapshot = saved;
    this.#base = saved.meta;
    this.#entries = this.#entries.filter((e) => e.index > saved.meta.index);
  }

  /** Fails with the next write, some of which may be there, and then always, until the process starts anew. */
  break(): void {
    this.#broken = true;
  }

  /** Tries again what was refused. */
  retry(): void {
    if (this.#broken) return;
    this.#failed = false;
    this.#start();
  }

  /** Gives up what was refused, and all after it. */
  discard(): void {
    this.#owed = this.#pending.findLast((f) => f.hardState)?.hardState ?? this.#owed;
    this.#pending = [];
    this.#failed = false;
  }

  /** The power goes: of the frames under way, the first few are there. */
  crash(): void {
    this.#epoch++;
    if (!this.#failed) this.#keepSome();
    this.#pending = [];
    this.#owed = undefined;
    this.#syncing = this.#failed = this.#broken = false;
  }

  /** What the log has behind a snapshot that is newer than its start is handed out as it is. */
  read(): { stored: StoredState; snapshot: SavedState | undefined } {
    const snapshot = this.#snapshot;
    if (snapshot && snapshot.meta.index > this.#base.index) {
      this.#base = snapshot.meta;
      this.#entries = this.#entries.filter((e) => e.index > snapshot.meta.index);
    }
    return { stored: { hardState: this.#hardState, base: this.#base, entries: [...this.#entries] }, snapshot };
  }

  #start(): void {
    if (!this.#syncing && !this.#failed && this.#pending.length > 0) this.#sync();
  }

  #sync(): void {
    this.#syncing = true;
    this.#after(() => {
      if (this.full || this.#broken) return this.#fail();
      // A snapshot is put in place by itself, and then the log begins anew.
      const next = this.#pending[0]!.snapshot;
      if (next && this.#snapshot !== next) {
        this.#snapshot = next;
        return this.#after(() => this.#end(1));
      }
      const snapshot = this.#pending.findIndex((f, i) => i > 0 && f.snapshot);
      this.#end(next ? 1 : snapshot < 0 ? this.#pending.length : snapshot);
    });
  }

  #end(count: number): void {
    if (this.full || this.#broken) return this.#fail();
    const synced = this.#pending.splice(0, count);
    this.#syncing = false;
    for (const frame of synced) this.#keep(frame);
    this.#start();
    this.#events.synced(synced.at(-1)!.write);
  }

  #after(run: () => void): void {
    const epoch = this.#epoch;
    this.#schedule.after(this.latency(), () => {
      if (epoch === this.#epoch) run();
    });
  }

  #fail(): void {
    this.#syncing = false;
    this.#failed = true;
    if (this.#broken) this.#keepSome();
    this.#events.failed(this.#pending, this.#broken);
  }

  #keepSome(): void {
    for (const frame of this.#pending.slice(0, this.#random.below(this.#pending.length + 1))) this.#keep(frame);
  }

  #keep({ snapshot, hardState, entries }: Frame): void {
    if (snapshot) {
      this.#snapshot = snapshot;
      this.#base = snapshot.meta;
      this.#entries = [];
    }
    const state = hardState ?? this.#owed;
    this.#owed = undefined;
    if (state) this.#hardState = state;
    const first = entries.find((e) => e.index > this.#base.index);
    if (!first) return;
    const kept = first.index - this.#base.index - 1;
    if (kept > this.#entries.length) throw new Error(`entry ${first.index} written behind ${this.#base.index + this.#entries.length}`);
    this.#entries.length = kept;
    for (let i = entries.indexOf(first); i < entries.length; i++) this.#entries.push(entries[i]!);
  }
}
