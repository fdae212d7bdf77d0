// The file operations that durability and reading back rest on.
import { fdatasync, readSync } from "node:fs";
import { libc } from "../../platform/ffi.ts";

/** fdatasync on Bun's thread pool, for files that are written aside: the event loop does not wait for megabytes. */
export function dataSync(fd: number): Promise<void> {
  return new Promise((resolve, reject) => {
    fdatasync(fd, (error) => (error ? reject(error) : resolve()));
  });
}

/** Bytes of a file from a position on; fewer than asked for only where the file ends. */
export function readAt(fd: number, position: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  let at = 0;
  while (at < length) {
    const n = readSync(fd, bytes, at, length - at, position + at);
    if (n === 0) break;
    at += n;
  }
  return bytes.subarray(0, at);
}

const FADV_DONTNEED = 4;

/** Has the kernel forget what it keeps of a file, but for what it still has to write: what is read then comes from the disk. */
export function dropCached(fd: number): void {
  libc().posix_fadvise(fd, 0n, 0n, FADV_DONTNEED);
}

const ENOSPC = 28;
const EDQUOT = 122;

/** Reserves bytes of a file, so that writes into them don't have to grow it. False where the disk is full. */
export function reserve(fd: number, offset: number, length: number): boolean {
  // Any other refusal only means that there is nothing to reserve on this file system.
  const errno = libc().posix_fallocate(fd, BigInt(offset), BigInt(length));
  return errno !== ENOSPC && errno !== EDQUOT;
}

/** Whether an error says that the disk is full, rather than broken. */
export function isNoSpace(error: unknown): boolean {
  const code = (error as { code?: unknown } | undefined)?.code;
  return code === "ENOSPC" || code === "EDQUOT";
}
