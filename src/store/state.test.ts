// Random histories against the model: what is read, what is watched, what a
// replay of the log and what a snapshot gives back.
import { expect, test } from "bun:test";
import fc from "fast-check";
import { hashKv } from "./backup/hash.ts";
import { atOnce } from "./backup/slices.ts";
import { decodeCommand, encodeCommand } from "./codec.ts";
import type { Command } from "./command.ts";
import { Refused } from "./mvcc/errors.ts";
import { keyText } from "./mvcc/key.ts";
import { Model, type ModelOp } from "./mvcc/model.ts";
import type { Compare, Event, Op } from "./mvcc/types.ts";
import { WatchHub } from "./mvcc/watch.ts";
import { SnapshotLoader, snapshotOf } from "./snapshot/content.ts";
import { StateMachine } from "./state.ts";

const bytes = (s: string) => Buffer.from(s, "latin1");
const text = (b: Uint8Array) => Buffer.from(b).toString("latin1");

const key = fc.constantFrom("a", "ab", "b", "ba", "c\0", "c\xff", "d");
const end = fc.option(fc.constantFrom("\0", "b", "bb", "c\xff", "e"), { nil: undefined });
const value = fc.constantFrom("", "x", "y\xff");
const lease = fc.constantFrom(0n, 0n, 0n, 1n, 2n);

const op: fc.Arbitrary<ModelOp> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ type: fc.constant("put" as const), key, value, lease }) },
  { weight: 2, arbitrary: fc.record({ type: fc.constant("delete" as const), key, end }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant("range" as const), key, end }) },
);

const compare = fc.oneof(
  fc.record({ target: fc.constantFrom("version", "createRevision", "modRevision"), value: fc.integer({ min: 0, max: 4 }) }),
  fc.record({ target: fc.constant("value"), value }),
);

type Step =
  | {
      do: "txn";
      compare: { key: string; op: Compare["op"]; is: { target: string; value: number | string } }[];
      success: ModelOp[];
      failure: ModelOp[];
    }
  | { do: "grant"; id: bigint }
  | { do: "revoke"; id: bigint }
  | { do: "compact"; back: number }
  | { do: "watch"; key: string; end: string | undefined; back: number }
  | { do: "pause" | "resume"; which: number };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.record({
      do: fc.constant("txn" as const),
      compare: fc.array(fc.record({ key, op: fc.constantFrom("=", "!=", "<", ">"), is: compare }), { maxLength: 2 }),
      success: fc.array(op, { maxLength: 3 }),
      failure: fc.array(op, { maxLength: 2 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("grant" as const), id: fc.constantFrom(1n, 2n) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("revoke" as const), id: fc.constantFrom(1n, 2n) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("compact" as const), back: fc.nat(6) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("watch" as const), key, end, back: fc.integer({ min: -3, max: 8 }) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom("pause" as const, "resume" as const), which: fc.nat(5) }) },
) as fc.Arbitrary<Step>;

const opOf = (o: ModelOp): Op => {
  if (o.type === "put") return { type: "put", key: bytes(o.key), value: bytes(o.value), lease: o.lease, prevKv: true };
  return { type: o.type, key: bytes(o.key), end: o.end === undefined ? undefined : bytes(o.end) };
};

const line = (e: { type: string; key: string; value: string; revision: number }) => `${e.revision} ${e.type} ${e.key}=${e.value}`;
const eventLine = (e: Event) => line({ type: e.type, key: text(e.kv.key), value: text(e.kv.value), revision: e.kv.modRevision });

function pairsOf(state: StateMachine, from: string, to: string | undefined, revision?: number) {
  return state.mvcc.range({ key: bytes(from), end: to === undefined ? undefined : bytes(to), revision }).kvs.map((kv) => ({
    key: text(kv.key),
    value: text(kv.value),
    create: kv.createRevision,
    mod: kv.modRevision,
    version: kv.version,
    lease: kv.lease,
  }));
}

class Run {
  readonly model = new Model();
  readonly state = new StateMachine();
  readonly hub = new WatchHub(this.state.mvcc);
  readonly log: Uint8Array[] = [];
  readonly watched: {
    watcher: ReturnType<WatchHub["add"]>;
    from: number;
    key: string;
    end?: string;
    seen: string[];
    compacted: boolean;
  }[] = [];

  apply(command: Command): Refused | undefined {
    const data = encodeCommand(command);
    this.log.push(data);
    try {
      this.state.apply(this.log.length, 1, decodeCommand(data), 0);
      return undefined;
    } catch (error) {
      if (error instanceof Refused) return error;
      throw error;
    }
  }

