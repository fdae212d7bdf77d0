// What a member measures of itself, under etcd's names: how long things took.
// What is counted at every request stands where it happens, in plain fields
// (Mvcc.counts, Lessor.counts, MethodStats); server/metrics.ts puts all of it together.
import { exponentialBounds, type Histogram, MetricSet } from "../platform/metrics.ts";
import { PeerMetrics } from "./peer/metrics.ts";

/** An apply longer than this is slow, in milliseconds; etcd's default. */
const SLOW_APPLY = 100;

export class MemberMetrics {
  readonly #slowApply: number;
  readonly #set = new MetricSet();
  readonly walFsync = this.#seconds("etcd_disk_wal_fsync_duration_seconds", "The latency distributions of fsync called by WAL.", 0.001, 14);
  /** The backend is the memory: a commit is a batch of entries applied to it. */
  readonly backendCommit = this.#seconds(
    "etcd_disk_backend_commit_duration_seconds",
    "The latency distributions of commit called by backend.",
    0.001,
    14,
  );
  readonly backendSnapshot = this.#seconds(
    "etcd_disk_backend_snapshot_duration_seconds",
    "The latency distribution of backend snapshots.",
    0.01,
    17,
  );
  readonly defrag = this.#seconds(
    "etcd_disk_backend_defrag_duration_seconds",
    "The latency distribution of backend defragmentation.",
    0.1,
    13,
  );
  readonly hash = this.#seconds("etcd_mvcc_hash_duration_seconds", "The latency distribution of storage hash operation.", 0.01, 15);
  readonly hashRev = this.#seconds(
    "etcd_mvcc_hash_rev_duration_seconds",
    "The latency distribution of storage hash by revision operation.",
    0.01,
    15,
  );
  readonly snapSave = this.#seconds(
    "etcd_debugging_snap_save_total_duration_seconds",
    "The total latency distributions of save called by snapshot.",
    0.001,
    14,
  );
  readonly snapMarshalling = this.#seconds(
    "etcd_debugging_snap_save_marshalling_duration_seconds",
    "The marshalling cost distributions of save called by snapshot.",
    0.001,
    14,
  );
  readonly snapFsync = this.#seconds("etcd_snap_fsync_duration_seconds", "The latency distributions of fsync called by snap.", 0.001, 14);
  /** Of snapshots that another member sends. */
  readonly received = {
    save: this.#seconds("etcd_snap_db_save_total_duration_seconds", "The total latency distributions of v3 snapshot save", 0.1, 10),
    fsync: this.#seconds("etcd_snap_db_fsync_duration_seconds", "The latency distributions of fsyncing .snap.db file", 0.001, 14),
  };
  readonly leaseTtl = this.#histogram("etcd_debugging_lease_ttl_total", "Bucketed histogram of lease TTLs.", exponentialBounds(1, 2, 24));
  readonly peers = new PeerMetrics(this.#set);
  readonly compaction = this.#histogram(
    "etcd_debugging_mvcc_db_compaction_total_duration_milliseconds",
    "Bucketed histogram of db compaction total duration.",
    exponentialBounds(100, 2, 14),
  );
  readonly compactionPause = this.#histogram(
    "etcd_debugging_mvcc_db_compaction_pause_duration_milliseconds",
    "Bucketed histogram of db compaction pause duration.",
    exponentialBounds(1, 2, 13),
  );
  slowApplies = 0;
  defragmenting = 0;
  leaderChanges = 0;
  /** 1 while a snapshot of the leader's is put in place. */
  installing = 0;
  /** Learners that became voters while this member led. */
  promotions = 0;
  /** Of /health. */
  healthy = 0;
  unhealthy = 0;
  /** Bytes of messages by the member that sent them. */
  readonly peerReceived = new Map<bigint, number>();
  #applyingSince = 0;

  constructor(slowApply = SLOW_APPLY) {
    this.#slowApply = slowApply;
  }

  receivedFrom(peer: bigint, bytes: number): void {
    this.peerReceived.set(peer, (this.peerReceived.get(peer) ?? 0) + bytes);
  }

  /** Entries are being applied. `now` in milliseconds, on any clock. */
  applying(now: number): void {
    this.#applyingSince ||= now;
  }

  /** The batch is applied. */
  applied(now: number): void {
    if (this.#applyingSince === 0) return;
    const took = now - this.#applyingSince;
    this.#applyingSince = 0;
    this.backendCommit.observe(took / 1000);
    if (took > this.#slowApply) this.slowApplies++;
  }

  /** Runs something and observes how long it took, whether it failed or not. */
  async timed<T>(histogram: Histogram, run: () => Promise<T>): Promise<T> {
    const start = performance.now();
    try {
      return await run();
    } finally {
      histogram.observe((performance.now() - start) / 1000);
    }
  }

  text(): string {
    return this.#set.text();
  }

  #seconds(name: string, help: string, start: number, count: number): Histogram {
    return this.#histogram(name, help, exponentialBounds(start, 2, count));
  }

  #histogram(name: string, help: string, bounds: readonly number[]): Histogram {
    const histogram = this.#set.histogram(name, help, bounds);
    // It is there before anything was observed.
    histogram.observe(0, {}, 0);
    return histogram;
  }
}
