// A snapshot's file: "kubunsnp" | version u32 | crc32c u32 of these, and then
// chunks of { bytes u32 | crc32c u32 | CBOR }. The last chunk says how many
// there were, so that a file cut short is known.
import { closeSync, fstatSync, openSync, readdirSync, renameSync, rmSync, writeSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { syncDirectory } from "../../platform/files.ts";
import type { Histogram } from "../../platform/metrics.ts";
import { crc32c } from "../wal/crc32c.ts";
import { dataSync, readAt } from "../wal/files.ts";
import { CorruptFile, refuseNewer } from "../wal/format.ts";

const MAGIC = new TextEncoder().encode("kubunsnp");
/** Version 1 did not say who the members are; before version 3, chunks were lists of items. */
const FORMAT_VERSION = 3;
const HEADER = 16;
const CHUNK_HEADER = 8;
const NAME = /^([0-9a-f]{16})-([0-9a-f]{16})\.snap$/;
const NAME_OR_RECEIVED = /^[0-9a-f]{16}-([0-9a-f]{16})\.(?:received\.snap\.tmp|snap)$/;

/** A snapshot holds everything up to an entry of the log. */
export interface SnapshotId {
  index: number;
  term: number;
}

export const snapshotPath = (dir: string, id: SnapshotId) => join(dir, `${nameOf(id)}.snap`);

/** Where one that another member sent waits to be installed, while the next may come in; removed at the next start when nobody came for it. */
export const receivedPath = (dir: string, id: SnapshotId) => join(dir, `${nameOf(id)}.received.snap.tmp`);

let parts = 0;

/** Where one is written while it comes in: two leaders may be sending at the same time. */
export const partPath = (dir: string) => join(dir, `${++parts}.part.snap.tmp`);

/** The newest snapshot of a directory. Also removes what an interrupted write left. */
export function newestSnapshot(dir: string): (SnapshotId & { path: string }) | undefined {
  let newest: (SnapshotId & { path: string }) | undefined;
  for (const name of readdirSync(dir)) {
    if (name.endsWith(".snap.tmp")) rmSync(join(dir, name), { force: true });
    const match = NAME.exec(name);
    if (!match) continue;
    const found = { term: Number.parseInt(match[1]!, 16), index: Number.parseInt(match[2]!, 16), path: join(dir, name) };
    if (!newest || found.index > newest.index) newest = found;
  }
  return newest;
}

/** Removes the snapshots that the one at `id` stands for as well; what is newer waits to be installed. */
export async function removeOlder(dir: string, id: SnapshotId): Promise<void> {
  const own = `${nameOf(id)}.snap`;
  for (const name of readdirSync(dir)) {
    const index = NAME_OR_RECEIVED.exec(name)?.[1];
    // Large files take their time.
    if (index !== undefined && name !== own && Number.parseInt(index, 16) <= id.index) await rm(join(dir, name), { force: true });
  }
}

async function codec() {
  const { Encoder } = await import("../../platform/cbor.ts");
  // Plain maps and byte strings: readable by any CBOR decoder.
  return new Encoder({ useRecords: false, tagUint8Array: false, mapsAsObjects: true, variableMapSize: true });
}

/** Where what a snapshot's writing takes is observed, in seconds. */
export interface WriteTimes {
  readonly snapMarshalling: Histogram;
  readonly snapFsync: Histogram;
}

/**
 * Writes a snapshot aside and gives it its name once it is durable. Yields to
 * the event loop between chunks.
 */
export async function writeSnapshot(dir: string, id: SnapshotId, chunks: Iterable<unknown>, times?: WriteTimes): Promise<string> {
  const { encode } = bound(await codec());
  const path = snapshotPath(dir, id);
  const temporary = `${path}.tmp`;
  const fd = openSync(temporary, "w", 0o600);
  try {
    const header = new Uint8Array(HEADER);
    header.set(MAGIC);
    const headerView = new DataView(header.buffer);
    headerView.setUint32(8, FORMAT_VERSION, true);
    headerView.setUint32(12, crc32c(header, 0, 12), true);
    writeAll(fd, header);
    let count = 0;
    let encoding = 0;
    let since = performance.now();
    const put = (value: unknown) => {
      const body = encode(value);
      encoding += performance.now() - since;
      const head = new Uint8Array(CHUNK_HEADER);
      const view = new DataView(head.buffer);
      view.setUint32(0, body.length, true);
      view.setUint32(4, crc32c(body), true);
      writeAll(fd, head);
      writeAll(fd, body);
      count++;
    };
    for (const chunk of chunks) {
      put(chunk);
      await new Promise((resolve) => setImmediate(resolve));
      since = performance.now();
    }
    put({ end: count });
    times?.snapMarshalling.observe(encoding / 1000);
    // Megabytes may have to reach the disk; the event loop does not wait for them.
    since = performance.now();
    await dataSync(fd);
    times?.snapFsync.observe((performance.now() - since) / 1000);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  } finally {
    closeSync(fd);
  }
  renameSync(temporary, path);
  syncDirectory(dir);
  return path;
}

/**
 * Reads the chunks of a snapshot, one at a time. Throws CorruptFile, or an Error if a newer version wrote it.
 *
 * @param visit what it returns is waited for before the next
 */
export async function readSnapshot(path: string, visit: (chunk: unknown) => Promise<void> | undefined): Promise<void> {
  const { decode } = bound(await codec());
  const fd = openSync(path, "r");
  try {
    const size = fstatSync(fd).size;
    const header = readAt(fd, 0, HEADER);
    if (header.length < HEADER || !MAGIC.every((b, i) => header[i] === b)) throw new CorruptFile(path, 0, "not a snapshot (wrong magic)");
    const headerView = viewOf(header);
    if (crc32c(header, 0, 12) !== headerView.getUint32(12, true)) throw new CorruptFile(path, 8, "checksum of the header");
    refuseNewer(path, headerView.getUint32(8, true), FORMAT_VERSION);
    let count = 0;
    for (let at = HEADER; ; count++) {
      if (at + CHUNK_HEADER > size) throw new CorruptFile(path, at, "the file ends early");
      const view = viewOf(readAt(fd, at, CHUNK_HEADER));
      const length = view.getUint32(0, true);
      if (at + CHUNK_HEADER + length > size) throw new CorruptFile(path, at, "a chunk is cut short");
      const body = readAt(fd, at + CHUNK_HEADER, length);
      if (crc32c(body) !== view.getUint32(4, true)) throw new CorruptFile(path, at, "checksum of a chunk");
      const chunk = decode(body) as unknown;
      at += CHUNK_HEADER + length;
      if (isEnd(chunk)) {
        if (chunk.end !== count || at !== size) throw new CorruptFile(path, at, "the end mark is not where it should be");
        return;
      }
      const taken = visit(chunk);
      if (taken) await taken;
    }
  } finally {
    closeSync(fd);
  }
}

const viewOf = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

const isEnd = (chunk: unknown): chunk is { end: number } => typeof chunk === "object" && chunk !== null && "end" in chunk;

function bound(e: { encode(value: unknown): Uint8Array; decode(bytes: Uint8Array): unknown }) {
  return { encode: (value: unknown) => e.encode(value), decode: (bytes: Uint8Array) => e.decode(bytes) };
}

function writeAll(fd: number, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at, bytes.length - at);
}

const nameOf = ({ term, index }: SnapshotId) => `${hex(term)}-${hex(index)}`;

const hex = (n: number) => n.toString(16).padStart(16, "0");
