import { afterEach, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { EntryType } from "../raft/types.ts";
import { crc32c } from "./crc32c.ts";
import { CorruptFile, type Entry, FRAME_HEADER, SEGMENT_HEADER } from "./format.ts";
import { DirectoryLocked, lockDirectory } from "./lock.ts";
import { Spare } from "./spare.ts";
import { Wal, type WalError, type WalOptions } from "./wal.ts";

const folders: string[] = [];
const folder = () => {
  const dir = mkdtempSync(join(tmpdir(), "kubun-wal-"));
  folders.push(dir);
  return dir;
};
afterEach(() => {
  for (const dir of folders.splice(0)) rmSync(dir, { recursive: true, force: true });
});

const identity = { clusterId: 11n, memberId: 22n };

function open(dir: string, options: Partial<WalOptions> = {}): { wal: Wal; entries: Entry[] } {
  const entries: Entry[] = [];
  const truncate = (from: number) => {
    while (entries.length > 0 && entries.at(-1)!.index >= from) entries.pop();
  };
  const wal = Wal.open(dir, {
    after: 0,
    create: () => identity,
    visit: {
      entry: (e) => {
        truncate(e.index);
        entries.push({ ...e, data: e.data.slice() });
      },
      hardState() {},
      truncate,
    },
    ...options,
  });
  return { wal, entries };
}

const entry = (index: number, data: Uint8Array, term = 1): Entry => ({ index, term, type: EntryType.normal, data });
const files = (dir: string) => readdirSync(dir).sort();
const filled = (length: number, byte = 0xa5) => new Uint8Array(length).fill(byte);

/** Writes batches of one-kilobyte entries; returns the log's folder. */
async function written(batches: readonly number[], segmentBytes?: number): Promise<string> {
  const dir = folder();
  const { wal } = open(dir, { segmentBytes });
  let index = 1;
  for (const n of batches) await wal.append(Array.from({ length: n }, () => entry(index, filled(1000, index++ % 255 || 1))));
  wal.close();
  return dir;
}

test("CRC-32C gives the check value of its catalogue", () => {
  expect(crc32c(new TextEncoder().encode("123456789"))).toBe(0xe3069283);
  const bytes = new TextEncoder().encode("in two parts, the same");
  expect(crc32c(bytes, 5, undefined, crc32c(bytes, 0, 5))).toBe(crc32c(bytes));
});

test("what was appended is read back, whatever its size, and its identity and hard state with it", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(fc.uint8Array({ maxLength: 5000 }), { maxLength: 5 }), { maxLength: 10 }),
      fc.integer({ min: 4096, max: 20_000 }),
      async (batches, segmentBytes) => {
        const dir = folder();
        const first = open(dir, { segmentBytes });
        let index = 0;
        const all: Entry[] = [];
        for (const [term, batch] of batches.entries()) {
          const entries = batch.map((data) => entry(++index, data, term));
          await first.wal.append(entries, { term, vote: 22n, commit: index });
          all.push(...entries);
        }
        first.wal.close();
        const second = open(dir, { segmentBytes });
        expect(second.entries).toEqual(all);
        expect(second.wal.identity).toEqual(identity);
        expect(second.wal.lastIndex).toBe(index);
        if (batches.length > 0) expect(second.wal.hardState).toEqual({ term: batches.length - 1, vote: 22n, commit: index });
        await second.wal.append([entry(index + 1, filled(10))]);
        second.wal.close();
        const third = open(dir, { segmentBytes });
        expect(third.entries).toHaveLength(all.length + 1);
        third.wal.close();
        rmSync(dir, { recursive: true });
      },
    ),
    { numRuns: 40 },
  );
});

