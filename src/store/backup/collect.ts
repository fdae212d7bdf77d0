// Gathers the versions that a backup has: references, not copies, so that
// writes and compactions go on while it is sent.
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
  for (let start: string | undefined = ""; start !== undefined && compactRevision > 0; ) {
    let next: string | undefined;
    let seen = 0;
    mvcc.keys.scan({ start, end: undefined }, (record, key) => {
      if (seen++ === SLICE) {
        next = key;
        return false;
      }
      const v = record.at(compactRevision);
      if (v) kept.push(v);
      return true;
    });
    start = next;
    yield;
  }
  // As etcd since 3.5.19: what the compacted revision itself deleted can still be watched from there.
  log.visit(compactRevision, ({ kv }) => {
    if (kv.version === 0) kept.push(kv);
  });
  const versions = yield* sortInSlices(kept);
  for (let r = Math.max(compactRevision + 1, log.first); r <= revision; r++) {
    log.visit(r, ({ kv }) => versions.push(kv));
    if (r % SLICE === 0) yield;
  }
  return versions;
}

/** Merges runs that were sorted slice by slice. */
function* sortInSlices(items: Version[]): Generator<void, Version[]> {
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
