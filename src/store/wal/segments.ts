// The segments of a log as files: which there are, and what their names say.
import { closeSync, fsyncSync, openSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { dropCached } from "./files.ts";

export interface Segment {
  readonly path: string;
  readonly number: number;
  /** Of the first entry that it may hold. */
  readonly firstIndex: number;
}

const hex = (n: number) => n.toString(16).padStart(16, "0");

export function segmentAt(dir: string, number: number, firstIndex: number): Segment {
  return { path: join(dir, `${hex(number)}-${hex(firstIndex)}.wal`), number, firstIndex };
}

/** In the order in which they were written. */
export function listSegments(dir: string): { number: number; path: string }[] {
  return readdirSync(dir)
    .flatMap((name) => {
      const match = /^([0-9a-f]{16})-[0-9a-f]{16}\.wal$/.exec(name);
      return match ? [{ number: Number.parseInt(match[1]!, 16), path: join(dir, name) }] : [];
    })
    .sort((a, b) => a.number - b.number);
}

/**
 * Makes sure that what is read of a file is on the disk. A killed process may
 * have written what no disk has yet; from now on that counts. And what an
 * fdatasync failed for the kernel may still have in memory, and take for written.
 */
export function settle(path: string): void {
  const fd = openSync(path, "r+");
  try {
    fsyncSync(fd);
    dropCached(fd);
  } finally {
    closeSync(fd);
  }
}
