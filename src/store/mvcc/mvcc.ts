// The multi-version store: keys, their versions, and the log of events. A pure
// core: what it does follows from the calls alone.
import { Refused } from "./errors.ts";
import { inSpan, keyText, type Span, spanOf } from "./key.ts";
import { type KeyRecord, Keyspace } from "./keyspace.ts";
import { EventLog } from "./log.ts";
import { rangeOver } from "./range.ts";
import { type Event, NO_LEASE, type RangeAnswer, type RangeRequest, tombstone, Version } from "./types.ts";

/** Told of every change of which lease a key hangs on. */
export type LeaseChange = (key: string, before: bigint, after: bigint) => void;

/** What a version costs besides its bytes, for the quota. */
const OVERHEAD = 64;
const cost = (v: Version) => v.text.length + v.valueLength + OVERHEAD;

export class Mvcc {
  keys = new Keyspace();
  log = new EventLog(2);
  /** What was asked of it since it was made, for metrics; `pruned` are versions that were freed. */
  readonly counts = { puts: 0, putBytes: 0, deletes: 0, ranges: 0, txns: 0, pruned: 0 };
  #revision = 1;
  #compacted = 0;
  #size = 0;
  /** The largest #size before the last time that something was freed. */
  #peak = 0;
  /** Revisions up to which superseded versions are gone; trails #compacted. */
  #pruned = 0;
  readonly #leaseChanged: LeaseChange;
  /** Events of the revision being written. */
  #open: Event[] | undefined;

  constructor(leaseChanged: LeaseChange = () => {}) {
    this.#leaseChanged = leaseChanged;
  }

  /** The newest revision. An empty store is at 1. */
  get revision(): number {
    return this.#revision;
  }

  /** The newest revision, with the one being written if that changed something. */
  get pendingRevision(): number {
    return this.#revision + (this.#open?.length ? 1 : 0);
  }

  /** The revision last compacted at, or 0: older ones can't be read any more. */
  get compactRevision(): number {
    return this.#compacted;
  }

  /** Bytes of all versions, an estimate of what they cost included. */
  get size(): number {
    return this.#size;
  }

