// One member of a store: the state machine, the log that drives it, and the
// work that goes on beside (expiring leases, freeing what was compacted, snapshots).
import { mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { type Logger, logger } from "../platform/log.ts";
import type { Author } from "./auth/types.ts";
import { decodeCommand, encodeCommand } from "./codec.ts";
import type { Alarm, AnswerOf, Command } from "./command.ts";
import { type Applier, type Consensus, SoloConsensus } from "./consensus.ts";
import { LeaseClock } from "./lease/clock.ts";
import { freeLeaseId } from "./lease/id.ts";
import { Refused } from "./mvcc/errors.ts";
import { hasPut } from "./mvcc/txn.ts";
import { SnapshotLoader, snapshotOf } from "./snapshot/content.ts";
import { newestSnapshot, readSnapshot, writeSnapshot } from "./snapshot/file.ts";
import { SnapshotPace } from "./snapshot/pace.ts";
import { StateMachine } from "./state.ts";
import type { Entry, Identity } from "./wal/format.ts";
import { lockDirectory } from "./wal/lock.ts";
import { Wal, type WalError } from "./wal/wal.ts";
import { Watches } from "./watches.ts";

export interface MemberOptions {
  /** Made if it isn't there. */
  dataDir: string;
  /** Bytes after which no more is stored, until something is compacted away. Default 2 GiB, as etcd's. */
  quotaBackendBytes?: number;
  /** Log entries between two snapshots, at least (snapshot/pace.ts). Default 10 000. */
  snapshotCount?: number;
  /** Bytes of a WAL segment. Default 16 MiB. */
  segmentBytes?: number;
  /** Most bytes of a request that changes something. Default 1.5 MiB, as etcd's. */
  maxRequestBytes?: number;
}

export const DEFAULT_QUOTA = 2 * 1024 * 1024 * 1024;
export const DEFAULT_MAX_REQUEST = 1.5 * 1024 * 1024;
/** Revisions that are freed, or read for a watcher that is behind, before other work has its turn. */
const SLICE = 512;
/** How long a full disk is left alone before a write tries it again. */
const RETRY_FULL_DISK = 1000;

export class Member implements Applier {
  readonly state = new StateMachine();
  readonly watches: Watches;
  readonly leases: LeaseClock;
  readonly quota: number;
  readonly #options: MemberOptions;
  readonly #maxRequestBytes: number;
  readonly #log: Logger = logger("etcd");
  #wal!: Wal;
  #consensus!: Consensus;
  #lock: { release(): void } | undefined;
  #snapshotDir = "";
  readonly #pace: SnapshotPace;
  #snapshotting: Promise<void> | undefined;
  #pruning: Promise<void> | undefined;
  /** Readers of the history, which nothing is pruned under. */
  #holds = 0;
  /** Why the disk takes no more writes, and since when. */
  #failure: { error: WalError; at: number } | undefined;
  #stopping: Promise<void> | undefined;

  constructor(options: MemberOptions) {
    this.#options = options;
    this.#pace = new SnapshotPace(options.snapshotCount ?? 10_000);
    this.quota = options.quotaBackendBytes || DEFAULT_QUOTA;
    this.#maxRequestBytes = options.maxRequestBytes ?? DEFAULT_MAX_REQUEST;
    this.watches = new Watches(this.state.mvcc, SLICE);
    this.leases = new LeaseClock(this.state.lessor, (id) => this.propose({ type: "leaseRevoke", id }));
  }

  get identity(): Identity {
    return this.#wal.identity;
  }

  get consensus(): Consensus {
    return this.#consensus;
  }

  get running(): boolean {
    return this.#lock !== undefined && this.#stopping === undefined;
  }

  /** The alarms of the state, and this member's own while its disk is full. */
  get alarms(): readonly Alarm[] {
    const { alarms } = this.state;
    if (!this.#failure?.error.noSpace || alarms.some((a) => a.kind === "nospace")) return alarms;
    return [...alarms, { memberId: this.identity.memberId, kind: "nospace" }];
  }

  /** Why the log can't be written to any more, in words. */
  get failure(): string | undefined {
    return this.#failure?.error.message;
  }

  /**
   * Reads the data directory back, or makes it.
   *
   * @throws DirectoryLocked, CorruptFile, or what the system says of the directory
   */
  async open(): Promise<void> {
    const { dataDir } = this.#options;
    const walDir = join(dataDir, "wal");
    this.#snapshotDir = join(dataDir, "snap");
    refuseForeign(dataDir);
    mkdirSync(this.#snapshotDir, { recursive: true, mode: 0o700 });
    this.#lock = lockDirectory(dataDir);
    try {
      await this.#restore();
      this.#wal = Wal.open(walDir, {
        segmentBytes: this.#options.segmentBytes,
        after: this.state.index,
        create: () => ({ clusterId: randomId(), memberId: randomId() }),
        visit: { entry: (entry) => this.#replay(entry), hardState() {}, truncate() {} },
      });
    } catch (error) {
      this.#lock.release();
      this.#lock = undefined;
      throw error;
    }
    if (this.#wal.cut) this.#log.warn("Cut off a write that a crash had left unfinished", { ...this.#wal.cut });
    this.state.mvcc.prune();
    this.watches.open();
    this.state.lessor.renewAll(performance.now());
    this.#consensus = new SoloConsensus(this.#wal, this);
    this.leases.start();
  }

  /** Proposes a command; answers once it is durable and applied. Rejects with Refused. */
  propose<C extends Command>(command: C): Promise<AnswerOf<C>> {
    const refused = this.#admit();
    if (refused) return Promise.reject(refused);
    if (this.#exceedsQuota(command)) return this.#refuseFull().then((full) => Promise.reject(full));
    const data = encodeCommand(command);
    if (data.length > this.#maxRequestBytes) return Promise.reject(new Refused("request-too-large"));
    return this.#consensus.propose(command, data);
  }

  /** Sets or clears an alarm; clearing also tries a full disk again. */
  async alarm(raise: boolean, alarm: Alarm, by?: Author): Promise<boolean> {
    const own = !raise && alarm.kind === "nospace" && this.#failure?.error.noSpace === true;
    if (own) this.#failure = undefined;
    return (await this.propose({ type: "alarm", by, raise, alarm })).changed || own;
  }

  /** Grants a lease of whole seconds; an id of 0n lets the store choose. */
  grantLease(ttl: number, id: bigint, by?: Author): Promise<AnswerOf<Command & { type: "leaseGrant" }>> {
    return this.propose({ type: "leaseGrant", by, id: id || freeLeaseId(this.state.lessor), ttl: Math.max(0, Math.ceil(ttl)) });
  }

  async compact(revision: number, physical = false, by?: Author): Promise<{ revision: number }> {
    // Below the first revision, all is compacted already.
    if (revision <= 0) throw new Refused("compacted");
    const answer = await this.propose({ type: "compact", by, revision });
    if (physical) await this.#pruning;
    return answer;
  }

  /** Writes a snapshot now, and releases the log before it. */
  snapshot(): Promise<void> {
    this.#snapshotting ??= this.#snapshot().finally(() => {
      this.#snapshotting = undefined;
      this.#prune();
    });
    return this.#snapshotting;
  }

  /** Keeps what a compaction leaves behind from being freed, until it is disposed of. */
  async holdHistory(): Promise<Disposable> {
    this.#holds++;
    await this.#pruning;
    return {
      [Symbol.dispose]: () => {
        this.#holds--;
        this.#prune();
      },
    };
  }

  apply(entry: Entry, command: Command): unknown {
    this.#pace.applied(entry.data.length);
    const answer = this.state.apply(entry.index, entry.term, command, performance.now());
    if (command.type === "compact") this.#prune();
    return answer;
  }

  applied(): void {
    if (this.#failure) {
      this.#log.info("The write-ahead log takes writes again");
      this.#failure = undefined;
    }
    this.watches.publish();
    this.leases.wake();
    if (this.#snapshotting || !this.#pace.due(this.state.index, this.state.mvcc.size)) return;
    // If it fails, nothing is lost: the log still has it all. The next try comes after as many entries again.
    this.snapshot().catch((error) => {
      this.#log.error("Could not write a snapshot", error);
    });
  }

  failed(error: WalError): void {
    if (!this.#failure) this.#log.error("The write-ahead log takes no more writes", error, { broken: error.broken });
    this.#failure = { error, at: performance.now() };
  }

  /** Idempotent. */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async #stop(): Promise<void> {
    if (!this.#lock) return;
    this.leases.stop();
    await this.#consensus.stop();
    this.watches.close(new Refused("unavailable"));
    await this.#snapshotting?.catch((error) => this.#log.error("Could not write a snapshot", error));
    await this.#pruning;
    this.#wal.close();
    this.#lock.release();
  }

  async #restore(): Promise<void> {
    const found = newestSnapshot(this.#snapshotDir);
    if (!found) return;
    const loader = new SnapshotLoader(this.state, found);
    const now = performance.now();
    await readSnapshot(found.path, (chunk) => loader.add(chunk, now));
    loader.finish();
    this.#pace.from(found.index);
  }

  #replay(entry: Entry): void {
    this.#pace.applied(entry.data.length);
    try {
      this.state.apply(entry.index, entry.term, decodeCommand(entry.data), performance.now());
    } catch (error) {
      // Refused then, refused now.
      if (!(error instanceof Refused)) throw error;
    }
  }

  /** What is refused before it is proposed, because of the state of this member. */
  #admit(): Refused | undefined {
    if (!this.running) return new Refused("unavailable");
    if (this.#failure) {
      const { error, at } = this.#failure;
      if (error.broken) return new Refused("storage-failed", { cause: error });
      if (performance.now() - at < RETRY_FULL_DISK) return new Refused(error.noSpace ? "no-space" : "storage-failed", { cause: error });
    }
    return undefined;
  }

  #exceedsQuota(command: Command): boolean {
    const stores = command.type === "leaseGrant" || (command.type === "txn" && hasPut(command));
    return stores && this.state.mvcc.size >= this.quota;
  }

  /** The refusal of what would go over the quota, once the alarm that keeps every later put out is raised. */
  async #refuseFull(): Promise<Refused> {
    if (!this.state.full) {
      this.#log.warn("The store is as large as its quota allows", { size: this.state.mvcc.size, quota: this.quota });
      await this.propose({ type: "alarm", raise: true, alarm: { memberId: this.identity.memberId, kind: "nospace" } });
    }
    return new Refused("no-space");
  }

  async #snapshot(): Promise<void> {
    await this.#pruning;
    const { id, chunks } = snapshotOf(this.state);
    this.#pace.from(id.index);
    await writeSnapshot(this.#snapshotDir, id, chunks);
    this.#wal.release(id.index);
    this.#log.info("Wrote a snapshot", { index: id.index, revision: this.state.mvcc.revision }, 2);
  }

  /** Frees compacted versions in slices; not while a snapshot or a backup reads them. */
  #prune(): void {
    if (this.#pruning || this.#snapshotting || this.#holds > 0) return;
    this.#pruning = (async () => {
      while (!this.state.mvcc.prune(SLICE)) await new Promise((resolve) => setImmediate(resolve));
      this.#pruning = undefined;
    })();
  }
}

/** A random identity that is neither 0 nor negative as an int64. */
function randomId(): bigint {
  return (crypto.getRandomValues(new BigUint64Array(1))[0]! & 0x7fff_ffff_ffff_ffffn) | 1n;
}

function refuseForeign(dataDir: string): void {
  let names: string[];
  try {
    names = readdirSync(dataDir);
  } catch (error) {
    if ((error as { code?: string }).code === "ENOENT") return;
    throw error;
  }
  if (names.includes("member")) {
    throw new Error(
      `${dataDir} is the data directory of an etcd, whose files kubun does not read; take a snapshot of that etcd ` +
        "('etcdctl snapshot save FILE'), and make a directory of it ('kubun store snapshot restore FILE --data-dir=DIR')",
    );
  }
}