test("a segment cut off anywhere loses no more than the batches that the cut is in", async () => {
  const batches = [1, 3, 1, 2, 1];
  const dir = await written(batches);
  const path = join(dir, files(dir)[0]!);
  const whole = readFileSync(path);
  for (let size = SEGMENT_HEADER; size <= whole.length; size += 97) {
    writeFileSync(path, whole);
    truncateSync(path, size);
    const { wal, entries } = open(dir);
    const survived = entries.length;
    const sums = batches.map((_, i) => batches.slice(0, i + 1).reduce((a, b) => a + b, 0));
    expect([0, ...sums]).toContain(survived);
    expect(entries.map((e) => e.index)).toEqual(Array.from({ length: survived }, (_, i) => i + 1));
    await wal.append([entry(survived + 1, filled(100))]);
    wal.close();
    const again = open(dir);
    expect(again.entries).toHaveLength(survived + 1);
    again.wal.close();
  }
});

test("a write of which some sectors never reached the disk is cut off", async () => {
  const dir = await written([1, 8]);
  const path = join(dir, files(dir)[0]!);
  const bytes = readFileSync(path);
  // The second batch is 8 KB; its middle was not written.
  bytes.fill(0, 4096, 6144);
  writeFileSync(path, bytes);
  const { wal, entries } = open(dir);
  expect(entries).toHaveLength(1);
  expect(wal.cut).toMatchObject({ file: path });
  wal.close();
});

test("a flipped bit anywhere in what was acknowledged is refused, naming file and offset", async () => {
  const dir = await written([1, 2, 1]);
  const path = join(dir, files(dir)[0]!);
  const whole = readFileSync(path);
  fc.assert(
    fc.property(fc.integer({ min: 0, max: whole.length - 1 }), fc.integer({ min: 0, max: 7 }), (at, bit) => {
      const damaged = Buffer.from(whole);
      damaged[at]! ^= 1 << bit;
      writeFileSync(path, damaged);
      let error: unknown;
      try {
        open(dir).wal.close();
      } catch (e) {
        error = e;
      }
      expect(error).toBeInstanceOf(CorruptFile);
      const { file, offset, message } = error as CorruptFile;
      expect(file).toBe(path);
      expect(offset).toBeLessThanOrEqual(at);
      expect(message).toContain(`${path}: corrupt at offset ${offset}`);
    }),
    { numRuns: 500 },
  );
});

test("a zeroed page in the middle is damage, not a torn tail", async () => {
  const dir = await written([1, 1, 1, 1, 1, 1, 1, 1, 1, 1]);
  const path = join(dir, files(dir)[0]!);
  const bytes = readFileSync(path);
  bytes.fill(0, 4096, 8192);
  writeFileSync(path, bytes);
  expect(() => open(dir)).toThrow(CorruptFile);
});

test("a missing segment, a cut one before the last, and a newer format are refused", async () => {
  const dir = await written([1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1], 4096);
  const names = files(dir);
  expect(names.length).toBeGreaterThan(3);
  const second = join(dir, names[1]!);
  const kept = readFileSync(second);
  rmSync(second);
  expect(() => open(dir)).toThrow("segment 2 before it is missing");
  writeFileSync(second, kept.subarray(0, kept.length - FRAME_HEADER));
  expect(() => open(dir)).toThrow(CorruptFile);
  writeFileSync(second, kept);
  open(dir).wal.close();
  expect(() => open(dir).wal.close()).not.toThrow();
});

test("segments are released once a snapshot covers them, and not before", async () => {
  const dir = await written([1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1], 4096);
  const before = files(dir).length;
  const { wal } = open(dir, { segmentBytes: 4096 });
  wal.release(0);
  expect(files(dir)).toHaveLength(before);
  wal.release(6);
  expect(files(dir).length).toBeLessThan(before);
  wal.close();
  const { wal: again, entries } = open(dir, { after: 6 });
  expect(entries.map((e) => e.index)).toEqual([7, 8, 9, 10, 11, 12]);
  again.close();
  expect(() => open(dir, { after: 0 })).toThrow(/entries 1 to \d+ are missing/);
});

