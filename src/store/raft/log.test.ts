// The log and the disk against models that keep everything.
import { expect, test } from "bun:test";
import fc from "fast-check";
import { Disk } from "./disk.ts";
import { Inflight } from "./inflight.ts";
import { bytesOf, Log } from "./log.ts";
import { type Entry, EntryType } from "./types.ts";

const entry = (index: number, term: number): Entry => ({ index, term, type: EntryType.normal, data: new Uint8Array(term) });
/** Terms that never fall. */
const terms = fc.array(fc.nat(2), { maxLength: 12 }).map((steps) => {
  let term = 1;
  return steps.map((step) => (term += step));
});
const logOf = (list: readonly number[]) =>
  new Log(
    { index: 0, term: 0 },
    list.map((t, i) => entry(i + 1, t)),
  );
const termsOf = (log: Log) => Array.from({ length: log.last - log.base.index }, (_, i) => log.termAt(log.base.index + 1 + i));

test("a follower that merges a leader's entries has the leader's log up to there, and keeps what agrees", () => {
  fc.assert(
    fc.property(terms, terms, fc.nat(), fc.nat(), (own, leaders, at, count) => {
      const log = logOf(own);
      // The leader's log agrees with ours as long as their terms do, and no longer: log matching.
      const same = leaders.findIndex((t, i) => own[i] !== t);
      const agree = same < 0 ? Math.min(leaders.length, own.length) : same;
      const prev = at % (agree + 1);
      const sent = leaders.slice(prev, prev + (count % (leaders.length - prev + 1)));
      const first = log.merge(
        sent.map((t, i) => entry(prev + 1 + i, t)),
        0,
      );
      const conflict = sent.findIndex((t, i) => own[prev + i] !== t);
      const expected = conflict < 0 ? own : [...own.slice(0, prev), ...sent];
      expect(termsOf(log)).toEqual(expected);
      expect(first).toBe(conflict < 0 ? undefined : prev + 1 + conflict);
      expect(log.bytes).toBe(log.slice(1, log.last).reduce((sum, e) => sum + bytesOf(e), 0));
    }),
    { numRuns: 500 },
  );
});

test("a committed entry is never taken back", () => {
  const log = logOf([1, 1, 2]);
  expect(() => log.merge([entry(2, 3)], 2)).toThrow("contradicts entry 2");
  expect(termsOf(log)).toEqual([1, 1, 2]);
});

test("two logs are found to part within as many tries as there are terms", () => {
  fc.assert(
    fc.property(terms, terms, (mine, theirs) => {
      const [leader, follower] = [logOf(mine), logOf(theirs)];
      const parted = mine.findIndex((t, i) => theirs[i] !== t);
      const agree = parted < 0 ? Math.min(mine.length, theirs.length) : parted;
      let prev = leader.last;
      let tries = 0;
      while (!follower.has({ index: prev, term: leader.termAt(prev)! })) {
        const hint = follower.lastAgreeing(prev, leader.termAt(prev)!);
        const next = leader.lastAgreeing(hint.index, hint.term).index;
        expect(next).toBeLessThan(prev);
        // What is skipped does not agree.
        expect(next).toBeGreaterThanOrEqual(agree);
        prev = next;
        tries++;
      }
      expect(tries).toBeLessThanOrEqual(new Set([...mine, ...theirs]).size + 1);
    }),
    { numRuns: 500 },
  );
});

test("a compacted log knows the term of its base, and what comes after", () => {
  fc.assert(
    fc.property(terms, fc.nat(), (list, at) => {
      const log = logOf(list);
      const index = at % (list.length + 1);
      log.compact(index);
      expect(log.base).toEqual({ index, term: index === 0 ? 0 : list[index - 1]! });
      expect(termsOf(log)).toEqual(list.slice(index));
      expect(log.last).toBe(list.length);
      expect(log.termAt(index - 1)).toBeUndefined();
    }),
  );
});

test("a slice is bounded in bytes, but has one entry at the least", () => {
  const log = logOf([1, 1, 100, 100]);
  expect(log.slice(1, 4, 1).length).toBe(1);
  expect(log.slice(1, 4, 2 * bytesOf(entry(1, 1))).length).toBe(2);
  expect(log.slice(2, 3).map((e) => e.index)).toEqual([2, 3]);
});

test("what counts as durable is on the disk whenever a crash comes", () => {
  const step = fc.oneof(
    fc.record({ do: fc.constant("append" as const), n: fc.integer({ min: 1, max: 3 }) }),
    fc.record({ do: fc.constant("replace" as const), back: fc.integer({ min: 1, max: 4 }) }),
    fc.record({ do: fc.constant("give" as const) }),
    fc.record({ do: fc.constant("finish" as const) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const disk = new Disk(0);
      // Every entry is a number of its own, so that one that was replaced and came again is another.
      let unique = 0;
      const log: number[] = [];
      const writes: { write: number; from: number; values: number[] }[] = [];
      const onDisk: number[] = [];
      for (const s of steps) {
        if (s.do === "append") for (let i = 0; i < s.n; i++) log.push(++unique);
        else if (s.do === "replace" && log.length > 0) {
          const from = Math.max(1, log.length - s.back + 1);
          log.length = from - 1;
          disk.replaced(from);
          log.push(++unique);
        } else if (s.do === "give" && log.length > disk.given) {
          const from = disk.given + 1;
          writes.push({ from, values: log.slice(from - 1), write: disk.give(log.length) });
        } else if (s.do === "finish" && writes.length > 0) {
          const { write, from, values } = writes.shift()!;
          onDisk.splice(from - 1, Infinity, ...values);
          disk.finish(write);
        }
        // However many of the writes under way a crash leaves: what counts as durable is there, and is the log's.
        for (let left = 0; left <= writes.length; left++) {
          const after = [...onDisk];
          for (const w of writes.slice(0, left)) after.splice(w.from - 1, Infinity, ...w.values);
          expect(after.slice(0, disk.durable)).toEqual(log.slice(0, disk.durable));
        }
      }
    }),
    { numRuns: 500 },
  );
});

test("a suffix that was overwritten and written again is durable with the last write, not with the first", () => {
  const disk = new Disk(5);
  const first = disk.give(8);
  disk.replaced(6);
  const second = disk.give(6);
  disk.replaced(6);
  const third = disk.give(8);
  disk.finish(first);
  expect(disk.durable).toBe(5);
  disk.finish(second);
  expect(disk.durable).toBe(5);
  disk.finish(third);
  expect(disk.durable).toBe(8);
});

test("what is under way is counted in messages and bytes, however long the ring has turned", () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(3), fc.nat(100)), { maxLength: 200 }), (steps) => {
      const inflight = new Inflight(40, 2000);
      let model: { index: number; bytes: number }[] = [];
      let index = 0;
      for (const [free, bytes] of steps) {
        if (!inflight.full) {
          inflight.add(++index, bytes);
          model.push({ index, bytes });
        }
        const to = (model[0]?.index ?? 0) + free - 2;
        inflight.freeTo(to);
        model = model.filter((m) => m.index > to);
        const sum = model.reduce((n, m) => n + m.bytes, 0);
        expect([inflight.count, inflight.bytes, inflight.full]).toEqual([model.length, sum, model.length >= 40 || sum >= 2000]);
      }
    }),
  );
});
