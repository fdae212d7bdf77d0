// The hashes that etcd compares members by: CRC-32C over its backend.
import type { BucketSource } from "../bolt/writer.ts";
import { Refused } from "../mvcc/errors.ts";
import type { Mvcc } from "../mvcc/mvcc.ts";
import type { Version } from "../mvcc/types.ts";
import { crc32c } from "../wal/crc32c.ts";
import { changes, pairsAt, sortInSlices } from "./collect.ts";
import { keyValueSize, putKeyValue, putRevision, revisionSize } from "./record.ts";

export interface HashKv {
  hash: number;
  /** 0 before the first compaction. */
  compactRevision: number;
  /** Up to where it was taken. */
  revision: number;
}

/** Bytes hashed before other work has its turn. */
const SLICE = 1024 * 1024;

const bytes = (text: string) => new TextEncoder().encode(text);

class Hasher {
  value: number;
  /** Since the last turn of other work. */
  #bytes = 0;
  #scratch = new Uint8Array(4096);

  constructor(text: string) {
    this.value = crc32c(bytes(text));
  }

  add(size: number, put: (into: Uint8Array) => void): void {
    if (size > this.#scratch.length) this.#scratch = new Uint8Array(size * 2);
    put(this.#scratch);
    this.value = crc32c(this.#scratch, 0, size, this.value);
    this.#bytes += size;
  }

  /** Whether other work should have its turn. */
  get due(): boolean {
    if (this.#bytes < SLICE) return false;
    this.#bytes = 0;
    return true;
  }
}

/**
 * Maintenance.HashKV: over the revisions and pairs up to a revision (0 is now),
 * the same for members that have compacted at the same one. Yields between
 * slices; meanwhile writes may be applied, but nothing may be pruned.
 *
 * @throws Refused "compacted" or "future-revision"
 */
export function* hashKv(mvcc: Mvcc, at: number): Generator<void, HashKv> {
  const { compactRevision, log } = mvcc;
  const revision = at === 0 ? mvcc.revision : at;
  if (revision < compactRevision) throw new Refused("compacted");
  if (revision > mvcc.revision) throw new Refused("future-revision");
  const hasher = new Hasher("key");
  let v: Version;
  const key = (into: Uint8Array) => putRevision(v, into, 0);
  const value = (into: Uint8Array) => void putKeyValue(v, into, 0);
  const add = (version: Version) => {
    v = version;
    hasher.add(revisionSize(v), key);
    hasher.add(keyValueSize(v), value);
  };
  if (compactRevision > 0) {
    // Of what is compacted away counts what a compaction at the asked revision would keep; all of it, where that would keep nothing.
    const kept: Version[] = [];
    let any = false;
    yield* pairsAt(mvcc, revision, (version) => {
      any = true;
      if (version.modRevision <= compactRevision) kept.push(version);
    });
    if (!any) yield* pairsAt(mvcc, compactRevision, (version) => kept.push(version));
    for (const version of yield* sortInSlices(kept)) {
      add(version);
      if (hasher.due) yield;
    }
  }
  for (const _ of changes(log, compactRevision + 1, revision, add)) yield;
  return { hash: hasher.value, compactRevision, revision };
}

/** What differs between members that hold the same. */
const IGNORED = new Set(["meta/consistent_index", "meta/term", "meta/storageVersion"]);

/** Maintenance.Hash: over the whole backend. Yields between slices. */
export function* backendHash(buckets: readonly BucketSource[]): Generator<void, number> {
  const hasher = new Hasher("");
  for (const { name, pairs } of buckets) {
    hasher.add(name.length, (into) => into.set(bytes(name)));
    for (let i = 0; i < pairs.count; i++) {
      if (name === "meta" && IGNORED.has(`meta/${keyOf(pairs, i)}`)) continue;
      hasher.add(pairs.keySize(i), (into) => pairs.putKey(i, into, 0));
      hasher.add(pairs.valueSize(i), (into) => pairs.putValue(i, into, 0));
      if (hasher.due) yield;
    }
  }
  return hasher.value;
}

function keyOf(pairs: BucketSource["pairs"], i: number): string {
  const key = new Uint8Array(pairs.keySize(i));
  pairs.putKey(i, key, 0);
  return new TextDecoder().decode(key);
}
