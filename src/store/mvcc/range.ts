// Range requests over the keyspace.
import { spanOf } from "./key.ts";
import type { Keyspace } from "./keyspace.ts";
import { NO_BYTES, type RangeAnswer, type RangeRequest, Version } from "./types.ts";

type Target = NonNullable<RangeRequest["sort"]>["target"];

const ORDER: Record<Target, (a: Version, b: Version) => number> = {
  key: (a, b) => (a.text < b.text ? -1 : a.text > b.text ? 1 : 0),
  version: (a, b) => a.version - b.version,
  create: (a, b) => a.createRevision - b.createRevision,
  mod: (a, b) => a.modRevision - b.modRevision,
  value: (a, b) => a.compareValue(b.bytes, b.valueAt, b.valueEnd),
};

type Filter = (v: Version) => boolean;

function filterOf(r: RangeRequest): Filter | undefined {
  const { minModRevision: a, maxModRevision: b, minCreateRevision: c, maxCreateRevision: d } = r;
  if (!a && !b && !c && !d) return undefined;
  return (v) => !((a && v.modRevision < a) || (b && v.modRevision > b) || (c && v.createRevision < c) || (d && v.createRevision > d));
}

/** @param now the newest revision, the one being written included */
export function rangeOver(keys: Keyspace, request: RangeRequest, now: number): RangeAnswer {
  const at = request.revision && request.revision > 0 ? request.revision : Number.POSITIVE_INFINITY;
  const span = spanOf(request.key, request.end);
  const filter = filterOf(request);
  if (span.single) {
    const found = keys.find(span.start)?.at(at);
    return answer(request, found && (!filter || filter(found)) ? [found] : [], found ? 1 : 0, now);
  }
  const current = at >= now;
  const sort = request.sort && !(request.sort.target === "key" && !request.sort.descending) ? request.sort : undefined;
  if (request.countOnly && current) return { revision: now, kvs: [], count: keys.count(span), more: false };

  // One past the limit tells whether there are more.
  const enough = request.limit && request.limit > 0 && (!sort || sort.ofPage) && !filter ? request.limit + 1 : Number.POSITIVE_INFINITY;
  const found: Version[] = [];
  let count = 0;
  keys.scan(span, (record) => {
    const version = current ? (record.latest.version === 0 ? undefined : record.latest) : record.at(at);
    if (!version) return true;
    count++;
    if (found.length < enough) found.push(version);
    return !(current && found.length >= enough);
  });
  if (current && found.length >= enough) count = keys.count(span);
  const kept = filter ? found.filter(filter) : found;
  if (sort) kept.sort(sort.descending ? (a, b) => ORDER[sort.target](b, a) : ORDER[sort.target]);
  return answer(request, kept, count, now);
}

function answer(request: RangeRequest, found: Version[], count: number, revision: number): RangeAnswer {
  if (request.countOnly) return { revision, kvs: [], count, more: false };
  const limit = request.limit && request.limit > 0 ? request.limit : found.length;
  const more = found.length > limit;
  const page = more ? found.slice(0, limit) : found;
  const kvs = request.keysOnly
    ? page.map((v) => new Version(v.text, NO_BYTES, v.createRevision, v.modRevision, v.version, v.lease, v.sub).withKeyOf(v))
    : page;
  return { revision, kvs, count, more };
}
