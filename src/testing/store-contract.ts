// What every StoreClient must do, whatever is behind it: the same assertions
// run against the store in this process, over gRPC, and against a real etcd.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { type Compare, type StoreClient, StoreError, type WatchEvent, type WatchHandler, type WatchOptions } from "../client/etcd.ts";

export interface ContractStore {
  client: StoreClient;
  close(): Promise<void>;
}

const bytes = (s: string) => new TextEncoder().encode(s);
const text = (b: Uint8Array) => new TextDecoder().decode(b);
const after = (prefix: string) => {
  const b = bytes(prefix);
  b[b.length - 1]!++;
  return b;
};

/** A watch whose calls are collected, to wait on with a deadline. */
export class Collector implements WatchHandler {
  readonly seen: WatchEvent[] = [];
  readonly batches: { events: WatchEvent[]; revision: number }[] = [];
  createdAt: number | undefined;
  progressAt: number | undefined;
  end: { error?: Error; compacted?: number } | undefined;
  #changed: (() => void) | undefined;

  created(revision: number): void {
    this.createdAt = revision;
    this.#changed?.();
  }
  events(events: WatchEvent[], revision: number): void {
    this.seen.push(...events);
    this.batches.push({ events, revision });
    this.#changed?.();
  }
  progress(revision: number): void {
    this.progressAt = revision;
    this.#changed?.();
  }
  closed(reason: { error?: Error; compacted?: number }): void {
    this.end = reason;
    this.#changed?.();
  }

