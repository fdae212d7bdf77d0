// Who watches what. Watchers that have seen everything ("synced") are found by
// the keys of new events; the others read the log until they have caught up.

import { Intervals } from "./intervals.ts";
import { type Span, spanOf } from "./key.ts";
import type { Mvcc } from "./mvcc.ts";
import type { Event } from "./types.ts";

export interface WatchSpec {
  key: Uint8Array;
  end?: Uint8Array;
  /** First revision to report; 0 or absent is the one after now. */
  startRevision?: number;
  noPut?: boolean;
  noDelete?: boolean;
}

export interface WatchSink {
  /** All events of the watcher in the revisions since the last call up to `revision`. Never empty. */
  events(events: readonly Event[], revision: number): void;
  /** The log no longer has what comes next; the watcher is gone. */
  compacted(revision: number): void;
  /** It was behind, and has got all there is. */
  caughtUp?(): void;
}

export class Watcher {
  readonly spec: WatchSpec;
  readonly span: Span & { single: boolean };
  readonly sink: WatchSink;
  /** The first revision not yet looked at for this watcher. */
  next: number;
  synced = false;
  /** A reader that is behind; events wait in the log. */
  paused = false;
  batch: readonly Event[] | undefined;
  constructor(spec: WatchSpec, sink: WatchSink, next: number) {
    this.spec = spec;
    this.span = spanOf(spec.key, spec.end);
    this.sink = sink;
    this.next = next;
  }

  /** Watchers of one kind and one span see the same. */
  get kind(): number {
    return (this.spec.noPut ? 1 : 0) | (this.spec.noDelete ? 2 : 0);
  }

  wants(event: Event): boolean {
    return !(event.type === "put" ? this.spec.noPut : this.spec.noDelete);
  }
}

/** The synced watchers of one span. */
class Group {
  readonly watchers = new Set<Watcher>();
  /** What the revisions that are being published hold for them, by their kind. */
  readonly #batches: (Event[] | undefined)[] = [];

  /** Returns whether it is the first. */
  offer(event: Event): boolean {
    const first = this.#batches[0] === undefined;
    this.#batches[0] ??= [];
    this.#batches[0].push(event);
    return first;
  }

  /** Gives each watcher its batch: one array for all that have seen everything before it. */
  deal(touched: Watcher[]): void {
    const first = this.#batches[0]![0]!.kv.modRevision;
    for (const w of this.watchers) {
      const batch = w.next <= first ? this.#batchOf(w) : this.#batchOf(w).filter((e) => e.kv.modRevision >= w.next);
      if (batch.length === 0) continue;
      w.batch = batch;
      touched.push(w);
    }
    this.#batches.length = 0;
  }

  #batchOf(w: Watcher): Event[] {
    this.#batches[w.kind] ??= this.#batches[0]!.filter((e) => w.wants(e));
    return this.#batches[w.kind]!;
  }
}

export class WatchHub {
  readonly #mvcc: Mvcc;
  readonly #byKey = new Map<string, Group>();
  readonly #byRange = new Intervals<Group>();
  readonly #unsynced = new Set<Watcher>();
  #count = 0;
  /** Revisions up to here have been published to the synced. */
  #published: number;

  constructor(mvcc: Mvcc) {
    this.#mvcc = mvcc;
    this.#published = mvcc.revision;
  }

  get size(): number {
    return this.#count;
  }

  /** Watchers that have not got all there is. */
  get unsynced(): number {
    return this.#unsynced.size;
  }

