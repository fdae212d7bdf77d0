import { expect, test } from "bun:test";
import fc from "fast-check";
import { BackWriter, Reader, Wire } from "./wire.ts";

type Op =
  | { do: "varint"; value: number }
  | { do: "int"; value: number }
  | { do: "double"; value: number }
  | { do: "string"; value: string }
  | { do: "bytes"; value: Uint8Array }
  | { do: "tag"; value: number };

const op: fc.Arbitrary<Op> = fc.oneof(
  fc.record({ do: fc.constant("varint" as const), value: fc.oneof(fc.integer({ min: 0, max: 300 }), fc.maxSafeNat()) }),
  fc.record({ do: fc.constant("int" as const), value: fc.oneof(fc.integer(), fc.maxSafeInteger()) }),
  fc.record({ do: fc.constant("double" as const), value: fc.double({ noNaN: true }) }),
  fc.record({
    do: fc.constant("string" as const),
    value: fc.oneof(fc.string({ maxLength: 100 }), fc.string({ unit: "binary", maxLength: 80 })),
  }),
  fc.record({ do: fc.constant("bytes" as const), value: fc.uint8Array({ maxLength: 200 }) }),
  fc.record({ do: fc.constant("tag" as const), value: fc.integer({ min: 1, max: 2000 }) }),
);

function write(w: BackWriter, o: Op): void {
  if (o.do === "tag") w.tag(o.value, Wire.Bytes);
  else w[o.do](o.value as never);
}

function read(r: Reader, o: Op): unknown {
  if (o.do === "tag") return (r.varint() - Wire.Bytes) / 8;
  return o.do === "int" ? r.varint() : r[o.do]();
}

test("what is written backwards is read forwards, wherever the buffer has to grow", () => {
  fc.assert(
    fc.property(fc.array(op, { minLength: 1, maxLength: 60 }), fc.integer({ min: 1, max: 64 }), (ops, size) => {
      // Takes what an earlier writer left, so that the next one begins with a buffer of its own.
      new BackWriter(1);
      const w = new BackWriter(size);
      for (const o of ops) write(w, o);
      const { length } = w;
      const bytes = w.finish();
      expect(bytes.length).toBe(length);
      const r = new Reader(bytes);
      for (const o of ops.toReversed()) expect(read(r, o)).toEqual(o.value);
      expect(r.done).toBe(true);
    }),
    { numRuns: 1000 },
  );
});

test("writers at the same time do not share a buffer, and what one returned stays as it was", () => {
  const [a, b] = [new BackWriter(), new BackWriter()];
  a.string("first");
  b.string("second");
  const first = a.finish();
  const c = new BackWriter();
  c.string("third");
  const [second, third] = [b.finish(), c.finish()];
  expect([first, second, third].map((bytes) => new Reader(bytes).string())).toEqual(["first", "second", "third"]);
});
