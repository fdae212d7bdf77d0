// The etcd v3 data model as the state machine sees it. The operations extend
// those of client/etcd.ts, so that a client's own objects pass through unchanged.
import type { Compare as ClientCompare, Op as ClientOp, KeyValue, RangeOptions } from "../../client/etcd.ts";

export interface RangeRequest extends RangeOptions {
  key: Uint8Array;
  sort?: { target: "key" | "version" | "create" | "mod" | "value"; descending: boolean };
  minModRevision?: number;
  maxModRevision?: number;
  minCreateRevision?: number;
  maxCreateRevision?: number;
}

export interface PutRequest {
  key: Uint8Array;
  value: Uint8Array;
  /** 0n or absent: none. */
  lease?: bigint;
  prevKv?: boolean;
  /** Keep the value, or the lease, that the key has; it has to exist. */
  ignoreValue?: boolean;
  ignoreLease?: boolean;
}

export interface DeleteRequest {
  key: Uint8Array;
  end?: Uint8Array;
  prevKv?: boolean;
}

/** With `end`, the comparison must hold for every key of the range. */
export type Compare = ClientCompare & { end?: Uint8Array };

export interface TxnRequest {
  compare: readonly Compare[];
  success: readonly Op[];
  failure: readonly Op[];
}

export type Op =
  | ClientOp
  | ({ type: "range" } & RangeRequest)
  | ({ type: "put" } & PutRequest)
  | ({ type: "delete" } & DeleteRequest)
  | ({ type: "txn" } & TxnRequest);

export interface RangeAnswer {
  revision: number;
  kvs: KeyValue[];
  count: number;
  more: boolean;
}

export interface TxnAnswer {
  revision: number;
  succeeded: boolean;
  results: OpAnswer[];
}

export type OpAnswer =
  | ({ type: "range" } & RangeAnswer)
  | { type: "put"; revision: number; prevKv?: KeyValue }
  | { type: "delete"; revision: number; deleted: number; prevKvs: KeyValue[] }
  | ({ type: "txn" } & TxnAnswer);

export const NO_BYTES = new Uint8Array(0);
export const NO_LEASE = 0n;

/** One version of a key: a pair as of a revision, or the mark that the key was deleted (version 0). */
export class Version implements KeyValue {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
  readonly createRevision: number;
  readonly modRevision: number;
  readonly version: number;
  readonly lease: bigint;
  /** Position among the changes of one revision, from 0. */
  readonly sub: number;
  constructor(
    key: Uint8Array,
    value: Uint8Array,
    createRevision: number,
    modRevision: number,
    version: number,
    lease: bigint,
    sub: number,
  ) {
    this.key = key;
    this.value = value;
    this.createRevision = createRevision;
    this.modRevision = modRevision;
    this.version = version;
    this.lease = lease;
    this.sub = sub;
  }
}

export const tombstone = (key: Uint8Array, revision: number, sub: number) => new Version(key, NO_BYTES, 0, revision, 0, NO_LEASE, sub);

/** What changed: shared by every watcher that sees it. */
export interface Event {
  readonly type: "put" | "delete";
  readonly kv: Version;
  readonly prevKv?: Version;
}