  /** Watchers that have to be caught up by step(). */
  get behind(): boolean {
    for (const w of this.#unsynced) if (!w.paused) return true;
    return false;
  }

  /** Adds a watcher; it gets nothing before publish() or step() is called. */
  add(spec: WatchSpec, sink: WatchSink): Watcher {
    const start = spec.startRevision && spec.startRevision > 0 ? spec.startRevision : this.#mvcc.revision + 1;
    const watcher = new Watcher(spec, sink, start);
    this.#count++;
    // One that starts in the future waits among the synced, which look at `next`.
    if (start > this.#published) this.#sync(watcher);
    else this.#unsynced.add(watcher);
    return watcher;
  }

  remove(watcher: Watcher): void {
    if (watcher.synced) this.#unsync(watcher);
    else if (!this.#unsynced.delete(watcher)) return;
    this.#count--;
  }

  /** Its events wait in the log until resume(). */
  pause(watcher: Watcher): void {
    watcher.paused = true;
    if (!watcher.synced) return;
    this.#unsync(watcher);
    this.#unsynced.add(watcher);
  }

  resume(watcher: Watcher): void {
    watcher.paused = false;
  }

  /** Whether what was written is published: else that comes within the turn. */
  get published(): boolean {
    return this.#published === this.#mvcc.revision;
  }

  /** Whether the watcher has been told everything up to the newest revision, and begins no later. */
  isCurrent(watcher: Watcher): boolean {
    return watcher.synced && watcher.batch === undefined && watcher.next <= this.#mvcc.revision + 1 && this.published;
  }

  /** Hands the events since the last call to the synced watchers. */
  publish(): void {
    const to = this.#mvcc.revision;
    const from = this.#published + 1;
    this.#published = to;
    if (from > to || this.#count === this.#unsynced.size) return;
    const groups: Group[] = [];
    const offer = (group: Group, event: Event) => {
      if (group.offer(event)) groups.push(group);
    };
    for (let r = from; r <= to; r++) {
      this.#mvcc.log.visit(r, (event) => {
        const key = event.kv.text;
        const exact = this.#byKey.get(key);
        if (exact) offer(exact, event);
        this.#byRange.visit(key, (group) => offer(group, event));
      });
    }
    const touched: Watcher[] = [];
    for (const group of groups) group.deal(touched);
    for (const w of touched) {
      const { batch } = w;
      // Gone or paused by another one's sink; a paused one reads the log later.
      if (!batch) continue;
      w.batch = undefined;
      w.next = to + 1;
      w.sink.events(batch, to);
    }
  }

  /** Reads so many revisions of the log for watchers that are behind; true when none is left. */
  step(revisions: number): boolean {
    let budget = revisions;
    for (const w of this.#unsynced) {
      if (w.paused) continue;
      if (budget <= 0) return false;
      if (w.next < this.#mvcc.compactRevision) {
        this.remove(w);
        w.sink.compacted(this.#mvcc.compactRevision);
        continue;
      }
      const from = Math.max(w.next, this.#mvcc.log.first);
      const to = Math.min(this.#published, from + budget - 1);
      const batch: Event[] = [];
      this.#mvcc.events(from, to, w.span, (event) => {
        if (w.wants(event)) batch.push(event);
      });
      budget -= Math.max(1, to - from + 1);
      // One that starts in the future and was paused stays in the future.
      w.next = Math.max(w.next, to + 1);
      const synced = to >= this.#published;
      if (synced) {
        this.#unsynced.delete(w);
        this.#sync(w);
      }
      if (batch.length > 0) w.sink.events(batch, to);
      if (synced) w.sink.caughtUp?.();
    }
    return !this.behind;
  }

  #sync(watcher: Watcher): void {
    watcher.synced = true;
    const { span } = watcher;
    let group = span.single ? this.#byKey.get(span.start) : this.#byRange.get(span);
    if (!group) {
      group = new Group();
      if (span.single) this.#byKey.set(span.start, group);
      else this.#byRange.add(span, group);
    }
    group.watchers.add(watcher);
  }

  #unsync(watcher: Watcher): void {
    watcher.synced = false;
    // What it has not been told since it was synced begins here, or with the batch in hand.
    watcher.next = Math.max(watcher.next, watcher.batch?.[0]?.kv.modRevision ?? this.#published + 1);
    watcher.batch = undefined;
    const { span } = watcher;
    const group = span.single ? this.#byKey.get(span.start) : this.#byRange.get(span);
    group?.watchers.delete(watcher);
    if (!group || group.watchers.size > 0) return;
    if (span.single) this.#byKey.delete(span.start);
    else this.#byRange.delete(span);
  }
}
