// Answers of the KV and Watch services in protobuf's binary form, written from
// the store's own types: sized first, then into one array of that size.
import { writeKey } from "../mvcc/key.ts";
import type { Event, OpAnswer, RangeAnswer, TxnAnswer, Version } from "../mvcc/types.ts";

type Copy = { copy(this: Uint8Array, to: Uint8Array, at: number, start: number, end: number): number };
const { copy } = Buffer.prototype as unknown as Copy;

/** Bytes that a varint takes; not negative, at most 2^53. */
function varintSize(n: number): number {
  let size = 1;
  for (let rest = n; rest >= 0x80; rest /= 0x80) size++;
  return size;
}

function idSize(id: bigint): number {
  const n = BigInt.asUintN(64, id);
  if (n < 0x20_0000_0000_0000n) return varintSize(Number(n));
  return n < 0x100_0000_0000_0000n ? 8 : n < 0x8000_0000_0000_0000n ? 9 : 10;
}

/** A field of a number: not there when it is 0. */
const numberSize = (n: number) => (n === 0 ? 0 : 1 + varintSize(n));
/** A field of bytes, or of a message, of this length. */
const lengthSize = (length: number) => 1 + varintSize(length) + length;

let out: Uint8Array;
let at = 0;

/** Starts a message of a known size. */
function begin(size: number): void {
  out = new Uint8Array(size);
  at = 0;
}

function varint(n: number): void {
  let rest = n;
  // Above 2^31 there are no bit operations.
  for (; rest > 0x7fff_ffff; rest = Math.floor(rest / 0x80)) out[at++] = (rest % 0x80) | 0x80;
  for (; rest >= 0x80; rest >>>= 7) out[at++] = (rest & 0x7f) | 0x80;
  out[at++] = rest;
}

function number(tag: number, n: number): void {
  if (n === 0) return;
  out[at++] = tag;
  varint(n);
}

function id(tag: number, value: bigint): void {
  if (value === 0n) return;
  out[at++] = tag;
  let rest = BigInt.asUintN(64, value);
  for (; rest >= 0x20_0000_0000_0000n; rest >>= 7n) out[at++] = Number(rest & 0x7fn) | 0x80;
  varint(Number(rest));
}

function message(tag: number, size: number): void {
  out[at++] = tag;
  varint(size);
}

/** The header of answers, of one member in one term. */
export class ResponseHeader {
  /** Cluster and member. */
  readonly #identity: Uint8Array;
  readonly term: number;

  constructor(clusterId: bigint, memberId: bigint, term: number) {
    const size = (n: bigint) => (n === 0n ? 0 : 1 + idSize(n));
    begin(size(clusterId) + size(memberId));
    id(0x08, clusterId);
    id(0x10, memberId);
    this.#identity = out;
    this.term = term;
  }

  size(revision: number): number {
    return lengthSize(this.#length(revision));
  }

  #length(revision: number): number {
    return this.#identity.length + numberSize(revision) + numberSize(this.term);
  }

