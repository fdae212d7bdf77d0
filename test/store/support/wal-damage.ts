// Harm to the files of a member of ours that does not run.
import { closeSync, fsyncSync, openSync, readdirSync, readFileSync, truncateSync, writeSync } from "node:fs";
import { join } from "node:path";
import { EntryType } from "../../../src/store/raft/types.ts";
import { decodeFrameHeader, encodeFrame, FRAME_HEADER, frameBytes, SEGMENT_HEADER } from "../../../src/store/wal/format.ts";
import type { Member } from "./cluster.ts";

const SECTOR = 512;

export interface Frame {
  file: string;
  offset: number;
  bytes: number;
  sequence: number;
}

/** The frames of a member's log, oldest first. */
export function frames(member: Member): Frame[] {
  const dir = join(member.dataDir, "wal");
  const found: Frame[] = [];
  for (const name of readdirSync(dir)
    .filter((f) => f.endsWith(".wal"))
    .sort()) {
    const file = join(dir, name);
    const bytes = readFileSync(file);
    for (let at = SEGMENT_HEADER; ; ) {
      const header = decodeFrameHeader(bytes, at);
      if (!header) break;
      found.push({ file, offset: at, bytes: frameBytes(header.body), sequence: header.sequence });
      at += frameBytes(header.body);
    }
  }
  return found;
}

function patch(file: string, offset: number, bytes: Uint8Array): void {
  const fd = openSync(file, "r+");
  try {
    writeSync(fd, bytes, 0, bytes.length, offset);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** Turns one bit of the frame's body. */
export function flipBit({ file, offset }: Frame): void {
  const at = offset + FRAME_HEADER + 10;
  const byte = readFileSync(file)[at]!;
  patch(file, at, Uint8Array.of(byte ^ 0x10));
}

/** Leaves of a frame what a crash in the middle of its write would: disks write sectors whole. */
export function tear({ file, offset, bytes }: Frame): void {
  const kept = SECTOR - (offset % SECTOR);
  if (bytes < kept + SECTOR) throw new Error(`the frame at ${offset} is too short to be torn`);
  patch(file, offset + kept, new Uint8Array(bytes - kept));
}

/** Cuts the file off within the frame. */
export function truncate({ file, offset, bytes }: Frame): void {
  truncateSync(file, offset + Math.floor(bytes / 2));
}

/** Begins a frame behind the last one, as a crash before the write was answered does. */
export function beginFrame(last: Frame): void {
  const at = last.offset + last.bytes;
  const next = encodeFrame(last.sequence + 1, [{ type: EntryType.normal, index: 1_000_000, term: 1, data: new Uint8Array(4096).fill(7) }]);
  patch(last.file, at, next.subarray(0, SECTOR - (at % SECTOR) + SECTOR));
}
