import { expect, test } from "bun:test";
import fc from "fast-check";
import { copy, deepEqual, deepFreeze } from "./equal.ts";

test("absent and undefined members are equal, null and absent are not", () => {
  expect(deepEqual({ a: 1, b: undefined }, { a: 1 })).toBe(true);
  expect(deepEqual({ a: null }, {})).toBe(false);
  expect(deepEqual([], {})).toBe(false);
  expect(deepEqual({ toString: undefined }, {})).toBe(true);
  expect(deepEqual({ a: 1 }, { b: 1 })).toBe(false);
});

test("a copy is equal, shares nothing, and is not frozen", () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      const clean = deepFreeze(JSON.parse(JSON.stringify(value)) as unknown);
      const c = copy(clean);
      expect(deepEqual(c, clean)).toBe(true);
      if (typeof clean === "object" && clean !== null && Object.keys(clean).length > 0) {
        expect(c).not.toBe(clean as never);
        expect(Object.isFrozen(c)).toBe(false);
      }
    }),
  );
});

test("values are equal exactly when their sorted JSON is", () => {
  const sorted = (v: unknown): unknown =>
    Array.isArray(v)
      ? v.map(sorted)
      : typeof v === "object" && v !== null
        ? Object.entries(v)
            .sort(([a], [b]) => (a < b ? -1 : 1))
            .map(([k, x]) => [k, sorted(x)])
        : v;
  const small = fc.jsonValue({ maxDepth: 2 }).map((v) => JSON.parse(JSON.stringify(v)) as unknown);
  fc.assert(
    fc.property(small, small, (a, b) => {
      expect(deepEqual(a, b)).toBe(
        JSON.stringify([Array.isArray(a), typeof a, sorted(a)]) === JSON.stringify([Array.isArray(b), typeof b, sorted(b)]),
      );
    }),
  );
});
