// A member's snapshots: written when the log has grown, read at the start, sent
// to members that are far behind, and put in place of the state when one comes;
// and what has to keep still meanwhile, the freeing of what was compacted.
import { existsSync, mkdirSync, renameSync } from "node:fs";
import { syncDirectory } from "../platform/files.ts";
import { logger } from "../platform/log.ts";
import type { MemberMetrics } from "./metrics.ts";
import type { SnapshotMeta } from "./raft/types.ts";
import { SnapshotLoader, snapshotOf } from "./snapshot/content.ts";
import { newestSnapshot, readSnapshot, receivedPath, removeOlder, type SnapshotId, snapshotPath, writeSnapshot } from "./snapshot/file.ts";
import { StateMachine } from "./state.ts";

export interface TakenSnapshot {
  readonly path: string;
  readonly meta: SnapshotMeta;
}

export class Snapshots {
  readonly dir: string;
  readonly #state: StateMachine;
  /** Revisions that are freed before other work has its turn. */
  readonly #slice: number;
  #newest: TakenSnapshot | undefined;
  #taking: Promise<TakenSnapshot> | undefined;
  #pruning: Promise<void> | undefined;
  #installing: Promise<void> | undefined;
  /** Readers of the history, which nothing is pruned under. */
  #holds = 0;

  readonly #metrics: MemberMetrics;

  constructor(dir: string, state: StateMachine, slice: number, metrics: MemberMetrics) {
    this.dir = dir;
    this.#state = state;
    this.#slice = slice;
    this.#metrics = metrics;
  }

  /** Readers that keep history from being freed. */
  get holds(): number {
    return this.#holds;
  }

  get newest(): TakenSnapshot | undefined {
    return this.#newest;
  }

  /** Whether one is being written. */
  get taking(): boolean {
    return this.#taking !== undefined;
  }

  /** Reads the newest into the state, which is empty. Throws CorruptFile. */
  async load(): Promise<void> {
    mkdirSync(this.dir, { recursive: true, mode: 0o700 });
    const found = newestSnapshot(this.dir);
    if (!found) return;
    await this.#read(found.path, found, this.#state);
  }

  /** Writes one of the state as it is now, or waits for the one being written. */
  take(): Promise<TakenSnapshot> {
    this.#taking ??= this.#take().finally(() => {
      this.#taking = undefined;
      this.prune();
    });
    return this.#taking;
  }

  /**
   * Puts the one that was received in place of the state, which goes on being
   * read until then. On the disk when it resolves.
   */
  install(meta: SnapshotMeta): Promise<void> {
    this.#installing = this.#install(meta).finally(() => {
      this.#installing = undefined;
      this.prune();
    });
    return this.#installing;
  }

  async #install(meta: SnapshotMeta): Promise<void> {
    await this.#taking?.catch(() => {});
    await this.#pruning;
    const path = snapshotPath(this.dir, meta);
    const received = receivedPath(this.dir, meta);
    if (existsSync(received)) {
      renameSync(received, path);
      syncDirectory(this.dir);
    }
    const next = new StateMachine();
    await this.#read(path, meta, next, nextTurn);
    this.#state.adopt(next);
    await removeOlder(this.dir, meta);
  }

  /** Frees compacted versions in slices; not while anybody reads them. */
  prune(): void {
    if (this.#pruning || this.#taking || this.#installing || this.#holds > 0) return;
    this.#pruning = this.#prune();
  }

  async #prune(): Promise<void> {
    const { compaction, compactionPause } = this.#metrics;
    const start = performance.now();
    for (let done = false; !done; ) {
      // Not in the turn that compacts either: watches still have to be told what was applied with it.
      await nextTurn();
      const sliceStart = performance.now();
      done = this.#state.mvcc.prune(this.#slice);
      compactionPause.observe(performance.now() - sliceStart);
    }
    compaction.observe(performance.now() - start);
    this.#pruning = undefined;
  }

  /** Resolves when nothing is being freed. */
  async pruned(): Promise<void> {
    await this.#pruning;
  }

  /** Keeps what a compaction leaves behind from being freed, until it is disposed of. */
  async hold(): Promise<Disposable> {
    this.#holds++;
    await this.#pruning;
    return {
      [Symbol.dispose]: () => {
        this.#holds--;
        this.prune();
      },
    };
  }

  /** Resolves when nothing is being written or freed. */
  async idle(): Promise<void> {
    await this.#taking?.catch((error) => logger("etcd").error("Could not write a snapshot", error));
    await this.#pruning;
  }

  async #take(): Promise<TakenSnapshot> {
    await this.#installing?.catch(() => {});
    await this.#pruning;
    const { id, chunks } = snapshotOf(this.#state);
    const meta = { ...id, configuration: this.#state.membership.configuration };
    const path = await this.#metrics.timed(this.#metrics.snapSave, () => writeSnapshot(this.dir, id, chunks, this.#metrics));
    // Known before the older one goes, which somebody may be about to open.
    const taken = { path, meta };
    this.#newest = taken;
    await removeOlder(this.dir, id);
    logger("etcd").info("Wrote a snapshot", { index: id.index, revision: this.#state.mvcc.revision }, 2);
    return taken;
  }

  /**
   * @param into empty
   * @param pause between two chunks; without it, nothing else has its turn
   */
  async #read(path: string, { index, term }: SnapshotId, into: StateMachine, pause?: () => Promise<void>): Promise<void> {
    const now = performance.now();
    const loader = new SnapshotLoader(into, { index, term });
    await readSnapshot(path, (chunk) => {
      loader.add(chunk, now);
      return pause?.();
    });
    loader.finish();
    this.#newest = { path, meta: { index, term, configuration: into.membership.configuration } };
  }
}

const nextTurn = () => new Promise<void>((resolve) => setImmediate(resolve));
