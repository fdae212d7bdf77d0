// Reads and writes of the store, and the watch cache over all of it: one range
// and one watch on the whole prefix feed every collection's bucket.
import type { KubeObject } from "../../api/object.ts";
import { type Compare, type KeyValue, type Op, type StoreClient, StoreError, type Watch, type WatchEvent } from "../../client/etcd.ts";
import { logger } from "../../platform/log.ts";
import { Bucket, type Index } from "./bucket.ts";
import { Codec, type ProtobufForm, type StorageMediaType } from "./codec.ts";
import { Entry } from "./entry.ts";
import { fromStore, Overtaken } from "./errors.ts";
import { Freshness } from "./freshness.ts";
import { checkStore } from "./health.ts";
import { Leases } from "./leases.ts";
import { prefixEnd, visitAll } from "./prefix.ts";

const log = logger("kube-apiserver");

export interface StorageOptions {
  /** What new values are written in; JSON by default. */
  mediaType?: StorageMediaType;
  /** Seconds for which objects that expire share a lease; 60. */
  leaseReuse?: number;
}

/** What the store checks and writes together with an object, or not at all. */
export interface Along {
  readonly compare: readonly Compare[];
  readonly ops: readonly Op[];
}

const alone: Along = { compare: [], ops: [] };

/** Which part of a collection a read is about; all of it where neither is there. */
export interface Scope {
  namespace?: string;
  key?: string;
}

/** What a write makes of the current state: the next one, or nothing. */
export type Change = { put: KubeObject; ttl?: number; along?: Along } | { delete: true; along?: Along } | { keep: true };

export class Storage {
  readonly client: StoreClient;
  readonly #prefix: string;
  readonly #codec: Codec;
  readonly #buckets = new Map<string, Bucket>();
  readonly #freshness: Freshness;
  #watch: Watch | undefined;
  #stopped = false;
  #ready = false;
  readonly #progress = new Set<(revision: number) => void>();
  readonly #resets = new Set<() => void>();
  readonly #leases: Leases;
  #delay = 100;