  /** The most that `size` was since defragment(): what is freed is used again, and given back only by that. */
  get allocated(): number {
    return Math.max(this.#peak, this.#size);
  }

  /** Gives back what was freed. */
  defragment(): void {
    this.#peak = 0;
  }

  /** @throws Refused "compacted" or "future-revision" */
  range(request: RangeRequest): RangeAnswer {
    this.counts.ranges++;
    this.checkRevision(request.revision);
    return rangeOver(this.keys, request, this.pendingRevision);
  }

  /** @throws Refused "compacted" or "future-revision" */
  checkRevision(revision: number | undefined): void {
    if (revision === undefined || revision <= 0) return;
    if (revision > this.#revision) throw new Refused("future-revision");
    if (revision < this.#compacted) throw new Refused("compacted");
  }

  get(key: string): Version | undefined {
    const latest = this.keys.find(key)?.latest;
    return latest && latest.version !== 0 ? latest : undefined;
  }

  /** Runs writes as one revision. A run that writes nothing makes none. */
  write<T>(run: () => T): T {
    this.#begin();
    try {
      return run();
    } finally {
      this.#end();
    }
  }

  /** Runs one put as one revision. */
  writePut(key: string, bytes: Uint8Array, valueAt: number, valueEnd: number, lease: bigint): Version | undefined {
    this.#begin();
    const before = this.put(key, bytes, lease, valueAt, valueEnd);
    this.#end();
    return before;
  }

  #begin(): void {
    this.#open = [];
  }

  #end(): void {
    const events = this.#open!;
    this.#open = undefined;
    if (events.length === 0) return;
    this.#revision++;
    this.log.push(events);
  }

  /**
   * Inside write(). The value is `bytes` from `valueAt` to `valueEnd`, which
   * are kept. Returns what was there before.
   */
  put(key: Uint8Array | string, bytes: Uint8Array, lease: bigint, valueAt = 0, valueEnd = bytes.length): Version | undefined {
    const text = typeof key === "string" ? key : keyText(key);
    this.counts.puts++;
    this.counts.putBytes += text.length + valueEnd - valueAt;
    const record = this.keys.find(text);
    const latest = record?.latest;
    const before = latest && latest.version !== 0 ? latest : undefined;
    const revision = this.#revision + 1;
    const version = new Version(
      // One string for all versions of a key.
      latest ? latest.text : key,
      bytes,
      before ? before.createRevision : revision,
      revision,
      before ? before.version + 1 : 1,
      lease,
      this.#open!.length,
      valueAt,
      valueEnd,
    );
    this.#change(record, latest ? version.withKeyOf(latest) : version, before);
    return before;
  }

  /** Inside write(). Returns what was there, in order of the keys. */
  delete(key: Uint8Array, end?: Uint8Array): Version[] {
    this.counts.deletes++;
    const span = spanOf(key, end);
    const found: Version[] = [];
    const collect = (record: KeyRecord) => {
      if (record.latest.version !== 0) found.push(record.latest);
    };
    if (span.single) {
      const record = this.keys.find(span.start);
      if (record) collect(record);
    } else this.keys.scan(span, collect);
    for (const before of found) {
      this.#change(undefined, tombstone(before, this.#revision + 1, this.#open!.length), before);
    }
    return found;
  }

  /**
   * Makes revisions before this one unreadable. What they held is freed by prune().
   *
   * @throws Refused "compacted" or "future-revision"
   */
  compact(revision: number): void {
    if (revision <= this.#compacted) throw new Refused("compacted");
    if (revision > this.#revision) throw new Refused("future-revision");
    this.#compacted = revision;
  }

  /** Frees what compaction left, up to so many revisions of it; true when all is done. */
  prune(revisions = Number.POSITIVE_INFINITY): boolean {
    this.#peak = this.allocated;
    const from = Math.max(this.#pruned + 1, this.log.first);
    const to = Math.min(this.#compacted, from + revisions - 1);
    for (let r = from; r <= to; r++) this.log.visit(r, (event) => this.#pruneKey(event.kv.text));
    if (to >= from) this.#pruned = to;
    // The compacted revision itself can still be watched from.
    this.log.trim(this.#pruned);
    return to === this.#compacted;
  }

  /** Events of revisions from `from` to `to`, of the keys in a span. */
  events(from: number, to: number, span: Span, visit: (event: Event) => void): void {
    for (let r = from; r <= to; r++) {
      this.log.visit(r, (event) => {
        if (inSpan(event.kv.text, span)) visit(event);
      });
    }
  }

  /**
   * Starts from a snapshot: the pairs as of a compacted revision (0 for none), in order of
   * their keys, and what that revision changed. replay() adds the revisions after it.
   */
  restore(compacted: number, pairs: Iterable<Version>, changedThen: readonly Version[]): void {
    this.restoreAt(compacted);
    for (const v of pairs) this.restorePair(v);
    this.restoreChanges(changedThen);
  }

  /** The first step of restore(). */
  restoreAt(compacted: number): void {
    this.#compacted = this.#pruned = compacted;
    this.#revision = Math.max(1, compacted);
    this.log = new EventLog(Math.max(2, compacted));
  }

  /** The second, for each pair. */
  restorePair(v: Version): void {
    this.keys.append(v.text, v);
    this.#size += cost(v);
    if (v.lease !== NO_LEASE) this.#leaseChanged(v.text, NO_LEASE, v.lease);
  }

  /** The third. */
  restoreChanges(changedThen: readonly Version[]): void {
    if (this.#compacted >= 2) this.log.push(changedThen.map((v) => ({ type: v.version === 0 ? "delete" : "put", kv: v })));
  }

  /** Takes what another has, which is not to be used any more, in place of all it has. */
  adopt(other: Mvcc): void {
    this.keys = other.keys;
    this.log = other.log;
    this.#revision = other.#revision;
    this.#compacted = other.#compacted;
    this.#pruned = other.#pruned;
    this.#size = other.#size;
    this.#peak = other.#peak;
  }

  /** Adds the changes of the next revision as a snapshot kept them. */
  replay(versions: readonly Version[]): void {
    this.write(() => {
      for (const v of versions) {
        const record = this.keys.find(v.text);
        this.#change(record, v, record && record.latest.version !== 0 ? record.latest : undefined);
      }
    });
  }

  /** @param record the key's, where it is known that it has one */
  #change(record: KeyRecord | undefined, version: Version, before: Version | undefined): void {
    const { text } = version;
    // A change that leaves the key there, or not there, leaves the counts alone too.
    if (record && (before === undefined) === (version.version === 0)) record.push(version);
    else this.keys.set(text, version);
    this.#size += cost(version);
    const lease = before?.lease ?? NO_LEASE;
    if (lease !== version.lease) this.#leaseChanged(text, lease, version.lease);
    this.#open!.push({ type: version.version === 0 ? "delete" : "put", kv: version, prevKv: before });
  }

  #pruneKey(key: string): void {
    const record = this.keys.find(key);
    if (!record) return;
    const latest = record.latest;
    const older = record.older;
    if (latest.modRevision <= this.#compacted) {
      for (const v of older ?? []) this.#free(v);
      record.older = undefined;
      if (latest.version === 0) {
        this.#free(latest);
        this.keys.remove(key);
      }
      return;
    }
    if (!older) return;
    let keep = older.length - 1;
    while (keep >= 0 && older[keep]!.modRevision > this.#compacted) keep--;
    if (keep >= 0 && older[keep]!.version === 0) keep++;
    if (keep <= 0) return;
    for (let i = 0; i < keep; i++) this.#free(older[i]!);
    record.older = keep === older.length ? undefined : older.slice(keep);
  }

  #free(v: Version): void {
    this.#size -= cost(v);
    this.counts.pruned++;
  }
}