test("a new leader's entries take the place of those from their index on, in whatever segment, and after a snapshot too", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.record({ back: fc.nat(6), n: fc.integer({ min: 1, max: 5 }), size: fc.nat(1500), restart: fc.boolean() }), {
        maxLength: 14,
      }),
      fc.nat(12),
      async (writes, snapshot) => {
        const dir = folder();
        const { wal } = open(dir, { segmentBytes: 4096 });
        let log: Entry[] = [];
        let base = 0;
        for (const [i, { back, n, size, restart }] of writes.entries()) {
          const term = i + 1;
          if (restart && back === 0) {
            // A snapshot of the leader's, beyond this log or in the middle of it.
            base = Math.max(base + 1, wal.lastIndex - 2 + (n % 4));
            wal.restart(base, { term, vote: 0n, commit: base });
            log = [];
            continue;
          }
          const first = Math.max(base + 1, wal.lastIndex + 1 - back);
          const entries = Array.from(
            { length: n },
            (_, j): Entry => ({ index: first + j, term, type: (j % 3) as Entry["type"], data: filled(size, term) }),
          );
          await wal.append(entries, { term, vote: 0n, commit: base });
          log = [...log.filter((e) => e.index < first), ...entries];
        }
        wal.close();
        const after = Math.max(base, Math.min(snapshot, log.at(-1)?.index ?? base));
        const again = open(dir, { after });
        expect(again.entries).toEqual(log.filter((e) => e.index > after));
        expect(again.wal.lastIndex).toBe(log.at(-1)?.index ?? base);
        again.wal.close();
        rmSync(dir, { recursive: true });
      },
    ),
    { numRuns: 30 },
  );
}, 30_000);

test("a snapshot that came before the log began anew is where the log goes on", async () => {
  const dir = await written([1, 2, 1], 4096);
  const { wal, entries } = open(dir, { after: 50 });
  expect([entries, wal.lastIndex]).toEqual([[], 50]);
  await wal.append([entry(51, filled(10), 7)], { term: 7, vote: 1n, commit: 50 });
  wal.close();
  const again = open(dir, { after: 50 });
  expect(again.entries.map((e) => [e.index, e.term])).toEqual([[51, 7]]);
  expect(again.wal.hardState).toEqual({ term: 7, vote: 1n, commit: 50 });
  again.wal.close();
});

test("the format before this one is still read", async () => {
  const dir = await written([2, 1]);
  const path = join(dir, files(dir)[0]!);
  const bytes = readFileSync(path);
  bytes.writeUInt32LE(1, 8);
  bytes.writeUInt32LE(crc32c(bytes, 16, SEGMENT_HEADER, crc32c(bytes, 8, 12)), 12);
  writeFileSync(path, bytes);
  const { wal, entries } = open(dir);
  expect(entries).toHaveLength(3);
  // What this version writes goes into a segment of its own version.
  expect(files(dir)).toHaveLength(2);
  wal.close();
  open(dir).wal.close();
  rmSync(join(dir, files(dir)[1]!));
  bytes.writeUInt32LE(3, 8);
  bytes.writeUInt32LE(crc32c(bytes, 16, SEGMENT_HEADER, crc32c(bytes, 8, 12)), 12);
  writeFileSync(path, bytes);
  expect(() => open(dir)).toThrow("written by a newer version of kubun (format 3, this one reads up to 2)");
});

test("after a failed fdatasync nothing more is taken", async () => {
  const dir = folder();
  let broken = false;
  const { wal } = open(dir, {
    sync: () => (broken ? Promise.reject(Object.assign(new Error("EIO"), { code: "EIO" })) : Promise.resolve()),
  });
  await wal.append([entry(1, filled(10))]);
  broken = true;
  const failure = (await wal.append([entry(2, filled(10))]).catch((e: unknown) => e)) as WalError;
  expect([failure.broken, failure.noSpace]).toEqual([true, false]);
  broken = false;
  expect(await wal.append([entry(2, filled(10))]).catch((e: unknown) => e)).toBe(failure);
  expect(wal.lastIndex).toBe(1);
  wal.close();
  const again = open(dir);
  expect(again.entries[0]).toMatchObject({ index: 1 });
  again.wal.close();
});