  step(s: Step): void {
    const { model } = this;
    if (s.do === "txn") {
      const compares = s.compare.map((c) => {
        const v = typeof c.is.value === "string" ? bytes(c.is.value) : c.is.value;
        return { key: bytes(c.key), op: c.op, target: c.is.target, value: v } as Compare;
      });
      const holds = s.compare.every((c) => model.holds(c.key, { op: c.op, ...c.is } as never));
      const refused = this.apply({ type: "txn", compare: compares, success: s.success.map(opOf), failure: s.failure.map(opOf) });
      expect(refused?.refusal).toBe(model.write(holds ? s.success : s.failure) ? undefined : "lease-not-found");
    } else if (s.do === "grant") {
      const refused = this.apply({ type: "leaseGrant", id: s.id, ttl: 10 });
      expect(refused?.refusal).toBe(model.leases.has(s.id) ? "lease-exists" : undefined);
      model.leases.add(s.id);
    } else if (s.do === "revoke") {
      const refused = this.apply({ type: "leaseRevoke", id: s.id });
      expect(refused?.refusal).toBe(model.leases.has(s.id) ? undefined : "lease-not-found");
      if (!refused) model.revoke(s.id);
    } else if (s.do === "compact") {
      const at = Math.max(1, model.revision - s.back);
      const refused = this.apply({ type: "compact", revision: at });
      expect(refused?.refusal).toBe(at <= model.compacted ? "compacted" : undefined);
      model.compacted = Math.max(model.compacted, at);
    } else if (s.do === "watch") this.watch(s.key, s.end, Math.max(1, model.revision + 1 - s.back));
    else {
      const w = this.watched[s.which % Math.max(1, this.watched.length)];
      if (w && !w.compacted) s.do === "pause" ? this.hub.pause(w.watcher) : this.hub.resume(w.watcher);
    }
  }

  watch(from: string, to: string | undefined, start: number): void {
    const seen: string[] = [];
    const watcher = this.hub.add(
      { key: bytes(from), end: to === undefined ? undefined : bytes(to), startRevision: start },
      {
        events: (events) => seen.push(...events.map(eventLine)),
        compacted: () => {
          found.compacted = true;
          // The compacted revision itself can still be watched from.
          expect(start).toBeLessThan(this.model.compacted);
        },
      },
    );
    const found = { watcher, from: start, key: from, end: to, seen, compacted: false };
    this.watched.push(found);
  }

  /** What watchers and readers see is what the model says. */
  check(revision: number): void {
    const { model, state } = this;
    expect(state.mvcc.revision).toBe(model.revision);
    for (const [from, to] of [
      ["a", "\0"],
      ["ab", "c\xff"],
      ["b", undefined],
    ] as const) {
      const at = Math.min(Math.max(revision, model.compacted, 1), model.revision);
      expect(pairsOf(state, from, to)).toEqual(model.range(from, to));
      expect(pairsOf(state, from, to, at)).toEqual(model.range(from, to, at));
    }
    expect(state.mvcc.keys.live).toBe(model.now.size);
    expect(state.mvcc.range({ key: bytes("a"), end: bytes("c"), countOnly: true }).count).toBe(model.range("a", "c").length);
    if (model.compacted > 1) expect(() => state.mvcc.range({ key: bytes("a"), revision: model.compacted - 1 })).toThrow(Refused);
  }

  checkWatches(): void {
    for (const w of this.watched) {
      const inRange = (k: string) => (w.end === undefined ? k === w.key : k >= w.key && (w.end === "\0" || k < w.end));
      const expected = this.model.events.filter((e) => e.revision >= w.from && inRange(e.key)).map(line);
      // A compacted watcher has had a beginning of it, and no more.
      expect(w.seen).toEqual(w.compacted ? expected.slice(0, w.seen.length) : expected);
    }
  }
}

