// The merged ranges against trying every key of a small alphabet.
import { expect, test } from "bun:test";
import { inSpan, type Span } from "../mvcc/key.ts";
import { KeyRanges, spanOfPermission } from "./ranges.ts";

const span = (start: string, end?: string): Span => ({ start, end });

test("ranges that overlap or touch are one", () => {
  const ranges = new KeyRanges([span("a", "c"), span("b", "d"), span("d", "f"), span("x")]);
  expect(ranges.size).toBe(2);
  expect(ranges.covers(span("a", "f"))).toBe(true);
  expect(ranges.covers(span("a", "g"))).toBe(false);
  expect(ranges.covers(span("f", "g"))).toBe(false);
  expect(ranges.covers(span("y"))).toBe(true);
  expect(ranges.covers(span("a"))).toBe(false);
  expect(new KeyRanges([]).covers(span("a", "b"))).toBe(false);
});

test("a permission is about one key, a range, or all from its key on", () => {
  expect(spanOfPermission({ access: "read", key: "a", end: "" })).toEqual(span("a", "a\0"));
  expect(spanOfPermission({ access: "read", key: "a", end: "b" })).toEqual(span("a", "b"));
  expect(spanOfPermission({ access: "read", key: "a", end: "\0" })).toEqual(span("a"));
  expect(new KeyRanges([spanOfPermission({ access: "read", key: "a", end: "" })]).covers(span("a", "a\0"))).toBe(true);
});

test("they cover exactly what every one of its keys is allowed by itself", () => {
  const seed = Number(process.env.SEED ?? crypto.getRandomValues(new Uint32Array(1))[0]);
  console.log(`seed ${seed}`);
  let state = seed >>> 0;
  const below = (n: number) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * n);
  };
  // Every key that an end of a range may lie between, up to two letters with all their neighbours.
  const letters = ["\0", "a", "b", "c"];
  const keys = [
    "",
    ...letters,
    ...letters.flatMap((a) => letters.map((b) => a + b)),
    ...letters.flatMap((a) => letters.map((b) => `${a}${b}\0`)),
  ].sort();
  const key = () => keys[below(keys.length)]!;
  const random = (): Span => {
    const start = key();
    return below(6) === 0 ? span(start) : below(3) === 0 ? span(start, `${start}\0`) : span(start, key());
  };
  for (let round = 0; round < 3000; round++) {
    const spans = Array.from({ length: below(6) }, random);
    const ranges = new KeyRanges(spans);
    for (let i = 0; i < 10; i++) {
      const asked = random();
      // Keys between two of `keys` are allowed as the lower one is, for all ends are among them or one "\0" longer.
      const inside = keys.flatMap((k) => [k, `${k}\0`]).filter((k) => inSpan(k, asked));
      const endless = asked.end !== undefined || spans.some((s) => s.end === undefined);
      const empty = asked.end !== undefined && asked.start >= asked.end;
      const allowed = empty ? spans.some((s) => inSpan(asked.start, s)) : endless && inside.every((k) => spans.some((s) => inSpan(k, s)));
      expect({ spans, asked, covers: ranges.covers(asked) }).toEqual({ spans, asked, covers: allowed });
    }
  }
});
