// Reads a segment back, and tells a torn tail (the write that a crash cut
// short, never acknowledged) from damage to what was acknowledged.
import { crc32c } from "./crc32c.ts";
import {
  CorruptFile,
  decodeBody,
  decodeFrameHeader,
  FRAME_HEADER,
  type FrameHeader,
  frameBytes,
  type RecordVisitor,
  SEGMENT_HEADER,
} from "./format.ts";

/** Disks write sectors whole; one that was never written reads as zeros. */
const SECTOR = 512;

export interface ScanResult {
  /** Where the next frame goes. */
  end: number;
  /** The sequence that it gets. */
  nextFrame: number;
  /** Bytes of a torn write from `end` on, to be cut off. */
  torn: boolean;
}

/**
 * Visits the records of a segment in order.
 *
 * @param last whether this is the newest segment, the only one that may end torn
 * @throws CorruptFile for anything else that doesn't check
 */
export function scanSegment(file: string, bytes: Uint8Array, firstFrame: number, last: boolean, visit: RecordVisitor): ScanResult {
  let at = SEGMENT_HEADER;
  let sequence = firstFrame;
  while (at < bytes.length) {
    const header = decodeFrameHeader(bytes, at);
    const broken = header ? checkFrame(bytes, at, header, sequence) : "frame header";
    if (header && !broken) {
      decodeBody(file, bytes, at + FRAME_HEADER, header, visit);
      at += frameBytes(header.body);
      sequence++;
      continue;
    }
    if (allZero(bytes, at, bytes.length)) {
      return { end: at, nextFrame: sequence, torn: false };
    }
    const later = last ? findFrame(bytes, at, sequence) : undefined;
    if (!last || later !== undefined || !looksTorn(bytes, at, header)) {
      throw new CorruptFile(file, at, `checksum of the ${broken}${later === undefined ? "" : `, with a valid frame after it at ${later}`}`);
    }
    return { end: at, nextFrame: sequence, torn: true };
  }
  return { end: Math.min(at, bytes.length), nextFrame: sequence, torn: false };
}

function checkFrame(bytes: Uint8Array, at: number, h: FrameHeader, sequence: number): string | undefined {
  if (h.sequence !== sequence) return `frame header (sequence ${h.sequence}, expected ${sequence})`;
  const start = at + FRAME_HEADER;
  if (at + frameBytes(h.body) > bytes.length) return "frame, which is cut short";
  if (crc32c(bytes, start, start + h.body) !== h.crc) return "frame body";
  return allZero(bytes, start + h.body, at + frameBytes(h.body)) ? undefined : "frame padding";
}

/** A whole frame after this point means that the broken one had been acknowledged. */
function findFrame(bytes: Uint8Array, after: number, sequence: number): number | undefined {
  for (let at = after + 8; at + FRAME_HEADER <= bytes.length; at += 8) {
    if (bytes[at] !== 0x4b || bytes[at + 1] !== 0x46) continue;
    const h = decodeFrameHeader(bytes, at);
    if (h && h.sequence > sequence && checkFrame(bytes, at, h, h.sequence) === undefined) return at;
  }
  return undefined;
}

/** Whether sectors of the write at `at` never reached the disk. */
function looksTorn(bytes: Uint8Array, at: number, header: FrameHeader | undefined): boolean {
  const size = header ? frameBytes(header.body) : FRAME_HEADER;
  if (at + size > bytes.length) return true;
  for (let from = at; from < at + size; ) {
    const to = Math.min((Math.floor(from / SECTOR) + 1) * SECTOR, at + size);
    if (allZero(bytes, from, to) && to - from >= 8) return true;
    from = to;
  }
  return false;
}

function allZero(bytes: Uint8Array, from: number, to: number): boolean {
  let at = from;
  for (; at < to && (bytes.byteOffset + at) % 8 !== 0; at++) if (bytes[at] !== 0) return false;
  const words = (to - at) >> 3;
  const view = new BigUint64Array(bytes.buffer, bytes.byteOffset + at, words);
  for (let i = 0; i < words; i++) if (view[i] !== 0n) return false;
  for (at += words * 8; at < to; at++) if (bytes[at] !== 0) return false;
  return true;
}