test("a clean end leaves no reserved room in the file", async () => {
  const dir = await written([1]);
  expect(statSync(join(dir, files(dir)[0]!)).size).toBeLessThan(2000);
});

test("one process at a time has a directory", () => {
  const dir = folder();
  const lock = lockDirectory(dir);
  expect(() => lockDirectory(dir)).toThrow(DirectoryLocked);
  expect(() => lockDirectory(dir)).toThrow(`in use by process ${process.pid}`);
  lock.release();
  lockDirectory(dir).release();
});

test("what a frame says is committed is told after its entries, which may replace others", async () => {
  const dir = folder();
  const { wal } = open(dir);
  await wal.append([entry(1, filled(1)), entry(2, filled(1)), entry(3, filled(1))], { term: 1, vote: 1n, commit: 1 });
  await wal.append([entry(2, filled(1), 2)], { term: 2, vote: 1n, commit: 2 });
  wal.close();
  const told: string[] = [];
  const visit = {
    entry: (e: Entry) => void told.push(`entry ${e.index} of term ${e.term}`),
    hardState: (state: { commit: number }) => void told.push(`committed ${state.commit}`),
    truncate: () => {},
  };
  open(dir, { visit }).wal.close();
  expect(told).toEqual([
    "committed 0",
    ...["entry 1 of term 1", "entry 2 of term 1", "entry 3 of term 1", "committed 1"],
    ...["entry 2 of term 2", "committed 2"],
  ]);
});

const MIB = 1024 * 1024;
const spares = (dir: string) => files(dir).filter((name) => name.endsWith(".spare.tmp"));

/** Appends until the log has so many segments more; resolves to what was appended. */
async function fill(wal: Wal, dir: string, segments: number): Promise<number> {
  const before = files(dir).filter((name) => name.endsWith(".wal")).length;
  while (files(dir).filter((name) => name.endsWith(".wal")).length < before + segments) {
    await wal.append([entry(wal.lastIndex + 1, filled(50_000))]);
    // What prepares the next segment has its turn.
    await Bun.sleep(1);
  }
  return wal.lastIndex;
}

test("segments that were filled with zeros ahead are read back, after a clean end and without one", async () => {
  const dir = folder();
  const { wal } = open(dir, { segmentBytes: MIB });
  const last = await fill(wal, dir, 3);
  const newest = files(dir).findLast((name) => name.endsWith(".wal"))!;
  // Made ahead: as long as a segment gets, and zeros behind its frames.
  expect(statSync(join(dir, newest)).size).toBe(MIB);
  const killed = folder();
  for (const name of files(dir)) writeFileSync(join(killed, name), readFileSync(join(dir, name)));
  const wals = [open(killed, { segmentBytes: MIB })];
  expect(spares(killed)).toEqual([]);
  wal.close();
  expect(spares(dir)).toEqual([]);
  expect(statSync(join(dir, newest)).size).toBeLessThan(MIB);
  wals.push(open(dir, { segmentBytes: MIB }));
  for (const again of wals) {
    expect(again.entries.map((e) => e.index)).toEqual(Array.from({ length: last }, (_, i) => i + 1));
    expect(again.wal.cut).toBeUndefined();
    await again.wal.append([entry(last + 1, filled(10))]);
    again.wal.close();
  }
});

test("a segment that was prepared gives its room back when the log needs it, and none is made on a disk that is nearly full", async () => {
  const dir = folder();
  const spare = new Spare(dir, MIB);
  spare.prepare();
  while (spares(dir).length === 0 || statSync(join(dir, spares(dir)[0]!)).size < MIB) await Bun.sleep(1);
  expect(spare.discard()).toBe(true);
  expect(spares(dir)).toEqual([]);
  expect(spare.discard()).toBe(false);
  const huge = new Spare(dir, 2 ** 50);
  huge.prepare();
  while (huge.discard()) await Bun.sleep(1);
  expect(spares(dir)).toEqual([]);
});
