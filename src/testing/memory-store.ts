// The etcd data model in memory, for tests of what stands on a store. It keeps
// every revision, forgets all at the end of the process, and delivers watch
// events in a task of their own, as a store across a wire would.
import {
  type Compare,
  type KeyValue,
  type Op,
  type OpResult,
  type RangeOptions,
  type RangeResult,
  type StoreClient,
  StoreError,
  type TxnResult,
  type Watch,
  type WatchEvent,
  type WatchHandler,
  type WatchOptions,
} from "../client/etcd.ts";

interface Version {
  kv: KeyValue;
  deleted: boolean;
}

interface Watcher {
  from: string;
  end: string | undefined;
  next: number;
  handler: WatchHandler;
  options: WatchOptions;
}

const text = (b: Uint8Array) => Buffer.from(b.buffer, b.byteOffset, b.byteLength).toString("latin1");
const inside = (key: string, from: string, end: string | undefined) =>
  end === undefined ? key === from : key >= from && (end === "\0" || key < end);

export class MemoryStore implements StoreClient {
  #revision = 1;
  #compacted = 0;
  #keys = new Map<string, Version[]>();
  #log: { revision: number; events: WatchEvent[] }[] = [];
  #watchers = new Set<Watcher>();
  #leases = new Map<bigint, { ttl: number; timer: ReturnType<typeof setTimeout>; keys: Set<string> }>();
  #nextLease = 1n;

  async range(key: Uint8Array, options: RangeOptions = {}): Promise<RangeResult> {
    return this.#range(key, options);
  }

