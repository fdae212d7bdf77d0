// The ordered index: keys in sorted chunks, each key with its versions. Two
// levels are enough: a million keys are some 6 000 chunks.
import type { Span } from "./key.ts";
import type { Version } from "./types.ts";

/** A key's history. */
export class KeyRecord {
  latest: Version;
  /** Versions before the latest that are not compacted away, oldest first. */
  older: Version[] | undefined;
  constructor(latest: Version) {
    this.latest = latest;
  }

  /** Makes a version the latest. */
  push(version: Version): void {
    if (this.older) this.older.push(this.latest);
    else this.older = [this.latest];
    this.latest = version;
  }

  /** The version that held at a revision; a deletion counts as none. */
  at(revision: number): Version | undefined {
    let found: Version | undefined = this.latest;
    if (found.modRevision > revision) {
      found = undefined;
      const older = this.older;
      for (let i = (older?.length ?? 0) - 1; i >= 0; i--) {
        if (older![i]!.modRevision <= revision) {
          found = older![i];
          break;
        }
      }
    }
    return found === undefined || found.version === 0 ? undefined : found;
  }
}

const MOST = 256;

interface Chunk {
  keys: string[];
  records: KeyRecord[];
  /** How many of them exist now. */
  live: number;
}

/** First position in a sorted array whose key is not below `key`. */
function lowerBound(keys: readonly string[], key: string): number {
  let low = 0;
  let high = keys.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (keys[middle]! < key) low = middle + 1;
    else high = middle;
  }
  return low;
}

export class Keyspace {
  readonly #chunks: Chunk[] = [];
  #size = 0;
  #live = 0;

  /** Keys that exist now. */
  get live(): number {
    return this.#live;
  }

  /** Keys with any version left, deleted ones included. */
  get size(): number {
    return this.#size;
  }

  find(key: string): KeyRecord | undefined {
    const chunk = this.#chunks[this.#chunkFor(key)];
    if (!chunk) return undefined;
    const at = lowerBound(chunk.keys, key);
    return chunk.keys[at] === key ? chunk.records[at] : undefined;
  }

  /** Makes `version` the latest of its key; returns the one before it. */
  set(key: string, version: Version): Version | undefined {
    const c = this.#chunkFor(key);
    const chunk = this.#chunks[c];
    if (!chunk) {
      this.#chunks.push({ keys: [key], records: [new KeyRecord(version)], live: 0 });
      this.#size++;
      this.#count(this.#chunks[0]!, undefined, version);
      return undefined;
    }
    const at = lowerBound(chunk.keys, key);
    if (chunk.keys[at] === key) {
      const record = chunk.records[at]!;
      const before = record.latest;
      record.push(version);
      this.#count(chunk, before, version);
      return before;
    }
    chunk.keys.splice(at, 0, key);
    chunk.records.splice(at, 0, new KeyRecord(version));
    this.#size++;
    this.#count(chunk, undefined, version);
    if (chunk.keys.length > MOST) this.#split(c);
    return undefined;
  }

  /** Adds a key above all others. */
  append(key: string, version: Version): void {
    let chunk = this.#chunks.at(-1);
    if (!chunk || chunk.keys.length >= MOST - 32) {
      chunk = { keys: [], records: [], live: 0 };
      this.#chunks.push(chunk);
    }
    chunk.keys.push(key);
    chunk.records.push(new KeyRecord(version));
    this.#size++;
    this.#count(chunk, undefined, version);
  }

  /** Forgets a key whose latest version is a deletion. */
  remove(key: string): void {
    const c = this.#chunkFor(key);
    const chunk = this.#chunks[c];
    if (!chunk) return;
    const at = lowerBound(chunk.keys, key);
    if (chunk.keys[at] !== key) return;
    this.#count(chunk, chunk.records[at]!.latest, undefined);
    chunk.keys.splice(at, 1);
    chunk.records.splice(at, 1);
    this.#size--;
    if (chunk.keys.length === 0) this.#chunks.splice(c, 1);
  }

  /** Visits the keys of a span in order, until `visit` answers false. */
  scan(span: Span, visit: (record: KeyRecord, key: string) => boolean | void): void {
    const { start, end } = span;
    let c = this.#chunkFor(start);
    let at = c < this.#chunks.length ? lowerBound(this.#chunks[c]!.keys, start) : 0;
    for (; c < this.#chunks.length; c++, at = 0) {
      const { keys, records } = this.#chunks[c]!;
      for (; at < keys.length; at++) {
        const key = keys[at]!;
        if (end !== undefined && key >= end) return;
        if (visit(records[at]!, key) === false) return;
      }
    }
  }

  /** How many keys of a span exist now, by whole chunks where it can. */
  count(span: Span): number {
    const { start, end } = span;
    let c = this.#chunkFor(start);
    let total = 0;
    for (; c < this.#chunks.length; c++) {
      const { keys, records, live } = this.#chunks[c]!;
      if (end !== undefined && keys[0]! >= end) break;
      if (keys[0]! >= start && (end === undefined || keys.at(-1)! < end)) {
        total += live;
        continue;
      }
      const to = end === undefined ? keys.length : lowerBound(keys, end);
      for (let i = lowerBound(keys, start); i < to; i++) if (records[i]!.latest.version !== 0) total++;
    }
    return total;
  }

  #count(chunk: Chunk, before: Version | undefined, after: Version | undefined): void {
    const change = (after && after.version !== 0 ? 1 : 0) - (before && before.version !== 0 ? 1 : 0);
    chunk.live += change;
    this.#live += change;
  }

  /** The last chunk that starts at or below the key; the first if none does. */
  #chunkFor(key: string): number {
    let low = 0;
    let high = this.#chunks.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#chunks[middle]!.keys[0]! <= key) low = middle + 1;
      else high = middle;
    }
    return low === 0 ? 0 : low - 1;
  }

  #split(c: number): void {
    const chunk = this.#chunks[c]!;
    // Keys that only grow would leave half-empty chunks behind.
    const at = c === this.#chunks.length - 1 ? MOST - 16 : MOST >> 1;
    const upper: Chunk = { keys: chunk.keys.splice(at), records: chunk.records.splice(at), live: 0 };
    for (const r of upper.records) if (r.latest.version !== 0) upper.live++;
    chunk.live -= upper.live;
    this.#chunks.splice(c + 1, 0, upper);
  }
}
