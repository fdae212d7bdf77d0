// The etcd v3 data model as the state machine sees it. The operations extend
// those of client/etcd.ts, so that a client's own objects pass through unchanged.
import type { Compare as ClientCompare, Op as ClientOp, KeyValue, RangeOptions } from "../../client/etcd.ts";
import { keyBytes, keyText } from "./key.ts";

export interface RangeRequest extends RangeOptions {
  key: Uint8Array;
  /** `ofPage`: of what the limit lets through, and one more, in order of the keys. */
  sort?: { target: "key" | "version" | "create" | "mod" | "value"; descending: boolean; ofPage?: boolean };
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

/**
 * A put whose request is still the bytes that it came in, of which the store
 * keeps the value without a copy.
 */
export class PutInPlace implements PutRequest {
  readonly type = "put";
  /** The key, one code unit a byte. */
  readonly text: string;
  /** The value is `bytes` from `valueAt` to `valueEnd`. */
  readonly bytes: Uint8Array;
  readonly valueAt: number;
  readonly valueEnd: number;
  readonly lease: bigint;
  readonly prevKv: boolean;
  readonly ignoreValue: boolean;
  readonly ignoreLease: boolean;

  constructor(text: string, bytes: Uint8Array, valueAt: number, valueEnd: number, lease: bigint, flags: PutFlags = NO_FLAGS) {
    this.text = text;
    this.bytes = bytes;
    this.valueAt = valueAt;
    this.valueEnd = valueEnd;
    this.lease = lease;
    this.prevKv = flags.prevKv;
    this.ignoreValue = flags.ignoreValue;
    this.ignoreLease = flags.ignoreLease;
  }

  get key(): Uint8Array {
    return keyBytes(this.text);
  }

  get value(): Uint8Array {
    return this.bytes.subarray(this.valueAt, this.valueEnd);
  }
}

/** The key of a put, one code unit a byte. */
export const putKey = (put: PutRequest): string => (put instanceof PutInPlace ? put.text : keyText(put.key));

export interface PutFlags {
  prevKv: boolean;
  ignoreValue: boolean;
  ignoreLease: boolean;
}

const NO_FLAGS: PutFlags = { prevKv: false, ignoreValue: false, ignoreLease: false };

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
  kvs: Version[];
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
  | { type: "put"; revision: number; prevKv?: Version }
  | { type: "delete"; revision: number; deleted: number; prevKvs: Version[] }
  | ({ type: "txn" } & TxnAnswer);

export const NO_BYTES = new Uint8Array(0);
export const NO_LEASE = 0n;

type CompareParts = {
  compare(this: Uint8Array, other: Uint8Array, otherStart: number, otherEnd: number, start: number, end: number): number;
};
const { compare } = Buffer.prototype as unknown as CompareParts;

/**
 * One version of a key: a pair as of a revision, or the mark that the key was
 * deleted (version 0). Its value may be a part of other bytes, such as the
 * request that brought it, which then are what is kept.
 */
export class Version implements KeyValue {
  /** The key, one code unit a byte. */
  readonly text: string;
  /** The value is `bytes` from `valueAt` to `valueEnd`. */
  readonly bytes: Uint8Array;
  readonly valueAt: number;
  readonly valueEnd: number;
  readonly createRevision: number;
  readonly modRevision: number;
  readonly version: number;
  readonly lease: bigint;
  /** Position among the changes of one revision, from 0. */
  readonly sub: number;
  #key: Uint8Array | undefined;

  constructor(
    key: Uint8Array | string,
    bytes: Uint8Array,
    createRevision: number,
    modRevision: number,
    version: number,
    lease: bigint,
    sub: number,
    valueAt = 0,
    valueEnd = bytes.length,
  ) {
    if (typeof key === "string") this.text = key;
    else {
      this.text = keyText(key);
      this.#key = key;
    }
    this.bytes = bytes;
    this.valueAt = valueAt;
    this.valueEnd = valueEnd;
    this.createRevision = createRevision;
    this.modRevision = modRevision;
    this.version = version;
    this.lease = lease;
    this.sub = sub;
  }

  get key(): Uint8Array {
    this.#key ??= keyBytes(this.text);
    return this.#key;
  }

  /** The same under the key of another version, whose bytes are not made twice. */
  withKeyOf(other: Version): this {
    this.#key = other.#key;
    return this;
  }

  /**
   * A view where it is a part: the engine makes a buffer object for that, which
   * stays with `bytes` and costs every collection. What passes over all
   * versions takes copies, or looks in place.
   */
  get value(): Uint8Array {
    return this.valueLength === this.bytes.length ? this.bytes : this.bytes.subarray(this.valueAt, this.valueEnd);
  }

  get valueLength(): number {
    return this.valueEnd - this.valueAt;
  }

  /** The value, as bytes that are not a view. */
  valueBytes(): Uint8Array {
    return this.valueLength === this.bytes.length ? this.bytes : this.bytes.slice(this.valueAt, this.valueEnd);
  }

  /** Compares the value with bytes as memcmp does: negative, zero or positive. */
  compareValue(bytes: Uint8Array, start = 0, end = bytes.length): number {
    return compare.call(this.bytes, bytes, start, end, this.valueAt, this.valueEnd);
  }
}

export const tombstone = (of: Version, revision: number, sub: number) =>
  new Version(of.text, NO_BYTES, 0, revision, 0, NO_LEASE, sub).withKeyOf(of);

/** What changed: shared by every watcher that sees it. */
export interface Event {
  readonly type: "put" | "delete";
  readonly kv: Version;
  readonly prevKv?: Version;
}