  #range(key: Uint8Array, o: RangeOptions): RangeResult {
    const at = o.revision || this.#revision;
    if (at > this.#revision) throw new StoreError("future-revision", "etcdserver: mvcc: required revision is a future revision");
    if (at < this.#compacted) throw new StoreError("compacted", "etcdserver: mvcc: required revision has been compacted");
    const from = text(key);
    const end = o.end && text(o.end);
    const all: KeyValue[] = [];
    const keys = end === undefined ? [from] : [...this.#keys.keys()].filter((k) => inside(k, from, end)).sort();
    for (const k of keys) {
      const v = this.#keys.get(k)?.findLast((x) => x.kv.modRevision <= at);
      if (v && !v.deleted) all.push(o.keysOnly ? { ...v.kv, value: new Uint8Array() } : v.kv);
    }
    const wanted = all.filter((kv) => kv.modRevision >= (o.minModRevision ?? 0));
    const kvs = o.countOnly ? [] : o.limit ? wanted.slice(0, o.limit) : wanted;
    return { revision: this.#revision, kvs, count: all.length, more: !o.countOnly && kvs.length < wanted.length };
  }

  async txn(compare: Compare[], success: Op[], failure: Op[] = []): Promise<TxnResult> {
    const succeeded = compare.every((c) => this.#holds(c));
    const ops = succeeded ? success : failure;
    const revision = this.#revision + 1;
    const events: WatchEvent[] = [];
    const results = ops.map((op): OpResult => {
      if (op.type === "range") return { type: "range", ...this.#range(op.key, op) };
      if (op.type === "put") {
        const before = this.#current(text(op.key));
        const kv: KeyValue = {
          key: op.key,
          value: op.value,
          createRevision: before?.createRevision ?? revision,
          modRevision: revision,
          version: (before?.version ?? 0) + 1,
          lease: op.lease ?? 0n,
        };
        if (kv.lease) {
          const lease = this.#leases.get(kv.lease);
          if (!lease) throw new StoreError("lease-not-found", "etcdserver: requested lease not found");
          lease.keys.add(text(op.key));
        }
        this.#write(text(op.key), { kv, deleted: false });
        events.push({ type: "put", kv, prevKv: before });
        return { type: "put", prevKv: op.prevKv ? before : undefined };
      }
      const found = this.#range(op.key, { end: op.end }).kvs;
      for (const before of found) {
        const kv = { ...before, value: new Uint8Array(), modRevision: revision, createRevision: 0, version: 0, lease: 0n };
        this.#write(text(before.key), { kv, deleted: true });
        events.push({ type: "delete", kv, prevKv: before });
      }
      return { type: "delete", deleted: found.length, prevKvs: op.prevKv ? found : [] };
    });
    if (events.length) {
      this.#revision = revision;
      this.#log.push({ revision, events });
      queueMicrotask(() => this.#deliver());
    }
    return { revision: this.#revision, succeeded, results };
  }

  #write(key: string, v: Version) {
    const list = this.#keys.get(key);
    if (list) list.push(v);
    else this.#keys.set(key, [v]);
  }

  #current(key: string): KeyValue | undefined {
    const v = this.#keys.get(key)?.at(-1);
    return v && !v.deleted ? v.kv : undefined;
  }

  #holds(c: Compare): boolean {
    const kv = this.#current(text(c.key));
    if (c.target === "value") {
      const order = kv ? Buffer.compare(kv.value, c.value) : -1;
      return c.op === "=" ? !!kv && order === 0 : c.op === "!=" ? order !== 0 : c.op === ">" ? order > 0 : order < 0;
    }
    const have = Number(kv?.[c.target] ?? 0);
    const want = Number(c.value);
    return c.op === "=" ? have === want : c.op === "!=" ? have !== want : c.op === ">" ? have > want : have < want;
  }

  watch(key: Uint8Array, options: WatchOptions, handler: WatchHandler): Watch {
    const w: Watcher = {
      from: text(key),
      end: options.end && text(options.end),
      next: options.startRevision || this.#revision + 1,
      handler,
      options,
    };
    queueMicrotask(() => {
      if (w.next < this.#compacted) return handler.closed({ compacted: this.#compacted });
      this.#watchers.add(w);
      handler.created?.(this.#revision);
      this.#deliver();
    });
    return {
      progressAtOnce: true,
      requestProgress: () =>
        queueMicrotask(() => {
          this.#deliver();
          if (this.#watchers.has(w)) handler.progress?.(this.#revision);
        }),
      cancel: () => {
        if (this.#watchers.delete(w)) handler.closed({});
      },
    };
  }

  #deliver() {
    for (const w of this.#watchers) {
      if (w.next > this.#revision) continue;
      const first = this.#log.findIndex((l) => l.revision >= w.next);
      w.next = this.#revision + 1;
      if (first < 0) continue;
      const events = this.#log.slice(first).flatMap((l) => l.events.filter((e) => inside(text(e.kv.key), w.from, w.end)));
      if (!events.length) continue;
      w.handler.events(w.options.prevKv ? events : events.map(({ type, kv }) => ({ type, kv })), this.#revision);
    }
  }

  async leaseGrant(ttl: number, id?: bigint) {
    const lease = id || this.#nextLease++;
    this.#leases.set(lease, { ttl, keys: new Set(), timer: this.#expiry(lease, ttl) });
    return { id: lease, ttl };
  }

  #expiry(id: bigint, ttl: number) {
    const timer = setTimeout(() => void this.leaseRevoke(id), ttl * 1000);
    timer.unref();
    return timer;
  }

  async leaseKeepAlive(id: bigint) {
    const lease = this.#leases.get(id);
    if (!lease) return { ttl: 0 };
    clearTimeout(lease.timer);
    lease.timer = this.#expiry(id, lease.ttl);
    return { ttl: lease.ttl };
  }

  async leaseRevoke(id: bigint) {
    const lease = this.#leases.get(id);
    if (!lease) throw new StoreError("lease-not-found", "etcdserver: requested lease not found");
    clearTimeout(lease.timer);
    this.#leases.delete(id);
    await this.txn(
      [],
      [...lease.keys].map((k) => ({ type: "delete", key: Buffer.from(k, "latin1") })),
    );
  }

  async compact(revision: number) {
    this.#compacted = revision;
    this.#log = this.#log.filter((l) => l.revision >= revision);
  }

  async status() {
    return { revision: this.#revision, dbSize: 0, version: "3.6.0", errors: [] };
  }

  async close() {
    for (const l of this.#leases.values()) clearTimeout(l.timer);
    for (const w of this.#watchers) w.handler.closed({});
    this.#watchers.clear();
  }
}
