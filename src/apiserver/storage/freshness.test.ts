import { expect, test } from "bun:test";
import fc from "fast-check";
import type { RangeOptions, RangeResult } from "../../client/etcd.ts";
import { Freshness } from "./freshness.ts";

const FIRST = Buffer.from("a");
const KEYS = ["a/1", "a/2", "a/3"];
const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

interface Event {
  revision: number;
  key: string;
  deleted: boolean;
}

/** A store that says nothing of progress, and a cache of its keys below "a/" that hears of changes when it is told to. */
class Pair {
  readonly log: Event[] = [];
  readonly cache = new Map<string, number>();
  asked = 0;
  #heard = 0;
  /** Questions that the store has not answered yet. */
  readonly questions: (() => void)[] = [];
  readonly freshness = new Freshness(
    {
      range: (key, options) =>
        new Promise((resolve) => {
          this.questions.push(() => resolve(this.#range(key.toString(), options)));
        }),
      askProgress: () => {
        this.asked++;
      },
      progressAtOnce: false,
    },
    { key: FIRST },
  );
  readonly part = { key: Buffer.from("a/"), end: Buffer.from("a0"), size: () => this.cache.size };

  get revision(): number {
    return this.log.length + 1;
  }

  write(key: string, deleted = false): void {
    if (deleted && !this.at(this.revision).has(key)) return;
    this.log.push({ revision: this.revision + 1, key, deleted });
  }

  /** What the store held below "a/" at a revision: keys, and when they changed last. */
  at(revision: number): Map<string, number> {
    const state = new Map<string, number>();
    for (const e of this.log) {
      if (e.revision > revision || !e.key.startsWith("a/")) continue;
      if (e.deleted) state.delete(e.key);
      else state.set(e.key, e.revision);
    }
    return state;
  }

  /** Events of the next revisions reach the cache, as a watch of "a/" brings them. */
  deliver(count: number): void {
    for (let left = count; left > 0 && this.#heard < this.log.length; left--) {
      const e = this.log[this.#heard++]!;
      if (!e.key.startsWith("a/")) continue;
      if (e.deleted) this.cache.delete(e.key);
      else this.cache.set(e.key, e.revision);
      this.freshness.advance(e.revision);
    }
  }

  answer(): void {
    this.questions.shift()?.();
  }

  #range(key: string, { minModRevision = 0 }: RangeOptions): RangeResult {
    const { revision } = this;
    if (key !== "a/") return { revision, kvs: [], count: 0, more: false };
    const state = [...this.at(revision)];
    const kvs = state
      .filter(([, mod]) => mod >= minModRevision)
      .map(([k, modRevision]) => ({ key: Buffer.from(k), value: Buffer.alloc(0), createRevision: 0, modRevision, version: 1, lease: 0n }));
    return { revision, kvs, count: state.length, more: false };
  }

  read(): Promise<string> {
    return this.freshness.fresh(this.part, () => show(this.cache));
  }
}

const show = (state: Map<string, number>) => JSON.stringify([...state].sort());

test("a read is what the store held at a moment while it ran, though nobody tells how far the cache is", async () => {
  const step = fc.oneof(
    fc.record({ do: fc.constant("write" as const), key: fc.constantFrom(...KEYS, "b/other"), deleted: fc.boolean() }),
    fc.record({ do: fc.constant("deliver" as const), count: fc.integer({ min: 1, max: 4 }) }),
    fc.record({ do: fc.constant("answer" as const) }),
    fc.record({ do: fc.constant("read" as const) }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 40 }), async (steps) => {
      const pair = new Pair();
      pair.write("a/1");
      pair.deliver(1);
      const reads: { from: number; until: number; got: string }[] = [];
      let open = 0;
      for (const s of steps) {
        if (s.do === "write") pair.write(s.key, s.deleted);
        else if (s.do === "deliver") pair.deliver(s.count);
        else if (s.do === "answer") pair.answer();
        else {
          const from = pair.revision;
          open++;
          void pair.read().then((got) => {
            open--;
            reads.push({ from, until: pair.revision, got });
          });
        }
        await turn();
      }
      for (let i = 0; open > 0; i++) {
        expect(i).toBeLessThan(1000);
        pair.deliver(1);
        pair.answer();
        await turn();
      }
      for (const { from, until, got } of reads) {
        const states = Array.from({ length: until - from + 1 }, (_, i) => show(pair.at(from + i)));
        expect(states).toContain(got);
      }
    }),
    { numRuns: 300 },
  );
}, 60_000);

test("writes of others elsewhere in the store delay no read, and cost no question about progress", async () => {
  const pair = new Pair();
  pair.write("a/1");
  pair.deliver(1);
  pair.write("b/other");
  const read = pair.read();
  await turn();
  pair.answer();
  await turn();
  pair.answer();
  expect(await read).toBe('[["a/1",2]]');
  expect([pair.freshness.revision, pair.asked]).toEqual([2, 0]);
});

test("a key that came and went before a read does not show in it, though its events come in one turn with what was waited for", async () => {
  const pair = new Pair();
  pair.write("a/1");
  pair.deliver(1);
  pair.write("a/1");
  pair.write("a/2");
  pair.write("a/2", true);
  const read = pair.read();
  await turn();
  pair.answer();
  await turn();
  pair.answer();
  await turn();
  pair.deliver(2);
  expect(await read).toBe('[["a/1",3]]');
});

test("a cache that does not become the same asks how far it is, and says that it took too long", async () => {
  const pair = new Pair();
  pair.write("a/1");
  const read = pair.read();
  await turn();
  pair.answer();
  await turn();
  pair.answer();
  expect(read).rejects.toThrow("Timeout: Too large resource version: 2, current: 0");
  await read.catch(() => {});
  expect(pair.asked).toBe(1);
}, 10_000);
