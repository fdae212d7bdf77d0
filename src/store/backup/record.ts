// A version as etcd's backend keeps it: the revision as the key, and a
// mvccpb.KeyValue, fields in order of their numbers, as the value.
import { keyTextAt, writeKey } from "../mvcc/key.ts";
import { NO_BYTES, Version } from "../mvcc/types.ts";
import { viewOf } from "../wal/format.ts";

type Copy = { copy(this: Uint8Array, into: Uint8Array, at: number, start: number, end: number): number };
// Unlike set(), it needs no view of a part.
const { copy } = Buffer.prototype as unknown as Copy;

const SEPARATOR = 0x5f;
const TOMBSTONE = 0x74;
const REVISION_BYTES = 17;
const TWO_32 = 0x1_0000_0000;

/** Bytes of a version's key: main u64 | "_" | sub u64, and "t" after a deletion; big-endian. */
export const revisionSize = (v: Version) => (v.version === 0 ? REVISION_BYTES + 1 : REVISION_BYTES);

function putU32(n: number, into: Uint8Array, at: number): void {
  into[at] = n >>> 24;
  into[at + 1] = n >>> 16;
  into[at + 2] = n >>> 8;
  into[at + 3] = n;
}

export function putRevision(v: Version, into: Uint8Array, at: number): void {
  putU32(v.modRevision / TWO_32, into, at);
  putU32(v.modRevision % TWO_32, into, at + 4);
  into[at + 8] = SEPARATOR;
  putU32(0, into, at + 9);
  putU32(v.sub, into, at + 13);
  if (v.version === 0) into[at + REVISION_BYTES] = TOMBSTONE;
}

/** The key of a revision that no pair has, such as meta's scheduledCompactRev. */
export function revisionBytes(revision: number): Uint8Array {
  const bytes = new Uint8Array(REVISION_BYTES);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(revision));
  bytes[8] = SEPARATOR;
  return bytes;
}

export interface Revision {
  main: number;
  sub: number;
  tombstone: boolean;
}

/** Undefined for what is no revision. */
export function decodeRevision(bytes: Uint8Array): Revision | undefined {
  const tombstone = bytes.length === REVISION_BYTES + 1 && bytes[REVISION_BYTES] === TOMBSTONE;
  if ((bytes.length !== REVISION_BYTES && !tombstone) || bytes[8] !== SEPARATOR) return undefined;
  const view = viewOf(bytes);
  const main = view.getUint32(0) * TWO_32 + view.getUint32(4);
  return view.getUint32(9) === 0 && Number.isSafeInteger(main) ? { main, sub: view.getUint32(13), tombstone } : undefined;
}

/** Bytes of a varint of a safe integer that is not negative. */
function varintSize(n: number): number {
  let size = 1;
  for (let rest = n; rest >= 0x80; rest = Math.floor(rest / 0x80)) size++;
  return size;
}

function putVarint(n: number, into: Uint8Array, at: number): number {
  let rest = n;
  let i = at;
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) into[i++] = (rest % 0x80) | 0x80;
  into[i++] = rest;
  return i;
}

const NEGATIVE_SIZE = 10;
/** Ids of leases are below 2^63, and mostly beyond 2^53. */
function leaseSize(lease: bigint): number {
  if (lease < 0n) return NEGATIVE_SIZE;
  let size = 1;
  for (let rest = lease >> 7n; rest > 0n; rest >>= 7n) size++;
  return size;
}

function putLease(lease: bigint, into: Uint8Array, at: number): number {
  let rest = BigInt.asUintN(64, lease);
  let i = at;
  for (; rest >= 0x80n; rest >>= 7n) into[i++] = Number(rest & 0x7fn) | 0x80;
  into[i++] = Number(rest);
  return i;
}

const lengthSize = (length: number) => (length === 0 ? 0 : 1 + varintSize(length) + length);
const numberSize = (n: number) => (n === 0 ? 0 : 1 + varintSize(n));

/** Bytes of a version's value. */
export function keyValueSize(v: Version): number {
  const key = lengthSize(v.text.length);
  // Of a deletion, etcd keeps the key alone.
  if (v.version === 0) return key;
  const numbers = numberSize(v.createRevision) + numberSize(v.modRevision) + numberSize(v.version);
  return key + numbers + lengthSize(v.valueLength) + (v.lease === 0n ? 0 : 1 + leaseSize(v.lease));
}

function putLength(tag: number, length: number, into: Uint8Array, at: number): number {
  into[at] = tag;
  return putVarint(length, into, at + 1);
}

function putNumber(tag: number, n: number, into: Uint8Array, at: number): number {
  if (n === 0) return at;
  into[at] = tag;
  return putVarint(n, into, at + 1);
}

/** Returns the position after it. */
export function putKeyValue(v: Version, into: Uint8Array, at: number): number {
  let i = at;
  if (v.text.length > 0) {
    i = putLength(0x0a, v.text.length, into, i);
    writeKey(v.text, into, i);
    i += v.text.length;
  }
  if (v.version === 0) return i;
  i = putNumber(0x10, v.createRevision, into, i);
  i = putNumber(0x18, v.modRevision, into, i);
  i = putNumber(0x20, v.version, into, i);
  if (v.valueLength > 0) {
    i = putLength(0x2a, v.valueLength, into, i);
    copy.call(v.bytes, into, i, v.valueAt, v.valueEnd);
    i += v.valueLength;
  }
  if (v.lease === 0n) return i;
  into[i] = 0x30;
  return putLease(v.lease, into, i + 1);
}

/** A version as etcd keeps it, its bytes copied. Throws an Error that says what is wrong. */
export function decodeKeyValue(revision: Revision, bytes: Uint8Array): Version {
  let key: string | undefined;
  let value = NO_BYTES;
  const numbers = [0n, 0n, 0n, 0n, 0n, 0n, 0n];
  let at = 0;
  const varint = () => {
    let n = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const b = bytes[at++];
      if (b === undefined || shift > 63n) throw new Error("a pair's value is cut short");
      n |= BigInt(b & 0x7f) << shift;
      if (b < 0x80) return BigInt.asIntN(64, n);
    }
  };
  while (at < bytes.length) {
    const tag = Number(varint());
    const field = tag >> 3;
    if ((tag & 7) === 0) {
      const n = varint();
      if (field < numbers.length) numbers[field] = n;
      continue;
    }
    if ((tag & 7) !== 2) throw new Error(`a pair's value has wire type ${tag & 7}`);
    const length = Number(varint());
    if (length < 0 || at + length > bytes.length) throw new Error("a pair's value is cut short");
    if (field === 1) key = keyTextAt(bytes, at, at + length);
    else if (field === 5) value = bytes.slice(at, at + length);
    at += length;
  }
  if (key === undefined) throw new Error("a pair has no key");
  const { main, sub, tombstone } = revision;
  if (tombstone) return new Version(key, value, 0, main, 0, 0n, sub);
  const [, , create, mod, version, , lease] = numbers as [bigint, bigint, bigint, bigint, bigint, bigint, bigint];
  if (Number(mod) !== main || version <= 0n) throw new Error(`a pair of revision ${mod} and version ${version}`);
  return new Version(key, value, Number(create), main, Number(version), lease, sub);
}
