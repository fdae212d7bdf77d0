// HashKV as etcd computes it: CRC-32C over its revision keys and values, so
// that members, and a store and its mirror, can be compared.
import type { KeyValue } from "../../client/etcd.ts";
import { Refused } from "../mvcc/errors.ts";
import type { Mvcc } from "../mvcc/mvcc.ts";
import type { Version } from "../mvcc/types.ts";
import { crc32c } from "../wal/crc32c.ts";

/** The hash of everything up to a revision (0 is now). Throws Refused. */
export function hashKv(mvcc: Mvcc, at: number): { hash: number; compactRevision: number; revision: number } {
  const revision = at === 0 ? mvcc.revision : at;
  if (revision < mvcc.compactRevision) throw new Refused("compacted");
  if (revision > mvcc.revision) throw new Refused("future-revision");
  const kept: Version[] = [];
  mvcc.keys.scan({ start: "", end: undefined }, (record) => {
    // Of what is compacted away, etcd counts what a compaction at the asked revision would keep.
    const v = record.at(revision);
    if (v && v.modRevision <= mvcc.compactRevision) kept.push(v);
  });
  kept.sort((a, b) => a.modRevision - b.modRevision || a.sub - b.sub);
  let hash = crc32c(new TextEncoder().encode("key"));
  const add = (v: Version) => {
    hash = crc32c(revisionKey(v), 0, undefined, hash);
    hash = crc32c(marshal(v), 0, undefined, hash);
  };
  for (const v of kept) add(v);
  for (let r = Math.max(mvcc.compactRevision + 1, mvcc.log.first); r <= revision; r++) mvcc.log.visit(r, ({ kv }) => add(kv));
  return { hash, compactRevision: mvcc.compactRevision, revision };
}

/** etcd's key of a version in its backend: main, "_", sub, and "t" after a deletion. */
function revisionKey(v: Version): Uint8Array {
  const key = Buffer.alloc(v.version === 0 ? 18 : 17);
  key.writeBigUInt64BE(BigInt(v.modRevision), 0);
  key[8] = 0x5f;
  key.writeBigUInt64BE(BigInt(v.sub), 9);
  if (v.version === 0) key[17] = 0x74;
  return key;
}

/** mvccpb.KeyValue in the order of its field numbers; a deletion keeps only the key. */
function marshal(kv: KeyValue): Uint8Array {
  const out: number[] = [];
  const varint = (n: bigint) => {
    let rest = BigInt.asUintN(64, n);
    for (; rest >= 0x80n; rest >>= 7n) out.push(Number(rest & 0x7fn) | 0x80);
    out.push(Number(rest));
  };
  const bytes = (tag: number, b: Uint8Array) => {
    if (b.length === 0) return;
    out.push(tag);
    varint(BigInt(b.length));
    for (const byte of b) out.push(byte);
  };
  const int = (tag: number, n: bigint) => {
    if (n === 0n) return;
    out.push(tag);
    varint(n);
  };
  bytes(0x0a, kv.key);
  if (kv.version !== 0) {
    int(0x10, BigInt(kv.createRevision));
    int(0x18, BigInt(kv.modRevision));
    int(0x20, BigInt(kv.version));
    bytes(0x2a, kv.value);
    int(0x30, kv.lease);
  }
  return Uint8Array.from(out);
}
