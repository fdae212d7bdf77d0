// Gathers the versions that a backup has: references, not copies, so that
// writes and compactions go on while it is sent.
import type { EventLog } from "../mvcc/log.ts";
import type { Mvcc } from "../mvcc/mvcc.ts";
import type { Version } from "../mvcc/types.ts";

const SLICE = 2048;

const byRevision = (a: Version, b: Version) => a.modRevision - b.modRevision || a.sub - b.sub;

/**
 * What the store holds as of now, in order of the revisions: the pairs as of
 * the compacted revision, and every change since. Yields between slices of the
 * work, during which writes may be applied, but nothing may be pruned.
 */
export function* collectVersions(mvcc: Mvcc): Generator<void, Version[]> {
  const { revision, compactRevision, log } = mvcc;
  const kept: Version[] = [];
  if (compactRevision > 0) yield* pairsAt(mvcc, compactRevision, (v) => kept.push(v));
  // As etcd since 3.5.19: what the compacted revision itself deleted can still be watched from there.
  log.visit(compactRevision, ({ kv }) => {
    if (kv.version === 0) kept.push(kv);
  });
  const versions = yield* sortInSlices(kept);
  yield* changes(log, compactRevision + 1, revision, (v) => versions.push(v));
  return versions;
}

/** The versions that held at a revision, in order of their keys. Yields as collectVersions() does. */
export function* pairsAt({ keys }: Mvcc, revision: number, visit: (v: Version) => void): Generator<void, void> {
  for (let start: string | undefined = ""; start !== undefined; ) {
    let next: string | undefined;
    let seen = 0;
    keys.scan({ start, end: undefined }, (record, key) => {
      if (seen++ === SLICE) {
        next = key;
        return false;
      }
      const v = record.at(revision);
      if (v) visit(v);
      return true;
    });
    start = next;
    yield;
  }
}

/** What revisions from one to another changed. */
export function* changes(log: EventLog, from: number, to: number, visit: (v: Version) => void): Generator<void, void> {
  for (let r = Math.max(from, log.first); r <= to; r++) {
    log.visit(r, ({ kv }) => visit(kv));
    if (r % SLICE === 0) yield;
  }
}

/** Sorts by revision: merges runs that were sorted slice by slice. Changes the array that it is given. */
export function* sortInSlices(items: Version[]): Generator<void, Version[]> {
  let from = items;
  for (let i = 0; i < from.length; i += SLICE) {
    const run = from.slice(i, i + SLICE).sort(byRevision);
    for (let k = 0; k < run.length; k++) from[i + k] = run[k]!;
    yield;
  }
  let to = new Array<Version>(from.length);
  for (let width = SLICE; width < from.length; width *= 2) {
    for (let start = 0; start < from.length; start += 2 * width) {
      const middle = Math.min(start + width, from.length);
      const end = Math.min(start + 2 * width, from.length);
      let a = start;
      let b = middle;
      for (let k = start; k < end; k++) {
        to[k] = b >= end || (a < middle && byRevision(from[a]!, from[b]!) <= 0) ? from[a++]! : from[b++]!;
        if (k % SLICE === SLICE - 1) yield;
      }
    }
    [from, to] = [to, from];
  }
  return from;
}
