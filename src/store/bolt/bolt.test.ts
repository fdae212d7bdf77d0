import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { noEtcdctl } from "../../testing/etcd.ts";
import { CorruptFile } from "../wal/format.ts";
import { fnv1a64, PAGE_SIZE } from "./format.ts";
import { BoltReader } from "./reader.ts";
import { ArrayPairs, type BoltFile, type BucketSource, boltFile } from "./writer.ts";

const dir = mkdtempSync(join(tmpdir(), "kubun-bolt-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

type Pair = [key: Uint8Array, value: Uint8Array];
const bytes = (s: string) => new TextEncoder().encode(s);

function laidOut(buckets: readonly BucketSource[]): BoltFile {
  const steps = boltFile(buckets);
  for (;;) {
    const step = steps.next();
    if (step.done) return step.value;
  }
}

const whole = (file: BoltFile): Uint8Array => Buffer.concat(Array.from(file.chunks(), (chunk) => chunk.slice()));
const write = (buckets: Record<string, Pair[]>): Uint8Array =>
  whole(laidOut(Object.entries(buckets).map(([name, pairs]) => ({ name, pairs: new ArrayPairs(pairs) }))));

const open = (file: Uint8Array) =>
  new BoltReader({ name: "file", size: file.length, read: (at, length) => file.subarray(at, at + length) });

const read = (file: Uint8Array): Record<string, Pair[]> => {
  const reader = open(file);
  return Object.fromEntries(
    [...reader.buckets()].map((name) => [name, [...reader.pairs(name)].map(({ key, value }): Pair => [key, value])]),
  );
};

const sorted = (pairs: Pair[]) => pairs.toSorted(([a], [b]) => Buffer.compare(a, b));
const plain = (pairs: Pair[]) => sorted(pairs).map(([k, v]) => [Buffer.from(k).toString("hex"), Bun.hash(v)]);

const value = fc.oneof(
  { weight: 8, arbitrary: fc.uint8Array({ maxLength: 40 }) },
  { weight: 2, arbitrary: fc.integer({ min: 900, max: 20_000 }).map((n) => new Uint8Array(n).fill(n)) },
);
const pairs = fc.uniqueArray(fc.tuple(fc.uint8Array({ minLength: 1, maxLength: 60 }), value), {
  maxLength: 120,
  selector: ([k]) => Buffer.from(k).toString("hex"),
});

test("what is written is read back, whatever the pairs", () => {
  fc.assert(
    fc.property(fc.array(pairs, { maxLength: 5 }), (buckets) => {
      const given = Object.fromEntries(buckets.map((p, i): [string, Pair[]] => [`bucket${i}`, p]));
      const file = write(given);
      expect(file.length % PAGE_SIZE).toBe(0);
      const found = read(file);
      expect(Object.keys(found)).toEqual(Object.keys(given));
      for (const name of Object.keys(given)) expect(plain(found[name]!)).toEqual(plain(given[name]!));
    }),
    { numRuns: 60 },
  );
}, 30_000);

test("a tree grows levels, and every size that was laid out is the size that is written", () => {
  const many = Array.from({ length: 40_000 }, (_, i): Pair => [bytes(`key${String(i).padStart(8, "0")}`), bytes(`value ${i}`)]);
  const file = laidOut([{ name: "key", pairs: new ArrayPairs(many) }]);
  const written = whole(file);
  expect(written.length).toBe(file.size);
  const found = [...open(written).pairs("key")];
  expect(found.length).toBe(many.length);
  expect(Buffer.from(found[31_337]!.value).toString()).toBe("value 31337");
}, 30_000);

test("a damaged file is refused with its name and offset, or read; nothing else happens", () => {
  const many = Array.from({ length: 400 }, (_, i): Pair => [bytes(`key${String(i).padStart(8, "0")}`), new Uint8Array(100)]);
  const file = write({ key: many, meta: [] });
  expect(() => read(file.subarray(0, file.length - PAGE_SIZE))).toThrow(
    new CorruptFile("file", file.length - PAGE_SIZE, `the file ends before page ${file.length / PAGE_SIZE}`),
  );
  expect(() => read(new Uint8Array(0))).toThrow(CorruptFile);
  expect(() => read(bytes("no database".repeat(2000)))).toThrow("wrong magic");
  const oneMeta = Uint8Array.from(file);
  oneMeta[20] = 9;
  expect(read(oneMeta).key!.length).toBe(400);
  oneMeta[PAGE_SIZE + 20] = 9;
  expect(() => read(oneMeta)).toThrow(CorruptFile);
  fc.assert(
    fc.property(fc.nat(file.length - 1), fc.nat(7), (at, bit) => {
      const damaged = Uint8Array.from(file);
      damaged[at]! ^= 1 << bit;
      try {
        read(damaged);
      } catch (error) {
        expect(error).toBeInstanceOf(CorruptFile);
      }
    }),
    { numRuns: 100 },
  );
  // A header bit of the first page of pairs.
  const damaged = Uint8Array.from(file);
  damaged[3 * PAGE_SIZE + 8]! ^= 0x40;
  expect(() => read(damaged)).toThrow(`file: corrupt at offset ${3 * PAGE_SIZE}: a page of kind 0x42`);
}, 30_000);

test("the checksum is FNV-1a", () => {
  expect(fnv1a64(bytes("foobar"))).toBe(0x85944171f73967e8n);
}, 30_000);

if (noEtcdctl) console.log(`skipped: what etcdctl says of a file: ${noEtcdctl}`);
test.skipIf(noEtcdctl !== undefined)(
  "Debian's etcdctl reads it as a database",
  async () => {
    const key = (revision: number) => {
      const k = Buffer.alloc(17);
      k.writeBigUInt64BE(BigInt(revision));
      k[8] = 0x5f;
      return k as Uint8Array;
    };
    const file = join(dir, "db");
    const revisions = Array.from({ length: 3000 }, (_, i): Pair => [key(i + 2), new Uint8Array(i % 97 === 0 ? 9000 : 120)]);
    await Bun.write(file, write({ key: revisions, meta: [[bytes("consistent_index"), new Uint8Array(8)]] }));
    const child = Bun.spawn(["etcdctl", "snapshot", "status", file, "-w", "json"], {
      env: { ...process.env, ETCDCTL_API: "3" },
      stdout: "pipe",
      stderr: "inherit",
    });
    const { revision, totalKey } = JSON.parse(await new Response(child.stdout).text());
    expect({ revision, totalKey }).toEqual({ revision: 3001, totalKey: 3001 });
  },
  30_000,
);
