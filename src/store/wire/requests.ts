// Requests of the KV service, from the wire to the store's own types without
// objects in between: as every client writes them. What is not, protobuf-es
// reads (server/messages.ts), so that it has one meaning and one error.
import { keyTextAt } from "../mvcc/key.ts";
import { type Compare, type Op, PutInPlace, type RangeRequest, type TxnRequest } from "../mvcc/types.ts";
import { Cursor } from "./cursor.ts";

const cursor = new Cursor();
const NOTHING: readonly never[] = [];

/** A put, if its request is as clients write it: the key first. The request's bytes are kept. */
export function readPutRequest(bytes: Uint8Array, at = 0): PutInPlace | undefined {
  if (bytes[at] !== 0x0a) return undefined;
  cursor.open(bytes, at);
  const put = putAt(bytes.length);
  return cursor.odd ? undefined : put;
}

export function readRangeRequest(bytes: Uint8Array): ({ type: "range" } & RangeRequest) | undefined {
  cursor.open(bytes, 0);
  const range = rangeAt(bytes.length);
  return cursor.odd ? undefined : range;
}

export function readDeleteRequest(bytes: Uint8Array): Extract<Op, { type: "delete" }> | undefined {
  cursor.open(bytes, 0);
  const op = deleteAt(bytes.length);
  return cursor.odd ? undefined : op;
}

/** A transaction that starts at `at`. The request's bytes may be kept. */
export function readTxnRequest(bytes: Uint8Array, at = 0): TxnRequest | undefined {
  cursor.open(bytes, at);
  const txn = txnAt(bytes.length);
  return cursor.odd ? undefined : txn;
}

function putAt(end: number): PutInPlace {
  const c = cursor;
  let text = "";
  let valueAt = 0;
  let valueEnd = 0;
  let lease = 0n;
  let prevKv = false;
  let ignoreValue = false;
  let ignoreLease = false;
  while (c.at < end && !c.odd) {
    switch (c.number(end)) {
      case 0x0a: {
        const to = c.length(end);
        text = keyTextAt(c.bytes, c.at, to);
        c.at = to;
        break;
      }
      case 0x12:
        valueEnd = c.length(end);
        valueAt = c.at;
        c.at = valueEnd;
        break;
      case 0x18:
        lease = c.id(end);
        break;
      case 0x20:
        prevKv = c.flag(end);
        break;
      case 0x28:
        ignoreValue = c.flag(end);
        break;
      case 0x30:
        ignoreLease = c.flag(end);
        break;
      default:
        c.odd = true;
    }
  }
  const flags = prevKv || ignoreValue || ignoreLease ? { prevKv, ignoreValue, ignoreLease } : undefined;
  // A small value would keep a large request.
  if ((valueEnd - valueAt) * 2 < c.bytes.length && c.bytes.length > 256) {
    const value = c.bytes.slice(valueAt, valueEnd);
    return new PutInPlace(text, value, 0, value.length, lease, flags);
  }
  return new PutInPlace(text, c.bytes, valueAt, valueEnd, lease, flags);
}

function bytesAt(end: number): Uint8Array {
  const to = cursor.length(end);
  const bytes = cursor.bytes.slice(cursor.at, to);
  cursor.at = to;
  return bytes;
}

/** The same of a field that says nothing when it is empty. */
function endAt(end: number): Uint8Array | undefined {
  const bytes = bytesAt(end);
  return bytes.length > 0 ? bytes : undefined;
}

const NO_KEY: Uint8Array = new Uint8Array(0);

function rangeAt(end: number): { type: "range" } & RangeRequest {
  const c = cursor;
  const r: { type: "range" } & RangeRequest = { type: "range", key: NO_KEY, end: undefined, serializable: false };
  while (c.at < end && !c.odd) {
    switch (c.number(end)) {
      case 0x0a:
        r.key = bytesAt(end);
        break;
      case 0x12:
        r.end = endAt(end);
        break;
      case 0x18:
        r.limit = c.number(end);
        break;
      case 0x20:
        r.revision = c.number(end);
        break;
      case 0x38:
        r.serializable = c.flag(end);
        break;
      case 0x40:
        r.keysOnly = c.flag(end);
        break;
      case 0x48:
        r.countOnly = c.flag(end);
        break;
      default:
        // Sorting and bounds are rare.
        c.odd = true;
    }
  }
  return r;
}

function deleteAt(end: number): Extract<Op, { type: "delete" }> {
  const c = cursor;
  const op = { type: "delete" as const, key: NO_KEY, end: undefined as Uint8Array | undefined, prevKv: false };
  while (c.at < end && !c.odd) {
    switch (c.number(end)) {
      case 0x0a:
        op.key = bytesAt(end);
        break;
      case 0x12:
        op.end = endAt(end);
        break;
      case 0x18:
        op.prevKv = c.flag(end);
        break;
      default:
        c.odd = true;
    }
  }
  return op;
}

function txnAt(end: number): TxnRequest {
  const c = cursor;
  let compare: Compare[] | undefined;
  let success: Op[] | undefined;
  let failure: Op[] | undefined;
  while (c.at < end && !c.odd) {
    const tag = c.number(end);
    const to = c.length(end);
    if (tag === 0x0a) {
      compare ??= [];
      compare.push(compareAt(to));
    } else if (tag === 0x12) {
      success ??= [];
      success.push(opAt(to));
    } else if (tag === 0x1a) {
      failure ??= [];
      failure.push(opAt(to));
    } else c.odd = true;
  }
  return { compare: compare ?? NOTHING, success: success ?? NOTHING, failure: failure ?? NOTHING };
}

function opAt(end: number): Op {
  const c = cursor;
  const tag = c.number(end);
  const to = c.length(end);
  // Several of a oneof are merged, or the last one holds.
  if (to !== end) c.odd = true;
  switch (tag) {
    case 0x0a:
      return rangeAt(to);
    case 0x12:
      return putAt(to);
    case 0x1a:
      return deleteAt(to);
    case 0x22:
      return { type: "txn", ...txnAt(to) };
    default:
      c.odd = true;
      return deleteAt(to);
  }
}

const RESULTS = ["=", ">", "<", "!="] as const;
const TARGETS = ["version", "createRevision", "modRevision", "value", "lease"] as const;
/** The tags of the fields that hold what each target is compared with. */
const UNION = [0x20, 0x28, 0x30, 0x3a, 0x40];

function compareAt(end: number): Compare {
  const c = cursor;
  let result = 0;
  let target = 0;
  let key: Uint8Array = NO_KEY;
  let rangeEnd: Uint8Array | undefined;
  let union = 0;
  let value: number | bigint | Uint8Array = 0;
  while (c.at < end && !c.odd) {
    const tag = c.number(end);
    switch (tag) {
      case 0x08:
        result = c.choice(end, RESULTS.length);
        break;
      case 0x10:
        target = c.choice(end, TARGETS.length);
        break;
      case 0x1a:
        key = bytesAt(end);
        break;
      case 0x202:
        rangeEnd = endAt(end);
        break;
      case 0x20:
      case 0x28:
      case 0x30:
        value = c.number(end);
        union = tag;
        break;
      case 0x3a:
        value = bytesAt(end);
        union = tag;
        break;
      case 0x40:
        value = c.id(end);
        union = tag;
        break;
      default:
        c.odd = true;
    }
  }
  if (union !== UNION[target]) c.odd = true;
  return { key, end: rangeEnd, op: RESULTS[result], target: TARGETS[target], value } as Compare;
}