  async until(condition: (c: Collector) => boolean, milliseconds = 30_000): Promise<void> {
    const deadline = performance.now() + milliseconds;
    while (!condition(this)) {
      const left = deadline - performance.now();
      if (left <= 0)
        throw new Error(`still waiting after ${milliseconds} ms; seen ${JSON.stringify(this.lines())}, end ${this.end?.error}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left);
        this.#changed = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  lines(): string[] {
    return this.seen.map((e) => (e.type === "put" ? `put ${text(e.kv.key)}=${text(e.kv.value)}` : `delete ${text(e.kv.key)}`));
  }
}

/** Declares the suite; `open` runs once, `close` after the last test. */
export function storeContract(name: string, open: () => Promise<ContractStore>): void {
  describe(name, () => {
    let store: ContractStore;
    let c: StoreClient;
    let prefix = "";
    let n = 0;

    beforeAll(async () => {
      store = await open();
      c = store.client;
    });
    afterAll(async () => {
      await store?.close();
    });

    const contract = (title: string, run: () => Promise<void>) =>
      test(title, async () => {
        prefix = `/contract/${n++}/`;
        await run();
      });

    const k = (key: string) => bytes(prefix + key);
    const put = async (key: string, value: string, lease?: bigint) =>
      (await c.txn([], [{ type: "put", key: k(key), value: bytes(value), lease }])).revision;
    const remove = async (key: string) => (await c.txn([], [{ type: "delete", key: k(key) }])).revision;
    const all = (options = {}) => c.range(bytes(prefix), { end: after(prefix), ...options });
    const names = async (options = {}) => (await all(options)).kvs.map((kv) => `${text(kv.key).slice(prefix.length)}=${text(kv.value)}`);
    const watch = (options: WatchOptions = {}, collector = new Collector()) => {
      const handle = c.watch(bytes(prefix), { end: after(prefix), ...options }, collector);
      return Object.assign(collector, { handle });
    };
    const refusal = async (promise: Promise<unknown>): Promise<StoreError> => {
      const error = await promise.then(
        () => undefined,
        (e: unknown) => e,
      );
      expect(error).toBeInstanceOf(StoreError);
      return error as StoreError;
    };

    contract("a put gives a key its revisions, and a second one a new version", async () => {
      const first = await put("a", "1");
      const second = await put("a", "2");
      expect(second).toBe(first + 1);
      const { kvs, count, more, revision } = await c.range(k("a"));
      expect(kvs).toHaveLength(1);
      expect(kvs[0]).toMatchObject({ createRevision: first, modRevision: second, version: 2, lease: 0n });
      expect(text(kvs[0]!.value)).toBe("2");
      expect([count, more]).toEqual([1, false]);
      expect(revision).toBeGreaterThanOrEqual(second);
    });

    contract("a deleted key is gone, and begins again at version 1", async () => {
      await put("a", "1");
      await remove("a");
      expect(await names()).toEqual([]);
      const again = await put("a", "3");
      expect((await c.range(k("a"))).kvs[0]).toMatchObject({ createRevision: again, version: 1 });
    });

    contract("a range is in order of bytes, ends before its end, and is limited", async () => {
      for (const key of ["b", "a", "c", "ab"]) await put(key, key);
      expect(await names()).toEqual(["a=a", "ab=ab", "b=b", "c=c"]);
      const page = await all({ limit: 2 });
      expect([page.kvs.length, page.count, page.more]).toEqual([2, 4, true]);
      expect((await c.range(k("a"), { end: k("b") })).kvs).toHaveLength(2);
      const whole = await all({ limit: 4 });
      expect([whole.kvs.length, whole.more]).toEqual([4, false]);
    });

    contract("keysOnly leaves the values out and countOnly the pairs", async () => {
      for (const key of ["a", "b"]) await put(key, "value");
      const keys = await all({ keysOnly: true });
      expect(keys.kvs.map((kv) => kv.value.length)).toEqual([0, 0]);
      expect(keys.kvs[0]!.version).toBe(1);
      const count = await all({ countOnly: true });
      expect([count.kvs.length, count.count]).toEqual([0, 2]);
    });

    contract("minModRevision leaves out what has not changed since, and count has it all the same", async () => {
      await put("a", "1");
      const second = await put("b", "2");
      await put("c", "3");
      await remove("c");
      const { kvs, count } = await all({ minModRevision: second, keysOnly: true });
      expect([kvs.map((kv) => [text(kv.key), kv.modRevision]), count]).toEqual([[[`${prefix}b`, second]], 2]);
      expect((await all({ minModRevision: second + 1 })).kvs).toEqual([]);
    });

    contract("a range as of a revision shows what was there then", async () => {
      const first = await put("a", "1");
      await put("b", "2");
      const third = await remove("a");
      await put("a", "4");
      expect(await names({ revision: first })).toEqual(["a=1"]);
      expect(await names({ revision: third })).toEqual(["b=2"]);
      expect(await names()).toEqual(["a=4", "b=2"]);
      expect((await refusal(all({ revision: third + 1000 }))).reason).toBe("future-revision");
    });

    contract("a transaction compares, and runs one branch as one revision", async () => {
      const absent: Compare[] = [{ key: k("a"), op: "=", target: "modRevision", value: 0 }];
      const created = await c.txn(absent, [{ type: "put", key: k("a"), value: bytes("1") }], [{ type: "range", key: k("a") }]);
      expect(created.succeeded).toBe(true);
      const refused = await c.txn(absent, [{ type: "put", key: k("a"), value: bytes("2") }], [{ type: "range", key: k("a") }]);
      expect(refused.succeeded).toBe(false);
      expect(refused.results[0]).toMatchObject({ type: "range", count: 1 });
      const both = await c.txn(
        [
          { key: k("a"), op: "=", target: "value", value: bytes("1") },
          { key: k("a"), op: "<", target: "version", value: 2 },
          { key: k("a"), op: ">", target: "createRevision", value: created.revision - 1 },
          { key: k("a"), op: "!=", target: "lease", value: 7n },
        ],
        [
          { type: "put", key: k("b"), value: bytes("x") },
          { type: "delete", key: k("a"), prevKv: true },
          { type: "range", key: bytes(prefix), end: after(prefix) },
        ],
      );
      expect(both.succeeded).toBe(true);
      expect(both.revision).toBe(created.revision + 1);
      const [, gone, listed] = both.results;
      expect(gone).toMatchObject({ type: "delete", deleted: 1, prevKvs: [{ version: 1 }] });
      expect(listed).toMatchObject({ type: "range", count: 1 });
    });

    contract("a comparison of a missing key sees zeros, but no value", async () => {
      const holds = async (compare: Compare) => (await c.txn([compare], [], [])).succeeded;
      const key = k("none");
      expect(await holds({ key, op: "=", target: "version", value: 0 })).toBe(true);
      expect(await holds({ key, op: "=", target: "createRevision", value: 0 })).toBe(true);
      expect(await holds({ key, op: "=", target: "value", value: bytes("") })).toBe(false);
      expect(await holds({ key, op: "!=", target: "value", value: bytes("x") })).toBe(false);
    });

    contract("a transaction that changes nothing makes no revision", async () => {
      const before = await put("a", "1");
      const none = await c.txn([], [{ type: "delete", key: k("b") }]);
      expect(none.results[0]).toMatchObject({ type: "delete", deleted: 0 });
      expect(none.revision).toBe(before);
      expect(await put("a", "2")).toBe(before + 1);
    });

    contract("a key put twice in one transaction is refused", async () => {
      const op = { type: "put" as const, key: k("a"), value: bytes("1") };
      const error = await refusal(c.txn([], [op, op]));
      expect([error.reason, error.message]).toEqual(["invalid", "etcdserver: duplicate key given in txn request"]);
      expect((await refusal(c.range(bytes("")))).message).toBe("etcdserver: key is not provided");
    });

    contract("previous pairs come with puts and deletes that ask for them", async () => {
      await put("a", "1");
      const again = await c.txn([], [{ type: "put", key: k("a"), value: bytes("2"), prevKv: true }]);
      expect(again.results[0]).toMatchObject({ type: "put", prevKv: { version: 1 } });
      const fresh = await c.txn([], [{ type: "put", key: k("b"), value: bytes("2"), prevKv: true }]);
      expect((fresh.results[0] as { prevKv?: unknown }).prevKv).toBeUndefined();
      const gone = await c.txn([], [{ type: "delete", key: bytes(prefix), end: after(prefix), prevKv: true }]);
      expect(gone.results[0]).toMatchObject({ deleted: 2, prevKvs: [{ version: 2 }, { version: 1 }] });
    });

    contract("values of any bytes come back as they were", async () => {
      const value = Uint8Array.from({ length: 100_000 }, (_, i) => (i * 7919) % 256);
      const key = Uint8Array.of(...bytes(prefix), 0, 255, 128);
      await c.txn([], [{ type: "put", key, value }]);
      const { kvs } = await c.range(key);
      expect(Buffer.compare(kvs[0]!.value, value)).toBe(0);
      expect(Buffer.compare(kvs[0]!.key, key)).toBe(0);
    });

    contract("a watch reports what comes after it was made", async () => {
      await put("before", "x");
      const w = watch();
      await w.until((s) => s.createdAt !== undefined);
      const first = await put("a", "1");
      await put("a", "2");
      const last = await remove("a");
      await w.until((s) => s.seen.length === 3);
      expect(w.lines()).toEqual([`put ${prefix}a=1`, `put ${prefix}a=2`, `delete ${prefix}a`]);
      expect(w.seen.map((e) => e.kv.modRevision)).toEqual([first, first + 1, last]);
      expect(w.seen[2]!.kv.value.length).toBe(0);
      expect(w.seen.every((e) => e.prevKv === undefined)).toBe(true);
      w.handle.cancel();
      const after = await put("a", "3");
      const other = watch({ startRevision: after });
      await other.until((s) => s.seen.length === 1);
      expect(w.seen).toHaveLength(3);
      other.handle.cancel();
    });

    contract("a watch from a past revision replays, then follows, with what was before", async () => {
      const start = await put("a", "1");
      for (let i = 2; i <= 50; i++) await put("a", String(i));
      const w = watch({ startRevision: start, prevKv: true });
      await put("b", "last");
      await w.until((s) => s.seen.length === 51);
      expect(w.seen.slice(0, 50).map((e) => text(e.kv.value))).toEqual(Array.from({ length: 50 }, (_, i) => String(i + 1)));
      expect(w.seen[0]!.prevKv).toBeUndefined();
      expect(w.seen.slice(1, 50).map((e) => text(e.prevKv!.value))).toEqual(Array.from({ length: 49 }, (_, i) => String(i + 1)));
      w.handle.cancel();
    });

    contract("events of one revision come together", async () => {
      const w = watch();
      await w.until((s) => s.createdAt !== undefined);
      const { revision } = await c.txn(
        [],
        Array.from({ length: 20 }, (_, i) => ({ type: "put" as const, key: k(`many-${i}`), value: bytes(String(i)) })),
      );
      await w.until((s) => s.seen.length === 20);
      expect(w.batches).toHaveLength(1);
      expect(w.batches[0]!.revision).toBe(revision);
      w.handle.cancel();
    });

    contract("a watch of one key does not see others, and many watch the same", async () => {
      const collectors = Array.from({ length: 20 }, () => new Collector());
      const handles = collectors.map((collector) => c.watch(k("a"), {}, collector));
      for (const w of collectors) await w.until((s) => s.createdAt !== undefined);
      await put("ab", "x");
      await put("a", "1");
      for (const w of collectors) await w.until((s) => s.seen.length === 1);
      expect(new Set(collectors.flatMap((w) => w.lines()))).toEqual(new Set([`put ${prefix}a=1`]));
      for (const h of handles) h.cancel();
    });

    contract("a watch that starts in the future waits for it", async () => {
      const now = await put("a", "1");
      const w = watch({ startRevision: now + 2 });
      await w.until((s) => s.createdAt !== undefined);
      await put("a", "2");
      await put("a", "3");
      await w.until((s) => s.seen.length === 1);
      expect(w.lines()).toEqual([`put ${prefix}a=3`]);
      w.handle.cancel();
    });

    contract("progress tells the revision up to which all was reported", async () => {
      const w = watch();
      await w.until((s) => s.createdAt !== undefined);
      const revision = await put("a", "1");
      w.handle.requestProgress();
      await w.until((s) => (s.progressAt ?? 0) >= revision);
      expect(w.seen).toHaveLength(1);
      w.handle.cancel();
    });

    contract("keys go with their lease, and a revocation is one revision", async () => {
      const lease = await c.leaseGrant(60);
      expect(lease.ttl).toBe(60);
      await put("a", "1", lease.id);
      await put("b", "2", lease.id);
      const last = await put("c", "3");
      expect((await c.range(k("a"))).kvs[0]!.lease).toBe(lease.id);
      expect(await c.leaseKeepAlive(lease.id)).toEqual({ ttl: 60 });
      const w = watch({ startRevision: last + 1 });
      await c.leaseRevoke(lease.id);
      await w.until((s) => s.seen.length === 2);
      expect(w.lines()).toEqual([`delete ${prefix}a`, `delete ${prefix}b`]);
      expect(new Set(w.seen.map((e) => e.kv.modRevision))).toEqual(new Set([last + 1]));
      expect(await names()).toEqual(["c=3"]);
      w.handle.cancel();
      expect((await refusal(c.leaseKeepAlive(lease.id))).reason).toBe("lease-not-found");
      expect((await refusal(c.leaseRevoke(lease.id))).reason).toBe("lease-not-found");
      expect((await refusal(put("d", "x", lease.id))).reason).toBe("lease-not-found");
    });

    contract("a put without the lease takes the key off it", async () => {
      const { id } = await c.leaseGrant(60, 987_654_321n + BigInt(n));
      await put("a", "1", id);
      await put("a", "2");
      await c.leaseRevoke(id);
      expect(await names()).toEqual(["a=2"]);
    });

    contract("a lease that nobody keeps alive expires, with its keys", async () => {
      const w = watch();
      await w.until((s) => s.createdAt !== undefined);
      // Long enough for the write to find it.
      const { id, ttl } = await c.leaseGrant(2);
      expect(ttl).toBeGreaterThanOrEqual(2);
      await put("a", "1", id);
      await w.until((s) => s.seen.length === 2, (ttl + 30) * 1000);
      expect(w.lines()[1]).toBe(`delete ${prefix}a`);
      w.handle.cancel();
    });

    contract("compaction ends what was before it", async () => {
      const first = await put("a", "1");
      await put("b", "1");
      const at = await put("a", "2");
      await put("a", "3");
      await c.compact(at, { physical: true });
      const compacted = await refusal(all({ revision: first }));
      expect([compacted.reason, compacted.message]).toEqual(["compacted", "etcdserver: mvcc: required revision has been compacted"]);
      expect(await names({ revision: at })).toEqual(["a=2", "b=1"]);
      expect((await refusal(c.compact(at))).reason).toBe("compacted");
      expect((await refusal(c.compact(at + 1000))).reason).toBe("future-revision");
      const w = watch({ startRevision: first });
      await w.until((s) => s.end !== undefined);
      expect(w.end!.compacted).toBe(at);
      expect((w.end!.error as StoreError).reason).toBe("compacted");
      const ok = watch({ startRevision: at + 1 });
      await ok.until((s) => s.seen.length === 1);
      expect(ok.lines()).toEqual([`put ${prefix}a=3`]);
      ok.handle.cancel();
    });

    contract("status tells the revision and that nothing is wrong", async () => {
      const revision = await put("a", "1");
      const status = await c.status();
      expect(status.revision).toBe(revision);
      expect(status.errors).toEqual([]);
      expect(status.dbSize).toBeGreaterThan(0);
      expect(status.version).toMatch(/^3\.\d+\.\d+/);
    });
  });
}
