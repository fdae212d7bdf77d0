import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { Maglev, tableSize } from "./maglev.ts";
import { twin } from "./maglev-twin.ts";

const names = fc.uniqueArray(fc.string({ minLength: 0, maxLength: 24, unit: "binary" }), { maxLength: 60 });
const backends = (n: number) => Array.from({ length: n }, (_, i) => `10.244.${i >> 8}.${i & 255}:8080`);

describe("Maglev", () => {
  test("builds the same table as its twin in TypeScript, for any names", () => {
    const kernel = new Maglev();
    const reference = new Maglev(twin);
    fc.assert(
      fc.property(names, fc.constantFrom(61, 251, 1021), (n, size) => {
        expect(kernel.table(n, size)).toEqual(reference.table(n, size));
      }),
      { numRuns: 300 },
    );
  });

  test("gives every backend its share of the slots", () => {
    for (const n of [1, 2, 3, 10, 100, 1000]) {
      const table = new Maglev().table(backends(n));
      const shares = new Array<number>(n).fill(0);
      for (const b of table) shares[b]!++;
      expect(Math.max(...shares) - Math.min(...shares)).toBeLessThanOrEqual(1);
    }
  });

  test("moves few slots of the others when a backend goes", () => {
    const before = backends(20);
    const gone = 7;
    const after = before.filter((_, i) => i !== gone);
    const [a, b] = [new Maglev().table(before, 251), new Maglev().table(after, 251)];
    let moved = 0;
    for (let i = 0; i < 251; i++) if (a[i] !== gone && before[a[i]!] !== after[b[i]!]) moved++;
    expect(moved / 251).toBeLessThan(0.1);
  });

  test("has a prime number of slots, at least ten for each backend", () => {
    expect([0, 6, 7, 25, 26, 400, 6552].map(tableSize)).toEqual([61, 61, 251, 251, 1021, 4093, 65521]);
  });
});
