// The WAL's bytes. A segment is a header and then frames; a frame is what one
// fdatasync made durable, and holds the records of one group commit. All
// numbers are little-endian.
//
//   segment   "kubunwal" | version u32 | crc u32 of all else but the magic |
//             segment u64 | first frame u64 | first index u64 | cluster u64 |
//             member u64 | 8 bytes of zero
//   frame     "KFrm" | crc u32 of the next 24 bytes | body bytes u32 |
//             body crc u32 | frame u64 | records u32 | 4 bytes of zero | body |
//             zeros up to a multiple of 8
//   record    kind u8 | payload bytes u32 | payload
//     entry        index u64 | term u64 | data
//     conf change  the same, of an entry that changes who the members are
//     empty        the same, of the entry that a leader begins its term with
//     base         the same, of what a new cluster starts from in place of an entry
//     hard state   term u64 | vote u64 | commit u64
//
// An entry at or below the index of the one before it takes the place of all
// from there on: a new leader's log wins. A segment likewise takes the place of
// what stands from its first index on, which is how a log begins anew after a
// snapshot of the leader's. Version 1 knew only entries and hard states.
import { EntryType, type HardState, type Position } from "../raft/types.ts";
import { crc32c } from "./crc32c.ts";

export type { HardState };

export const FORMAT_VERSION = 2;
export const SEGMENT_HEADER = 64;
export const FRAME_HEADER = 32;
export const FRAME_MAGIC = 0x6d72464b;
const MAGIC = new TextEncoder().encode("kubunwal");

/** What stands at the first position of a new cluster's log: who its members are. No entry of Raft's. */
export const BASE = 3;

/** One position of the log. */
export interface Entry extends Position {
  readonly type: EntryType | typeof BASE;
  readonly data: Uint8Array;
}

const HARD_STATE = 2;
/** Kinds of records by types of entries. */
const KINDS = [1, 3, 4, 5];
const TYPES = new Map<number, Entry["type"]>([
  [1, EntryType.normal],
  [3, EntryType.confChange],
  [4, EntryType.empty],
  [5, BASE],
]);
const RECORD_HEADER = 5;

/** Whose log this is. */
export interface Identity {
  clusterId: bigint;
  memberId: bigint;
}

/** A file whose bytes can't be what was written. */
export class CorruptFile extends Error {
  override name = "CorruptFile";
  readonly file: string;
  readonly offset: number;
  constructor(file: string, offset: number, what: string) {
    super(`${file}: corrupt at offset ${offset}: ${what}`);
    this.file = file;
    this.offset = offset;
  }
}

export const viewOf = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

function putNumber(view: DataView, at: number, n: number): void {
  view.setUint32(at, n % 0x1_0000_0000, true);
  view.setUint32(at + 4, Math.floor(n / 0x1_0000_0000), true);
}

const getNumber = (view: DataView, at: number) => view.getUint32(at + 4, true) * 0x1_0000_0000 + view.getUint32(at, true);

export interface SegmentHeader extends Identity {
  segment: number;
  firstFrame: number;
  /** The first entry that may stand in this segment. */
  firstIndex: number;
}

export function encodeSegmentHeader(h: SegmentHeader): Uint8Array {
  const bytes = new Uint8Array(SEGMENT_HEADER);
  const view = viewOf(bytes);
  bytes.set(MAGIC);
  view.setUint32(8, FORMAT_VERSION, true);
  putNumber(view, 16, h.segment);
  putNumber(view, 24, h.firstFrame);
  putNumber(view, 32, h.firstIndex);
  view.setBigUint64(40, h.clusterId, true);
  view.setBigUint64(48, h.memberId, true);
  view.setUint32(12, headerCrc(bytes), true);
  return bytes;
}

const headerCrc = (bytes: Uint8Array) => crc32c(bytes, 16, SEGMENT_HEADER, crc32c(bytes, 8, 12));

/** Throws an Error for a format that only a newer kubun can read. */
export function refuseNewer(file: string, version: number, known: number): void {
  if (version > known) throw new Error(`${file}: written by a newer version of kubun (format ${version}, this one reads up to ${known})`);
}

/** Throws CorruptFile, or an Error if a newer version wrote it. */
export function decodeSegmentHeader(file: string, bytes: Uint8Array): SegmentHeader & { version: number } {
  if (bytes.length < SEGMENT_HEADER) throw new CorruptFile(file, 0, `the header has ${bytes.length} of ${SEGMENT_HEADER} bytes`);
  if (!MAGIC.every((b, i) => bytes[i] === b)) throw new CorruptFile(file, 0, "not a WAL segment (wrong magic)");
  const view = viewOf(bytes);
  const version = view.getUint32(8, true);
  if (view.getUint32(12, true) !== headerCrc(bytes)) throw new CorruptFile(file, 8, "checksum of the header");
  refuseNewer(file, version, FORMAT_VERSION);
  return {
    version,
    segment: getNumber(view, 16),
    firstFrame: getNumber(view, 24),
    firstIndex: getNumber(view, 32),
    clusterId: view.getBigUint64(40, true),
    memberId: view.getBigUint64(48, true),
  };
}

