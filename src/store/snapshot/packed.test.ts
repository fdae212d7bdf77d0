import { expect, test } from "bun:test";
import fc from "fast-check";
import { keyBytes } from "../mvcc/key.ts";
import { Version } from "../mvcc/types.ts";
import { visitFlat } from "./flat.ts";
import { type Packed, Packer, unpack } from "./packed.ts";

const number = fc.oneof(fc.nat(), fc.maxSafeNat());
const version = fc
  .record({
    text: fc.uint8Array({ maxLength: 80 }).map((b) => Buffer.from(b).toString("latin1")),
    value: fc.uint8Array({ maxLength: 300 }),
    before: fc.nat(9),
    create: number,
    mod: number,
    version: number,
    lease: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
    sub: fc.nat(100_000),
  })
  .map(({ text, value, before, create, mod, version, lease, sub }) => {
    // Values stand anywhere in what is kept of a request.
    const bytes = Buffer.concat([Buffer.alloc(before, 1), value, Buffer.alloc(9 - before, 2)]);
    return new Version(text, new Uint8Array(bytes), create, mod, version, lease, sub, before, before + value.length);
  });

const fields = (v: Version) => [v.text, [...v.value], v.createRevision, v.modRevision, v.version, v.lease, v.sub];

test("what was packed comes back, whatever the chunk before it was", () => {
  const packer = new Packer();
  fc.assert(
    fc.property(fc.array(version, { maxLength: 40 }), fc.integer({ min: 1, max: 60 }), (versions, times) => {
      const all = Array.from({ length: times }, () => versions).flat();
      for (const v of all) packer.add(v);
      const back: Version[] = [];
      unpack(packer.take(), (v) => back.push(v));
      expect(back.map(fields)).toEqual(all.map(fields));
      expect(packer.empty).toBe(true);
    }),
    { numRuns: 60 },
  );
});

test("a chunk whose rows and bytes do not fit together is refused", () => {
  const packer = new Packer();
  packer.add(new Version("key", new Uint8Array(10), 1, 2, 1, 0n, 0));
  const { rows, bytes } = packer.take();
  const ignore = () => {};
  const wrong: Packed[] = [
    { rows, bytes: bytes.subarray(1) },
    { rows, bytes: new Uint8Array(14) },
    { rows: rows.subarray(1), bytes },
    { rows: new Uint8Array(0), bytes },
  ];
  for (const packed of wrong) expect(() => unpack(packed, ignore)).toThrow("do not fill their chunk");
});

test("chunks of older formats are read", () => {
  const back: Version[] = [];
  visitFlat([keyBytes("a"), Buffer.from("one"), 2, 3, 2, 0, 0, keyBytes("b"), Buffer.from("two"), 4, 4, 1, 2n ** 40n, 1], (v) =>
    back.push(v),
  );
  expect(back.map(fields)).toEqual([
    ["a", [...Buffer.from("one")], 2, 3, 2, 0n, 0],
    ["b", [...Buffer.from("two")], 4, 4, 1, 2n ** 40n, 1],
  ]);
});
