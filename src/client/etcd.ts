// What the apiserver asks of its store: the etcd v3 data model, free of any
// wire. src/store implements it in the same process; src/client/etcd-grpc.ts
// over gRPC, for kubun's own store or a real etcd in a process of its own.
//
// Keys and values are bytes and must not be changed after they are handed over
// or received: both sides may keep them. Revisions are safe integers.

export interface KeyValue {
  key: Uint8Array;
  value: Uint8Array;
  createRevision: number;
  modRevision: number;
  /** 1 at creation, one more with each put. */
  version: number;
  /** 0n without a lease. */
  lease: bigint;
}

export interface RangeOptions {
  /** End of the range, exclusive. Absent: the one key. */
  end?: Uint8Array;
  /** Most pairs to return; 0 or absent is no limit. */
  limit?: number;
  /** Read as of this revision; 0 or absent is now. Throws Compacted or FutureRevision. */
  revision?: number;
  keysOnly?: boolean;
  countOnly?: boolean;
  /** Allow a member's own, possibly stale, state. */
  serializable?: boolean;
  /** Leave out pairs that were last changed before this revision; `count` has them all the same. */
  minModRevision?: number;
}

export interface RangeResult {
  /** Store revision the answer was read at, or later. */
  revision: number;
  kvs: KeyValue[];
  /** Pairs in the range, whatever the limit. */
  count: number;
  more: boolean;
}

export type Compare = { key: Uint8Array; op: "=" | "!=" | ">" | "<" } & (
  | { target: "modRevision" | "createRevision" | "version"; value: number }
  | { target: "value"; value: Uint8Array }
  | { target: "lease"; value: bigint }
);

export type Op =
  | ({ type: "range"; key: Uint8Array } & RangeOptions)
  | { type: "put"; key: Uint8Array; value: Uint8Array; lease?: bigint; prevKv?: boolean }
  | { type: "delete"; key: Uint8Array; end?: Uint8Array; prevKv?: boolean };

export type OpResult =
  | ({ type: "range" } & RangeResult)
  | { type: "put"; prevKv?: KeyValue }
  | { type: "delete"; deleted: number; prevKvs: KeyValue[] };

export interface TxnResult {
  revision: number;
  succeeded: boolean;
  results: OpResult[];
}

export interface WatchEvent {
  type: "put" | "delete";
  /** On delete only key and modRevision hold. */
  kv: KeyValue;
  prevKv?: KeyValue;
}

export interface WatchOptions {
  end?: Uint8Array;
  /** First revision to report; absent or 0: after now. */
  startRevision?: number;
  prevKv?: boolean;
  /** Ask for a progress answer when the watch is idle. */
  progressNotify?: boolean;
}

export interface WatchHandler {
  /** The watch stands; events after this revision follow. */
  created?(revision: number): void;
  /** All events of one or more whole revisions, in order. */
  events(events: WatchEvent[], revision: number): void;
  /** Nothing before or at this revision is still to come. */
  progress?(revision: number): void;
  /** No more events come. `compacted` is the oldest revision left, when that is why. */
  closed(reason: { error?: Error; compacted?: number }): void;
}

export interface Watch {
  /** Asks for a progress call soon, whether idle or not. */
  requestProgress(): void;
  /** Whether that is answered at once. A store that has to find out takes up to 100 ms, and more of its time. */
  readonly progressAtOnce: boolean;
  cancel(): void;
}

/** Errors keep etcd's texts, so that both sides of a swap read the same. */
export class StoreError extends Error {
  readonly reason:
    | "compacted"
    | "future-revision"
    | "no-space"
    | "lease-not-found"
    | "unavailable"
    | "invalid"
    /** A member gave up on it; a write may be carried out all the same. */
    | "timeout"
    /** No answer came in time; a write may be carried out all the same. */
    | "deadline"
    /** Refused for now: it was not carried out. */
    | "busy";
  constructor(reason: StoreError["reason"], message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "StoreError";
    this.reason = reason;
  }
}

export interface StoreClient {
  range(key: Uint8Array, options?: RangeOptions): Promise<RangeResult>;
  /** Acknowledged once it is durable. */
  txn(compare: Compare[], success: Op[], failure?: Op[]): Promise<TxnResult>;
  watch(key: Uint8Array, options: WatchOptions, handler: WatchHandler): Watch;
  /** Seconds to live; `id` 0n or absent lets the store choose. */
  leaseGrant(ttl: number, id?: bigint): Promise<{ id: bigint; ttl: number }>;
  leaseKeepAlive(id: bigint): Promise<{ ttl: number }>;
  leaseRevoke(id: bigint): Promise<void>;
  compact(revision: number, options?: { physical?: boolean }): Promise<void>;
  /** Current revision, bytes of the database, and what the store says of its health. */
  status(): Promise<{ revision: number; dbSize: number; version: string; errors: string[] }>;
  close(): Promise<void>;
}
