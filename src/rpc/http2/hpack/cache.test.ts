// Decoded blocks are kept by their bytes: a kept one may come again only while
// the dynamic table is as it was.
import { expect, test } from "bun:test";
import fc from "fast-check";
import { HpackDecoder } from "./decoder.ts";
import { ENTRY_OVERHEAD, STATIC } from "./static.ts";

const seed = Number(process.env.KUBUN_SEED ?? Math.floor(Math.random() * 2 ** 31));
const SIZE = 4096;

function integer(pattern: number, prefix: number, value: number): number[] {
  const mask = (1 << prefix) - 1;
  if (value < mask) return [pattern | value];
  const bytes = [pattern | mask];
  let left = value - mask;
  for (; left >= 128; left >>= 7) bytes.push((left & 127) | 128);
  return [...bytes, left];
}

const text = (s: string) => [...integer(0, 7, s.length), ...Buffer.from(s, "latin1")];
const sizeUpdate = (size: number) => integer(0x20, 5, size);
const insert = (name: string, value: string) => [0x40, ...text(name), ...text(value)];
/** The entry of the dynamic table that came so many before the last. */
const back = (entries: number) => integer(0x80, 7, STATIC.length + entries);

type Field = readonly [name: string, value: string];

/** Every field goes into the table, as with the encoder of Go's net/http2. */
class GreedyEncoder {
  #table: Field[] = [];
  #limit = SIZE;

  encode(fields: Field[], size?: number): number[] {
    const bytes = size === undefined ? [] : sizeUpdate(size);
    this.#limit = size ?? this.#limit;
    this.#evict();
    for (const field of fields) {
      const at = this.#table.findIndex(([name, value]) => name === field[0] && value === field[1]);
      bytes.push(...(at < 0 ? insert(...field) : back(at)));
      if (at < 0) this.#table.unshift(field);
      this.#evict();
    }
    return bytes;
  }

  #evict(): void {
    let room = this.#limit;
    const last = this.#table.findIndex(([name, value]) => {
      room -= name.length + value.length + ENTRY_OVERHEAD;
      return room < 0;
    });
    if (last >= 0) this.#table.length = last;
  }
}

const decode = (decoder: HpackDecoder, block: number[]) => decoder.decode(Uint8Array.from(block));

const LONG = "x".repeat(300);

test.each<[what: string, change: number[], then: Field]>([
  ["an insertion by a long block", insert(":path", `/b?${LONG}`), [":path", `/b?${LONG}`]],
  ["an insertion by a short block", insert(":path", "/b"), [":path", "/b"]],
  ["a size update that empties the table", [...sizeUpdate(0), ...sizeUpdate(SIZE), ...insert(":path", "/c")], [":path", "/c"]],
  ["a size update in a long block", [...sizeUpdate(0), ...sizeUpdate(SIZE), ...insert("x", LONG)], ["x", LONG]],
])("an index means another entry after %s", (_, change, then) => {
  const decoder = new HpackDecoder(SIZE);
  decode(decoder, insert(":path", "/a"));
  expect(decode(decoder, back(0)).fields).toEqual([":path", "/a"]);
  decode(decoder, change);
  expect(decode(decoder, back(0)).fields).toEqual([...then]);
});

test.each([
  ["a short block", sizeUpdate(0)],
  ["a long block", [...sizeUpdate(0), 0, ...text("x"), ...text(LONG)]],
  ["an entry larger than the table", insert("x", "x".repeat(SIZE))],
])("an index means nothing after %s that empties the table", (_, change) => {
  const decoder = new HpackDecoder(SIZE);
  decode(decoder, insert(":path", "/a"));
  expect(decode(decoder, back(0)).fields).toEqual([":path", "/a"]);
  decode(decoder, change);
  expect(() => decode(decoder, back(0))).toThrow("index 62 of a table of 61");
});

test("a block that fails has changed the table too", () => {
  const decoder = new HpackDecoder(SIZE);
  decode(decoder, insert(":path", "/a"));
  decode(decoder, back(0));
  expect(() => decode(decoder, [...insert(":path", "/b"), 0x80])).toThrow("index 0");
  expect(decode(decoder, back(0)).fields).toEqual([":path", "/b"]);
});

test(`blocks mean the same as to a decoder that keeps none, seed ${seed}`, () => {
  const name = fc.constantFrom("grpc-status", "grpc-message", "x-a");
  const value = fc.constantFrom("0", "14", "", LONG);
  const fresh = fc.record({
    fields: fc.array(fc.tuple(name, value), { maxLength: 3 }),
    size: fc.oneof({ weight: 20, arbitrary: fc.constant(undefined) }, fc.constantFrom(0, 64, 300, 900, SIZE)),
  });
  // The bytes of an earlier block, whatever its indexes mean by now.
  const again = fc.record({ again: fc.nat(30) });
  fc.assert(
    fc.property(fc.array(fc.oneof(fresh, again), { maxLength: 60, size: "max" }), (steps) => {
      const encoder = new GreedyEncoder();
      const keeping = new HpackDecoder(SIZE);
      const plain = new HpackDecoder(SIZE);
      const blocks: { bytes: number[]; size: number | undefined }[] = [];
      let size = SIZE;
      for (const step of steps) {
        if ("fields" in step) blocks.unshift({ bytes: encoder.encode(step.fields, step.size), size: step.size });
        const block = "fields" in step ? blocks[0] : blocks[step.again % blocks.length];
        if (!block) continue;
        // No block with a size update is kept, also where the size is the same.
        const expected = attempt(() => decode(plain, [...sizeUpdate(size), ...block.bytes]));
        expect(attempt(() => decode(keeping, block.bytes))).toEqual(expected);
        if (typeof expected === "string") return;
        size = block.size ?? size;
      }
    }),
    { seed, numRuns: 300 },
  );
});

function attempt<T>(run: () => T): T | string {
  try {
    return run();
  } catch (error) {
    return (error as Error).message;
  }
}
