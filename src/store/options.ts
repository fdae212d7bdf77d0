// What a member of a store can be told.
import type { ClusterOptions } from "./membership/options.ts";

export interface MemberOptions extends ClusterOptions {
  /** Made if it isn't there. */
  dataDir: string;
  /** Where the write-ahead log is; in `dataDir` by default. */
  walDir?: string;
  /** Bytes after which no more is stored, until something is compacted away. Default 2 GiB, as etcd's. */
  quotaBackendBytes?: number;
  /** Log entries between two snapshots, at least (snapshot/pace.ts). Default 10 000. */
  snapshotCount?: number;
  /** Applied entries kept for members that are behind; further behind, they get a snapshot. Default 5 000, as etcd's. */
  catchUpEntries?: number;
  /** Bytes of a WAL segment. Default 16 MiB. */
  segmentBytes?: number;
  /** Most bytes of a request that changes something. Default 1.5 MiB, as etcd's. */
  maxRequestBytes?: number;
  /** An apply that takes longer is slow, in milliseconds. Default 100, as etcd's. */
  slowApply?: number;
}

export const DEFAULT_QUOTA = 2 * 1024 * 1024 * 1024;
export const DEFAULT_MAX_REQUEST = 1.5 * 1024 * 1024;