const HARD_STATE_BYTES = 24;
const ENTRY_BYTES = 16;

/** Bytes of a frame on disk, its padding included. */
export const frameBytes = (body: number) => FRAME_HEADER + ((body + 7) & ~7);

let scratch = new Uint8Array(64 * 1024);

/** Encodes one frame. The result is overwritten by the next call. */
export function encodeFrame(sequence: number, entries: readonly Entry[], hardState?: HardState): Uint8Array {
  let body = hardState ? RECORD_HEADER + HARD_STATE_BYTES : 0;
  for (const e of entries) body += RECORD_HEADER + ENTRY_BYTES + e.data.length;
  const size = frameBytes(body);
  if (scratch.length < size) scratch = new Uint8Array(size * 2);
  const bytes = scratch.subarray(0, size);
  const view = viewOf(bytes);
  let at = FRAME_HEADER;
  const record = (kind: number, length: number) => {
    bytes[at] = kind;
    view.setUint32(at + 1, length, true);
    at += RECORD_HEADER;
  };
  if (hardState) {
    record(HARD_STATE, HARD_STATE_BYTES);
    putNumber(view, at, hardState.term);
    view.setBigUint64(at + 8, hardState.vote, true);
    putNumber(view, at + 16, hardState.commit);
    at += HARD_STATE_BYTES;
  }
  for (const e of entries) {
    record(KINDS[e.type]!, ENTRY_BYTES + e.data.length);
    putNumber(view, at, e.index);
    putNumber(view, at + 8, e.term);
    bytes.set(e.data, at + ENTRY_BYTES);
    at += ENTRY_BYTES + e.data.length;
  }
  bytes.fill(0, at);
  view.setUint32(0, FRAME_MAGIC, true);
  view.setUint32(8, body, true);
  view.setUint32(12, crc32c(bytes, FRAME_HEADER, at), true);
  putNumber(view, 16, sequence);
  view.setUint32(24, entries.length + (hardState ? 1 : 0), true);
  view.setUint32(28, 0, true);
  view.setUint32(4, crc32c(bytes, 8, FRAME_HEADER), true);
  return bytes;
}

export interface FrameHeader {
  body: number;
  crc: number;
  sequence: number;
  records: number;
}

/** The header at this offset, or undefined if there is none or its checksum fails. */
export function decodeFrameHeader(bytes: Uint8Array, at: number): FrameHeader | undefined {
  if (at + FRAME_HEADER > bytes.length) return undefined;
  const view = viewOf(bytes);
  if (view.getUint32(at, true) !== FRAME_MAGIC) return undefined;
  if (view.getUint32(at + 4, true) !== crc32c(bytes, at + 8, at + FRAME_HEADER)) return undefined;
  return {
    body: view.getUint32(at + 8, true),
    crc: view.getUint32(at + 12, true),
    sequence: getNumber(view, at + 16),
    records: view.getUint32(at + 24, true),
  };
}

export interface RecordVisitor {
  /** `data` is a view of the bytes that were read. */
  entry(entry: Entry): void;
  hardState(state: HardState): void;
}

/** Walks a body whose checksum held. */
export function decodeBody(file: string, bytes: Uint8Array, start: number, h: FrameHeader, visit: RecordVisitor): void {
  const view = viewOf(bytes);
  const end = start + h.body;
  let at = start;
  let state: HardState | undefined;
  for (let i = 0; i < h.records; i++) {
    const kind = bytes[at];
    const length = view.getUint32(at + 1, true);
    at += RECORD_HEADER;
    if (at + length > end) throw new CorruptFile(file, at, "a record is longer than its frame");
    const type = TYPES.get(kind!);
    if (type !== undefined) {
      const data = bytes.subarray(at + ENTRY_BYTES, at + length);
      visit.entry({ index: getNumber(view, at), term: getNumber(view, at + 8), type, data });
    } else if (kind === HARD_STATE) {
      state = { term: getNumber(view, at), vote: view.getBigUint64(at + 8, true), commit: getNumber(view, at + 16) };
    } else {
      throw new CorruptFile(file, at - RECORD_HEADER, `unknown kind of record ${kind}`);
    }
    at += length;
  }
  // What it says is committed stands in the log as it is after this frame: its entries may take the place of others.
  if (state) visit.hardState(state);
}
