// The order in which writes reach the disk. While an fdatasync is under way,
// what comes waits and shares the next one; nobody waits for it here.
import { writeOut } from "../../rpc/server.ts";
import type { Entry, HardState, SnapshotMeta } from "../raft/types.ts";
import { type Wal, WalError } from "../wal/wal.ts";

export interface Write {
  /** As Raft numbers them. */
  readonly number: number;
  readonly snapshot: SnapshotMeta | undefined;
  readonly hardState: HardState | undefined;
  readonly entries: readonly Entry[];
}

export interface DiskEvents {
  /** All writes up to this one are on the disk. */
  durable(write: number): void;
  /** Puts a received snapshot in place; on the disk when it resolves. */
  install(meta: SnapshotMeta): Promise<void>;
  /** A write was refused. The disk is not used again before retry() or discard(). */
  failed(error: WalError, writes: readonly Write[]): void;
}

export class Disk {
  /** Whether messages go out before a write begins, which may hold the event loop up: followers then write at the same time. */
  afterMessages = false;
  readonly #wal: Wal;
  readonly #events: DiskEvents;
  #queue: Write[] = [];
  #running: Promise<void> | undefined;
  #writing = false;
  #failed = false;
  /** Of writes that were given up: goes along with the next. */
  #owed: HardState | undefined;

  constructor(wal: Wal, events: DiskEvents) {
    this.#wal = wal;
    this.#events = events;
  }

  /** Whether an fdatasync is under way, or cannot be. */
  get busy(): boolean {
    return this.#writing || this.#failed;
  }

  get writing(): boolean {
    return this.#writing;
  }

  add(write: Write): void {
    this.#queue.push(write);
    this.#start();
  }

  /** Tries again what was refused. */
  retry(): void {
    this.#failed = false;
    this.#start();
  }

  /** Gives up the entries that were refused, and all after them. */
  discard(): void {
    this.#owed = this.#take(this.#queue);
    this.#queue = [];
    this.#failed = false;
  }

  /** Resolves when no write is under way. */
  async idle(): Promise<void> {
    await this.#running;
  }

  #start(): void {
    if (!this.#failed && this.#queue.length > 0) this.#running ??= this.#run().finally(() => this.#restart());
  }

  #restart(): void {
    this.#running = undefined;
    this.#start();
  }

  async #run(): Promise<void> {
    while (this.#queue.length > 0 && !this.#failed) {
      if (this.afterMessages) {
        writeOut();
        // What else comes in this turn joins.
        await new Promise((resolve) => setImmediate(resolve));
      }
      const writes = this.#queue[0]!.snapshot ? [this.#queue[0]!] : this.#untilSnapshot();
      this.#writing = true;
      try {
        await this.#carryOut(writes);
        this.#writing = false;
      } catch (error) {
        this.#writing = false;
        this.#failed = true;
        this.#events.failed(error instanceof WalError ? error : new WalError(String(error), true, error), this.#queue);
        return;
      }
      this.#queue.splice(0, writes.length);
      this.#events.durable(writes.at(-1)!.number);
    }
  }

  #untilSnapshot(): Write[] {
    const at = this.#queue.findIndex((w) => w.snapshot);
    return at < 0 ? [...this.#queue] : this.#queue.slice(0, at);
  }

  async #carryOut(writes: readonly Write[]): Promise<void> {
    const { snapshot } = writes[0]!;
    if (snapshot) {
      await this.#events.install(snapshot);
      this.#wal.restart(snapshot.index, this.#take(writes) ?? this.#wal.hardState);
      if (writes[0]!.entries.length > 0) await this.#wal.append(writes[0]!.entries);
      return;
    }
    const entries = writes.length === 1 ? writes[0]!.entries : writes.flatMap((w) => w.entries);
    const hardState = this.#take(writes);
    if (entries.length > 0 || hardState) await this.#wal.append(entries, hardState);
  }

  #take(writes: readonly Write[]): HardState | undefined {
    const state = writes.findLast((w) => w.hardState)?.hardState ?? this.#owed;
    this.#owed = undefined;
    return state;
  }
}
