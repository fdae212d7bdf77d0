import { expect, test } from "bun:test";
import fc from "fast-check";
import { SimulatedClock } from "./clock.ts";
import { BucketLimiter, ExponentialLimiter, WorkQueue } from "./workqueue.ts";

const quiet = { info() {}, warn() {}, error() {} };
const settle = () => new Promise((resolve) => setImmediate(resolve));

test("a key that is added many times is worked on once, and again only when added while under way", async () => {
  const worked: string[] = [];
  let release = Promise.withResolvers<void>();
  const q = new WorkQueue("test", async (key) => {
    worked.push(key);
    await release.promise;
  });
  q.start();
  for (let i = 0; i < 5; i++) q.add("a");
  await settle();
  expect(worked).toEqual(["a"]);
  q.add("a");
  q.add("a");
  await settle();
  expect(worked).toEqual(["a"]);
  release.resolve();
  release = Promise.withResolvers();
  release.resolve();
  await q.idle();
  expect(worked).toEqual(["a", "a"]);
});

test("works on no more keys at a time than it has workers, and never twice on one", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.constantFrom("a", "b", "c", "d", "e"), { maxLength: 40 }),
      fc.integer({ min: 1, max: 4 }),
      async (keys, workers) => {
        const active = new Set<string>();
        let most = 0;
        const last = new Map<string, number>();
        let now = 0;
        const q = new WorkQueue(
          "test",
          async (key) => {
            expect(active.has(key)).toBe(false);
            active.add(key);
            most = Math.max(most, active.size);
            last.set(key, now);
            await settle();
            active.delete(key);
          },
          { workers },
        );
        q.start();
        const added = new Map<string, number>();
        for (const key of keys) {
          added.set(key, ++now);
          q.add(key);
          if (now % 3 === 0) await settle();
        }
        await q.idle();
        expect(most).toBeLessThanOrEqual(workers);
        // Every key was looked at after it was last added.
        for (const [key, at] of added) expect(last.get(key)!).toBeGreaterThanOrEqual(at);
      },
    ),
    { numRuns: 50 },
  );
});

test("a failing key comes back after 5 ms, doubling up to 1000 s, until it succeeds", async () => {
  const clock = new SimulatedClock();
  let fail = true;
  let tries = 0;
  const q = new WorkQueue(
    "test",
    () => {
      tries++;
      if (fail) throw new Error("no");
    },
    { clock, log: quiet },
  );
  q.start();
  q.add("a");
  const waits: number[] = [];
  for (let i = 0; i < 20; i++) {
    await settle();
    waits.push(clock.next!);
    clock.advance(clock.next!);
  }
  expect(waits.slice(0, 5)).toEqual([5, 10, 20, 40, 80]);
  expect(waits.at(-1)).toBe(1_000_000);
  fail = false;
  await settle();
  clock.advance(1_000_000);
  await settle();
  const before = tries;
  expect(q.requeues("a")).toBe(0);
  fail = true;
  q.add("a");
  await settle();
  expect(tries).toBe(before + 1);
  expect(clock.next).toBe(5);
});

test("of several delayed adds the earliest holds", async () => {
  const clock = new SimulatedClock();
  const worked: number[] = [];
  const q = new WorkQueue("test", () => void worked.push(clock.now()), { clock });
  q.start();
  const begin = clock.now();
  q.addAfter("a", 1000);
  q.addAfter("a", 100);
  q.addAfter("a", 5000);
  clock.advance(99);
  await settle();
  expect(worked).toEqual([]);
  clock.advance(1);
  await settle();
  expect(worked).toEqual([begin + 100]);
  clock.advance(10_000);
  await settle();
  expect(worked.length).toBe(1);
});

test("nothing is worked on after it has stopped", async () => {
  const clock = new SimulatedClock();
  let worked = 0;
  const q = new WorkQueue("test", () => void worked++, { clock });
  q.start();
  q.addAfter("a", 10);
  await q.stop();
  q.add("b");
  clock.advance(100);
  await settle();
  expect(worked).toBe(0);
});

test("the bucket lets a burst through and then so many a second", () => {
  const clock = new SimulatedClock();
  const bucket = new BucketLimiter(10, 3, clock);
  expect([1, 2, 3].map(() => bucket.when())).toEqual([0, 0, 0]);
  expect(bucket.when()).toBeCloseTo(100);
  expect(bucket.when()).toBeCloseTo(200);
  clock.advance(500);
  expect(bucket.when()).toBe(0);
});

test("the exponential limiter forgets one key and not the others", () => {
  const l = new ExponentialLimiter(5, 1000);
  l.when("a");
  l.when("a");
  l.when("b");
  l.forget("a");
  expect([l.when("a"), l.when("b")]).toEqual([5, 10]);
});