test("random histories read and watch as the model says, and replay and snapshot to the same store", () => {
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 40 }), fc.nat(40), fc.integer({ min: 1, max: 5 }), (steps, at, slice) => {
      const run = new Run();
      for (const [i, s] of steps.entries()) {
        run.step(s);
        if (i % 3 === 0) run.state.mvcc.prune(slice);
        run.hub.publish();
        if (i % 2 === 0) run.hub.step(slice);
        run.check(at);
      }
      for (const w of run.watched) if (!w.compacted) run.hub.resume(w.watcher);
      for (let i = 0; !run.hub.step(slice); i++) expect(i).toBeLessThan(1000);
      run.checkWatches();

      const replayed = new StateMachine();
      for (const [i, data] of run.log.entries()) {
        try {
          replayed.apply(i + 1, 1, decodeCommand(data), 0);
        } catch (error) {
          expect(error).toBeInstanceOf(Refused);
        }
      }
      const { id, chunks } = snapshotOf(run.state);
      const restored = new StateMachine();
      const loader = new SnapshotLoader(restored, id);
      for (const chunk of chunks) loader.add(structuredClone(chunk), 0);
      loader.finish();
      for (const copy of [replayed, restored]) {
        expect(atOnce(hashKv(copy.mvcc, 0))).toEqual(atOnce(hashKv(run.state.mvcc, 0)));
        expect(copy.index).toBe(run.log.length);
        expect([...copy.lessor.all()].map((l) => [l.id, [...l.keys].sort()])).toEqual(
          [...run.state.lessor.all()].map((l) => [l.id, [...l.keys].sort()]),
        );
      }
      run.state.mvcc.prune();
      restored.mvcc.prune();
      expect(restored.mvcc.size).toBe(run.state.mvcc.size);
      const from = Math.max(run.model.compacted, 2);
      const logs = [run.state, restored].map(({ mvcc }) => {
        const lines: string[] = [];
        mvcc.events(from, mvcc.revision, { start: "", end: undefined }, (e) => lines.push(eventLine(e)));
        return lines;
      });
      expect(logs[1]).toEqual(logs[0]!);
      expect(logs[0]).toEqual(run.model.events.filter((e) => e.revision >= from).map(line));
    }),
    { numRuns: 600 },
  );
});

test("a range sorts, filters and limits as etcd does", () => {
  const state = new StateMachine();
  const put = (k: string, v: string) => state.mvcc.write(() => state.mvcc.put(bytes(k), bytes(v), 0n));
  for (const [k, v] of [
    ["a", "3"],
    ["b", "1"],
    ["c", "2"],
    ["a", "9"],
  ] as const)
    put(k, v);
  const names = (options: object) => {
    const { kvs, count, more } = state.mvcc.range({ key: bytes("a"), end: bytes("\0"), ...options });
    return [kvs.map((kv) => keyText(kv.key)).join(""), count, more];
  };
  expect(names({ sort: { target: "key", descending: true } })).toEqual(["cba", 3, false]);
  expect(names({ sort: { target: "value", descending: false }, limit: 2 })).toEqual(["bc", 3, true]);
  expect(names({ sort: { target: "mod", descending: true } })).toEqual(["acb", 3, false]);
  expect(names({ sort: { target: "create", descending: false } })).toEqual(["abc", 3, false]);
  expect(names({ sort: { target: "version", descending: true }, limit: 1 })).toEqual(["a", 3, true]);
  expect(names({ minModRevision: 4 })).toEqual(["ac", 3, false]);
  expect(names({ maxModRevision: 4, maxCreateRevision: 3 })).toEqual(["b", 3, false]);
  expect(names({ minCreateRevision: 3, keysOnly: true })).toEqual(["bc", 3, false]);
});

test("a nested transaction is decided before anything runs", () => {
  const state = new StateMachine();
  const put = (k: string): Op => ({ type: "put", key: bytes(k), value: bytes("1") });
  const absent: Compare = { key: bytes("a"), op: "=", target: "version", value: 0 };
  const answer = state.apply(
    1,
    1,
    {
      type: "txn",
      compare: [],
      success: [put("a"), { type: "txn", compare: [absent], success: [put("b")], failure: [put("c")] }],
      failure: [],
    },
    0,
  );
  expect(answer.results[1]).toMatchObject({ type: "txn", succeeded: true });
  expect(pairsOf(state, "a", "\0").map((p) => p.key)).toEqual(["a", "b"]);
  expect(answer.revision).toBe(2);
});

test("an alarm keeps puts out and lets deletes and compaction through", () => {
  const state = new StateMachine();
  const put: Command = { type: "txn", compare: [], success: [{ type: "put", key: bytes("a"), value: bytes("1") }], failure: [] };
  state.apply(1, 1, put, 0);
  const alarm = { memberId: 1n, kind: "nospace" as const };
  expect(state.apply(2, 1, { type: "alarm", raise: true, alarm }, 0).changed).toBe(true);
  expect(() => state.apply(3, 1, put, 0)).toThrow("etcdserver: mvcc: database space exceeded");
  state.apply(4, 1, { type: "txn", compare: [], success: [{ type: "delete", key: bytes("a") }], failure: [] }, 0);
  state.apply(5, 1, { type: "compact", revision: 3 }, 0);
  state.apply(6, 1, { type: "alarm", raise: false, alarm }, 0);
  state.apply(7, 1, put, 0);
  expect(state.mvcc.revision).toBe(4);
});