  constructor(client: StoreClient, prefix: string, protobuf: ProtobufForm, options: StorageOptions = {}) {
    this.client = client;
    this.#prefix = `/${prefix.replace(/^\/+|\/+$/g, "")}/`;
    this.#codec = new Codec(protobuf, options.mediaType ?? "application/json");
    this.#leases = new Leases((ttl) => this.#call(this.client.leaseGrant(ttl)), options.leaseReuse);
    const watch = () => this.#watch;
    this.#freshness = new Freshness(
      {
        range: (key, o) => this.#call(this.client.range(key, o)),
        askProgress: () => watch()?.requestProgress(),
        get progressAtOnce() {
          return watch()?.progressAtOnce ?? true;
        },
      },
      { key: Buffer.from(this.#prefix) },
    );
  }

  /** Adds a collection; before start(), or later for one that is known to be empty. */
  addBucket(prefix: string, indexes?: Record<string, Index>): Bucket {
    let bucket = this.#buckets.get(prefix);
    if (!bucket) {
      bucket = new Bucket(prefix, indexes);
      if (this.#ready) bucket.reset([], this.revision);
      this.#buckets.set(prefix, bucket);
    }
    return bucket;
  }

  /** The cache has seen every change up to this revision. */
  get revision(): number {
    return this.#freshness.revision;
  }

  get ready(): boolean {
    return this.#ready;
  }

  /** Loads everything and follows it from there. */
  async start(): Promise<void> {
    await this.#load();
    this.#follow();
    this.#ready = true;
  }

  stop(): void {
    this.#stopped = true;
    this.#watch?.cancel();
    this.#freshness.end();
    for (const reset of this.#resets) reset();
  }

  /** Called after each batch of changes with the cache's revision. */
  onProgress(listener: (revision: number) => void): () => void {
    this.#progress.add(listener);
    return () => this.#progress.delete(listener);
  }

  /** Called when history was lost, and every watch has to start anew. */
  onReset(listener: () => void): () => void {
    this.#resets.add(listener);
    return () => this.#resets.delete(listener);
  }

  key(bucket: Bucket, key: string): Uint8Array {
    return Buffer.from(`${this.#prefix}${bucket.prefix}/${key}`);
  }

  async #load(): Promise<void> {
    const found = new Map<Bucket, Entry[]>();
    const revision = await visitAll(this.client, this.#prefix, (kv) => {
      const at = this.#locate(kv.key);
      if (!at) return;
      let list = found.get(at.bucket);
      if (!list) {
        list = [];
        found.set(at.bucket, list);
      }
      list.push(new Entry(at.key, kv.modRevision, this.#codec.decode(kv)));
    });
    for (const bucket of this.#buckets.values()) bucket.reset(found.get(bucket) ?? [], revision);
    this.#advance(revision);
  }

  #locate(storeKey: Uint8Array): { bucket: Bucket; key: string } | undefined {
    const path = Buffer.from(storeKey.buffer, storeKey.byteOffset, storeKey.byteLength).toString("utf8", this.#prefix.length);
    const first = path.indexOf("/");
    if (first < 0) return undefined;
    let bucket = this.#buckets.get(path.slice(0, first));
    if (bucket) return { bucket, key: path.slice(first + 1) };
    const second = path.indexOf("/", first + 1);
    bucket = second < 0 ? undefined : this.#buckets.get(path.slice(0, second));
    return bucket && { bucket, key: path.slice(second + 1) };
  }

  #follow(): void {
    if (this.#stopped) return;
    this.#watch = this.client.watch(
      Buffer.from(this.#prefix),
      { end: prefixEnd(this.#prefix), startRevision: this.revision + 1, progressNotify: true },
      {
        created: () => {
          this.#delay = 100;
        },
        events: (events, revision) => this.#apply(events, revision),
        progress: (revision) => this.#advance(revision),
        closed: (reason) => this.#lost(reason),
      },
    );
  }

  #apply(events: WatchEvent[], revision: number): void {
    const now = performance.now();
    for (const event of events) {
      const at = this.#locate(event.kv.key);
      if (!at) continue;
      try {
        at.bucket.apply(at.key, event.kv.modRevision, event.type === "put" ? this.#codec.decode(event.kv) : undefined, now);
      } catch (error) {
        log.error("An object in the store can't be read", error, { key: Buffer.from(event.kv.key).toString() });
      }
    }
    this.#advance(revision);
  }

  #advance(revision: number): void {
    if (revision <= this.revision) return;
    this.#freshness.advance(revision);
    for (const listener of this.#progress) listener(revision);
  }

  #lost(reason: { error?: Error; compacted?: number }): void {
    if (this.#stopped) return;
    log.warn("The watch on the store ended; starting it again", { compacted: reason.compacted, err: reason.error });
    const delay = this.#delay;
    this.#delay = Math.min(this.#delay * 2, 10_000);
    setTimeout(() => void this.#resume(reason.compacted !== undefined), delay * (0.5 + Math.random()));
  }

  async #resume(reload: boolean): Promise<void> {
    if (this.#stopped) return;
    if (reload) {
      try {
        this.#freshness.reset();
        await this.#load();
      } catch (error) {
        this.#lost({ compacted: 0, error: error as Error });
        return;
      }
      for (const reset of this.#resets) reset();
    }
    this.#follow();
  }

  /** Waits until the cache has seen a revision. Throws 504 as upstream where that takes too long. */
  until(revision: number): Promise<void> {
    return this.#freshness.until(revision);
  }

  /** Waits until the cache holds all that was acknowledged before this call. */
  whole(): Promise<void> {
    return this.#freshness.whole();
  }

  /**
   * Reads from the cache once that holds all of a collection, or of one
   * namespace or one key of it, that was acknowledged before this call. `read`
   * takes what it wants without waiting; for `direct` see Freshness.
   */
  fresh<T>(bucket: Bucket, scope: Scope, read: () => T, direct?: () => Promise<T>): Promise<T> {
    const { namespace, key } = scope;
    if (key !== undefined) {
      const at = this.key(bucket, key);
      return this.#freshness.fresh({ key: at, end: Buffer.concat([at, Buffer.of(0)]), size: () => (bucket.get(key) ? 1 : 0) }, read);
    }
    const start = `${this.#prefix}${bucket.prefix}/${namespace === undefined ? "" : `${namespace}/`}`;
    const size = () => (namespace === undefined ? bucket.size : bucket.count("namespace", namespace));
    return this.#freshness.fresh({ key: Buffer.from(start), end: prefixEnd(start), size }, read, direct);
  }

  /**
   * Whether the store answers within so many milliseconds.
   * @returns what is wrong, or undefined
   */
  check(timeout: number): Promise<string | undefined> {
    return checkStore(this.client, this.#prefix, timeout);
  }

  /** The newest state of a key, as the store knows it. */
  async get(bucket: Bucket, key: string): Promise<Entry | undefined> {
    const { kvs } = await this.#call(this.client.range(this.key(bucket, key)));
    return kvs[0] && this.#entry(bucket, key, kvs[0]);
  }

  #entry(bucket: Bucket, key: string, kv: KeyValue): Entry {
    const cached = bucket.get(key);
    return cached?.revision === kv.modRevision ? cached : new Entry(key, kv.modRevision, this.#codec.decode(kv));
  }

  /** Part of a collection as it was at a revision, ordered by key. `from` is the first key, inclusive. */
  async rangeAt(bucket: Bucket, below: string, from: string, revision: number, limit: number) {
    const start = `${this.#prefix}${bucket.prefix}/`;
    const result = await this.#call(
      this.client.range(Buffer.from(start + from), { end: prefixEnd(start + below), revision, ...(limit ? { limit } : {}) }),
    );
    const entries = result.kvs.map((kv) => this.#entry(bucket, Buffer.from(kv.key).toString("utf8", start.length), kv));
    return { entries, count: result.count, more: result.more, revision: result.revision };
  }

  /** A write for another's transaction: of a key that is still as it was at a revision, 0 for absent. Without an object it deletes. */
  along(bucket: Bucket, key: string, revision: number, object: KubeObject | undefined): Along {
    const at = this.key(bucket, key);
    return {
      compare: [{ key: at, target: "modRevision", op: "=", value: revision }],
      ops: [object ? { type: "put", key: at, value: this.#codec.encode(object) } : { type: "delete", key: at }],
    };
  }

  /** Stores a new object. Returns undefined where the key is taken; throws Overtaken where what goes along can't be written. */
  async create(bucket: Bucket, key: string, object: KubeObject, ttl?: number, along = alone): Promise<Entry | undefined> {
    const storeKey = this.key(bucket, key);
    const value = this.#codec.encode(object);
    const lease = ttl ? await this.#leases.of(ttl) : undefined;
    const result = await this.#call(
      this.client.txn(
        [{ key: storeKey, target: "modRevision", op: "=", value: 0 }, ...along.compare],
        [{ type: "put", key: storeKey, value, ...(lease ? { lease } : {}) }, ...along.ops],
        along === alone ? [] : [{ type: "range", key: storeKey, countOnly: true }],
      ),
    );
    const [there] = result.results;
    if (!result.succeeded && there?.type === "range" && there.count === 0) throw new Overtaken();
    if (!result.succeeded) return undefined;
    await this.#seen(result.revision);
    return new Entry(key, result.revision, this.#codec.decode({ value, modRevision: result.revision }));
  }

  /** Stores many new objects in as few transactions as the store takes; those that exist are left alone. */
  async createAll(objects: { bucket: Bucket; key: string; object: KubeObject }[]): Promise<void> {
    // etcd takes 128 operations in a transaction unless told otherwise.
    for (let i = 0; i < objects.length; i += 100) {
      const part = objects.slice(i, i + 100);
      const puts = part.map((o): Op => ({ type: "put", key: this.key(o.bucket, o.key), value: this.#codec.encode(o.object) }));
      const free = part.map((o): Compare => ({ key: this.key(o.bucket, o.key), target: "modRevision", op: "=", value: 0 }));
      const result = await this.#call(this.client.txn(free, puts));
      if (result.succeeded) {
        await this.#seen(result.revision);
        continue;
      }
      for (const o of part) await this.create(o.bucket, o.key, o.object);
    }
  }

  /**
   * Reads, changes and writes a key until no other writer comes between.
   * `change` may be called several times; it gets undefined where the key is
   * absent, and what it throws ends the update. The first attempt starts from
   * the cache, so a refusal is final only on the store's own state.
   */
  async update(
    bucket: Bucket,
    key: string,
    change: (current: Entry | undefined) => Change | Promise<Change>,
  ): Promise<{ entry: Entry | undefined; changed: boolean; deleted: boolean }> {
    const storeKey = this.key(bucket, key);
    let current = bucket.get(key);
    let certain = false;
    if (!current) {
      current = await this.get(bucket, key);
      certain = true;
    }
    for (;;) {
      let next: Change;
      try {
        next = await change(current);
      } catch (error) {
        if (certain) throw error;
        const latest = await this.get(bucket, key);
        certain = true;
        if (latest?.revision === current?.revision) throw error;
        current = latest;
        continue;
      }
      if ("keep" in next) {
        if (certain) return { entry: current, changed: false, deleted: false };
        const latest = await this.get(bucket, key);
        certain = true;
        if (latest?.revision === current?.revision) return { entry: current, changed: false, deleted: false };
        current = latest;
        continue;
      }
      if ("delete" in next && !current) return { entry: undefined, changed: false, deleted: false };
      const value = "put" in next ? this.#codec.encode(next.put) : undefined;
      const lease = "put" in next && next.ttl ? await this.#leases.of(next.ttl) : undefined;
      const { along = alone } = next;
      const op: Op = value ? { type: "put", key: storeKey, value, ...(lease ? { lease } : {}) } : { type: "delete", key: storeKey };
      const result = await this.#call(
        this.client.txn(
          [{ key: storeKey, target: "modRevision", op: "=", value: current?.revision ?? 0 }, ...along.compare],
          [op, ...along.ops],
          [{ type: "range", key: storeKey }],
        ),
      );
      if (result.succeeded) {
        await this.#seen(result.revision);
        if (value) {
          const object = this.#codec.decode({ value, modRevision: result.revision });
          return { entry: new Entry(key, result.revision, object), changed: true, deleted: false };
        }
        const last = { ...current!.object, metadata: { ...current!.object.metadata, resourceVersion: String(result.revision) } };
        return { entry: new Entry(key, result.revision, Object.freeze(last)), changed: true, deleted: true };
      }
      const read = result.results[0];
      const kv = read?.type === "range" ? read.kvs[0] : undefined;
      // The key is as it was, so it is what goes along that is not: the cache has to know before the next attempt.
      if (along !== alone && kv?.modRevision === current?.revision) await this.whole();
      current = kv && this.#entry(bucket, key, kv);
      certain = true;
    }
  }

  /**
   * A write is answered once the cache has it, so that admission and
   * authorization, which ask the cache, know of it when the next request comes.
   * A store whose watch is broken for the moment does not undo the write.
   */
  async #seen(revision: number): Promise<void> {
    if (this.revision < revision && this.#ready && !this.#stopped) await this.#freshness.seen(revision).catch(() => {});
  }

  /** Turns the store's errors into those of the API. */
  async #call<T>(work: Promise<T>): Promise<T> {
    try {
      return await work;
    } catch (error) {
      // It ran out, or belonged to a store that was restored: the next object gets another.
      if (error instanceof StoreError && error.reason === "lease-not-found") this.#leases.forget();
      throw fromStore(error);
    }
  }
}
