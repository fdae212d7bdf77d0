import { expect, test } from "bun:test";
import fc from "fast-check";
import { Output } from "./output.ts";

test("what is appended comes out in order, whatever the sizes", () => {
  const step = fc.oneof(
    fc.record({ add: fc.integer({ min: 0, max: 5000 }) }),
    fc.record({ add: fc.integer({ min: 0, max: 600_000 }) }),
    fc.record({ take: fc.double({ min: 0, max: 1, noNaN: true }) }),
    fc.constant({ take: 1 }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), fc.integer({ min: 1, max: 300 }), (steps, capacity) => {
      // Two of them, as the buffers of bursts are passed on.
      for (const output of [new Output(capacity), new Output()]) {
        const waiting: number[] = [];
        let next = 0;
        for (const s of steps) {
          if ("add" in s) {
            output.append(new Uint8Array(s.add).fill(next));
            waiting.push(...new Array(s.add > 0 ? 1 : 0).fill(next).map((b: number) => b * 1_000_000 + s.add));
            next = (next + 1) % 251;
          } else {
            let left = Math.floor(output.length * s.take);
            const got = output.bytes.slice(output.start, output.start + left);
            let at = 0;
            while (left > 0) {
              const [byte, size] = [Math.floor(waiting[0]! / 1_000_000), waiting[0]! % 1_000_000];
              const part = Math.min(size, left);
              if (!got.subarray(at, at + part).every((b) => b === byte)) return false;
              at += part;
              left -= part;
              if (part === size) waiting.shift();
              else waiting[0] = waiting[0]! - part;
            }
            output.taken(at);
          }
          const sum = waiting.reduce((n, w) => n + (w % 1_000_000), 0);
          if (output.length !== sum) return false;
        }
      }
      return true;
    }),
    { numRuns: 60 },
  );
});

test("a burst leaves no large buffer with its connection", () => {
  const output = new Output();
  for (let i = 0; i < 3; i++) {
    output.append(new Uint8Array(300_000));
    const { bytes } = output;
    output.taken(300_000);
    expect(output.bytes.length).toBeLessThanOrEqual(65_536);
    // The next one, of whichever connection, takes the same.
    const other = new Output();
    other.append(new Uint8Array(300_000));
    expect(other.bytes).toBe(bytes);
    other.taken(300_000);
  }
});
