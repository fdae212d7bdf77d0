// One collection's part of the watch cache: the current objects, indexed, and
// the recent changes from which a watch can start. No I/O and no clock of its
// own: it is fed with changes in the order of their revisions.
import { type Change, Entry } from "./entry.ts";

/** Changes younger than this stay, so that a client that lost its connection can go on. */
const keepMilliseconds = 75_000;
const keepAtLeast = 100;
const keepAtMost = 50_000;

export type Index = (entry: Entry) => string | undefined;

/** Called with each change of a collection. */
export type Listener = (change: Change) => void;

interface Subscription {
  readonly index: string;
  readonly value: string;
}

const everything = "";

export class Bucket {
  readonly prefix: string;
  readonly #entries = new Map<string, Entry>();
  /** Keys in order; undefined until somebody lists. */
  #sorted: string[] | undefined;
  readonly #indexes: ReadonlyMap<string, Index>;
  /** index name -> value -> key -> entry. */
  readonly #indexed = new Map<string, Map<string, Map<string, Entry>>>();
  readonly #listeners = new Map<string, Map<string, Set<Listener>>>();
  #ring: Change[] = [];
  #head = 0;
  /** Every change after this revision is in the ring. */
  #since = 0;
  #generation = 0;

  /** `indexes` name what lists and watches can be narrowed by, besides "namespace" and "name". */
  constructor(prefix: string, indexes: Record<string, Index> = {}) {
    this.prefix = prefix;
    this.#indexes = new Map(
      Object.entries({
        namespace: (e: Entry) => e.object.metadata.namespace ?? "",
        ...indexes,
      }),
    );
    for (const name of this.#indexes.keys()) this.#indexed.set(name, new Map());
  }

  get size(): number {
    return this.#entries.size;
  }

  /** Another number after any change: what was computed from the entries is of no use any more. */
  get generation(): number {
    return this.#generation;
  }

  get(key: string): Entry | undefined {
    return this.#entries.get(key);
  }

  hasIndex(name: string): boolean {
    return name === "name" || this.#indexes.has(name);
  }

  /** All entries, ordered by key. */
  all(): Entry[] {
    this.#sorted ??= [...this.#entries.keys()].sort();
    return this.#sorted.map((k) => this.#entries.get(k)!);
  }

  /** The entries where an index has a value, ordered by key. */
  by(index: string, value: string): Entry[] {
    const found = this.#indexed.get(index)?.get(value);
    return found ? [...found.values()].sort((a, b) => (a.key < b.key ? -1 : 1)) : [];
  }

  /** How many entries there are where an index has a value. */
  count(index: string, value: string): number {
    return this.#indexed.get(index)?.get(value)?.size ?? 0;
  }

  /** Takes over what the store held at a revision; history starts after it. */
  reset(entries: Iterable<Entry>, revision: number): void {
    this.#generation++;
    this.#entries.clear();
    for (const m of this.#indexed.values()) m.clear();
    this.#sorted = undefined;
    this.#ring = [];
    this.#head = 0;
    this.#since = revision;
    for (const e of entries) this.#put(e, undefined);
  }

  /** Puts or, without an object, deletes a key; tells every listener that it concerns. */
  apply(key: string, revision: number, object: Entry["object"] | undefined, at: number): Change | undefined {
    const before = this.#entries.get(key);
    let change: Change;
    if (object) {
      const entry = new Entry(key, revision, object);
      this.#put(entry, before);
      change = { revision, type: before ? "MODIFIED" : "ADDED", entry, before, at };
    } else {
      if (!before) return undefined;
      this.#remove(before);
      const last = { ...before.object, metadata: Object.freeze({ ...before.object.metadata, resourceVersion: String(revision) }) };
      change = { revision, type: "DELETED", entry: new Entry(key, revision, Object.freeze(last)), before, at };
    }
    this.#record(change);
    this.#tell(change);
    return change;
  }

  /** The oldest revision that a watch can start from. */
  get since(): number {
    return this.#since;
  }

  /** Changes after a revision, or undefined where some of them are forgotten. */
  after(revision: number): Change[] | undefined {
    if (revision < this.#since) return undefined;
    let low = this.#head;
    let high = this.#ring.length;
    while (low < high) {
      const mid = (low + high) >> 1;
      if (this.#ring[mid]!.revision <= revision) low = mid + 1;
      else high = mid;
    }
    return this.#ring.slice(low);
  }

  /** Hears changes; narrowed by an index, only those where it has or had the value. Returns what ends it. */
  listen(listener: Listener, narrow: Subscription = { index: everything, value: "" }): () => void {
    let values = this.#listeners.get(narrow.index);
    if (!values) {
      values = new Map();
      this.#listeners.set(narrow.index, values);
    }
    let set = values.get(narrow.value);
    if (!set) {
      set = new Set();
      values.set(narrow.value, set);
    }
    set.add(listener);
    return () => {
      set.delete(listener);
      if (set.size === 0 && values.get(narrow.value) === set) values.delete(narrow.value);
    };
  }

  #put(entry: Entry, before: Entry | undefined): void {
    this.#generation++;
    this.#entries.set(entry.key, entry);
    if (!before && this.#sorted) insert(this.#sorted, entry.key);
    for (const [name, index] of this.#indexes) {
      const maps = this.#indexed.get(name)!;
      const value = index(entry);
      const old = before && index(before);
      if (old !== undefined && old !== value) drop(maps, old, entry.key);
      if (value === undefined) continue;
      let map = maps.get(value);
      if (!map) {
        map = new Map();
        maps.set(value, map);
      }
      map.set(entry.key, entry);
    }
  }

  #remove(entry: Entry): void {
    this.#generation++;
    this.#entries.delete(entry.key);
    if (this.#sorted) this.#sorted.splice(position(this.#sorted, entry.key), 1);
    for (const [name, index] of this.#indexes) {
      const value = index(entry);
      if (value !== undefined) drop(this.#indexed.get(name)!, value, entry.key);
    }
  }

  #record(change: Change): void {
    this.#ring.push(change);
    let head = this.#head;
    while (
      this.#ring.length - head > keepAtLeast &&
      (change.at - this.#ring[head]!.at > keepMilliseconds || this.#ring.length - head > keepAtMost)
    ) {
      this.#since = this.#ring[head]!.revision;
      head++;
    }
    if (head > 1024 && head * 2 > this.#ring.length) {
      this.#ring = this.#ring.slice(head);
      head = 0;
    }
    this.#head = head;
  }

  #tell(change: Change): void {
    for (const [name, values] of this.#listeners) {
      if (values.size === 0) continue;
      if (name === everything) {
        for (const listener of values.get("") ?? []) listener(change);
        continue;
      }
      const now = name === "name" ? change.entry.object.metadata.name : this.#indexes.get(name)?.(change.entry);
      const was = change.before && name !== "name" ? this.#indexes.get(name)?.(change.before) : now;
      for (const listener of (now !== undefined && values.get(now)) || []) listener(change);
      if (was !== now) for (const listener of (was !== undefined && values.get(was)) || []) listener(change);
    }
  }
}

function drop(maps: Map<string, Map<string, Entry>>, value: string, key: string): void {
  const map = maps.get(value);
  map?.delete(key);
  if (map?.size === 0) maps.delete(value);
}

function position(sorted: string[], key: string): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const mid = (low + high) >> 1;
    if (sorted[mid]! < key) low = mid + 1;
    else high = mid;
  }
  return low;
}

function insert(sorted: string[], key: string): void {
  if (sorted.length === 0 || sorted.at(-1)! < key) sorted.push(key);
  else sorted.splice(position(sorted, key), 0, key);
}