  write(revision: number): void {
    message(0x0a, this.#length(revision));
    const identity = this.#identity;
    for (let i = 0; i < identity.length; i++) out[at++] = identity[i]!;
    number(0x18, revision);
    number(0x20, this.term);
  }
}

/** The header within the answers of a transaction has only the revision. */
const INNER = new ResponseHeader(0n, 0n, 0);

function keyValueSize(v: Version): number {
  let size = numberSize(v.createRevision) + numberSize(v.modRevision) + numberSize(v.version);
  if (v.text.length > 0) size += lengthSize(v.text.length);
  if (v.valueLength > 0) size += lengthSize(v.valueLength);
  if (v.lease !== 0n) size += 1 + idSize(v.lease);
  return size;
}

function keyValue(tag: number, v: Version): void {
  message(tag, keyValueSize(v));
  const { text, valueAt, valueEnd } = v;
  if (text.length > 0) {
    message(0x0a, text.length);
    writeKey(text, out, at);
    at += text.length;
  }
  number(0x10, v.createRevision);
  number(0x18, v.modRevision);
  number(0x20, v.version);
  if (valueEnd > valueAt) {
    message(0x2a, valueEnd - valueAt);
    copy.call(v.bytes, out, at, valueAt, valueEnd);
    at += valueEnd - valueAt;
  }
  id(0x30, v.lease);
}

const keyValuesSize = (kvs: readonly Version[]): number => {
  let size = 0;
  for (const v of kvs) size += lengthSize(keyValueSize(v));
  return size;
};

export function putResponse(header: ResponseHeader, revision: number, prevKv: Version | undefined): Uint8Array {
  begin(header.size(revision) + (prevKv ? lengthSize(keyValueSize(prevKv)) : 0));
  header.write(revision);
  if (prevKv) keyValue(0x12, prevKv);
  return out;
}

const rangeSize = (a: RangeAnswer) => keyValuesSize(a.kvs) + (a.more ? 2 : 0) + numberSize(a.count);

function range(a: RangeAnswer): void {
  for (const v of a.kvs) keyValue(0x12, v);
  number(0x18, a.more ? 1 : 0);
  number(0x20, a.count);
}

export function rangeResponse(header: ResponseHeader, revision: number, answer: RangeAnswer): Uint8Array {
  begin(header.size(revision) + rangeSize(answer));
  header.write(revision);
  range(answer);
  return out;
}

const deleteSize = (deleted: number, prevKvs: readonly Version[]) => numberSize(deleted) + keyValuesSize(prevKvs);

function deletion(deleted: number, prevKvs: readonly Version[]): void {
  number(0x10, deleted);
  for (const v of prevKvs) keyValue(0x1a, v);
}

export function deleteResponse(header: ResponseHeader, revision: number, deleted: number, prevKvs: readonly Version[]): Uint8Array {
  begin(header.size(revision) + deleteSize(deleted, prevKvs));
  header.write(revision);
  deletion(deleted, prevKvs);
  return out;
}

const OPS = { range: 0x0a, put: 0x12, delete: 0x1a, txn: 0x22 } as const;

/** etcd leaves that of a nested transaction empty. */
const innerRevision = (a: OpAnswer) => (a.type === "txn" ? 0 : a.revision);

/** An answer within a transaction's, without its tag and length. */
function opSize(a: OpAnswer): number {
  const header = INNER.size(innerRevision(a));
  switch (a.type) {
    case "range":
      return header + rangeSize(a);
    case "put":
      return header + (a.prevKv ? lengthSize(keyValueSize(a.prevKv)) : 0);
    case "delete":
      return header + deleteSize(a.deleted, a.prevKvs);
    case "txn":
      return header + txnSize(a);
  }
}

function txnSize(a: TxnAnswer): number {
  let size = a.succeeded ? 2 : 0;
  for (const result of a.results) size += lengthSize(lengthSize(opSize(result)));
  return size;
}

function txn(a: TxnAnswer): void {
  number(0x10, a.succeeded ? 1 : 0);
  for (const result of a.results) {
    const size = opSize(result);
    message(0x1a, lengthSize(size));
    message(OPS[result.type], size);
    INNER.write(innerRevision(result));
    if (result.type === "range") range(result);
    else if (result.type === "put") {
      if (result.prevKv) keyValue(0x12, result.prevKv);
    } else if (result.type === "delete") deletion(result.deleted, result.prevKvs);
    else txn(result);
  }
}

export function txnResponse(header: ResponseHeader, answer: TxnAnswer): Uint8Array {
  begin(header.size(answer.revision) + txnSize(answer));
  header.write(answer.revision);
  txn(answer);
  return out;
}

/** Bytes that an event takes in a response, without its tag and length. */
export function eventSize(e: Event, prevKv: boolean): number {
  return (e.type === "delete" ? 2 : 0) + lengthSize(keyValueSize(e.kv)) + (prevKv && e.prevKv ? lengthSize(keyValueSize(e.prevKv)) : 0);
}

/**
 * Events `from` up to but not including `to` of a watch.
 *
 * @param watchId negative ones are 2^64 lower on the wire
 */
export function watchEvents(
  header: ResponseHeader,
  revision: number,
  watchId: bigint,
  events: readonly Event[],
  from: number,
  to: number,
  options: { prevKv: boolean; fragment: boolean },
): Uint8Array {
  const { prevKv, fragment } = options;
  let size = header.size(revision) + (watchId === 0n ? 0 : 1 + idSize(watchId)) + (fragment ? 2 : 0);
  for (let i = from; i < to; i++) size += lengthSize(eventSize(events[i]!, prevKv));
  begin(size);
  header.write(revision);
  id(0x10, watchId);
  number(0x38, fragment ? 1 : 0);
  for (let i = from; i < to; i++) {
    const e = events[i]!;
    message(0x5a, eventSize(e, prevKv));
    number(0x08, e.type === "delete" ? 1 : 0);
    keyValue(0x12, e.kv);
    if (prevKv && e.prevKv) keyValue(0x1a, e.prevKv);
  }
  return out;
}
