// Small files that have to be whole or absent, whenever the process or the machine ends.
import { closeSync, fchmodSync, fdatasyncSync, fsyncSync, openSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";

let counter = 0;

/** Makes renames and new names in a directory durable. */
export function syncDirectory(dir: string): void {
  const fd = openSync(dir, "r");
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/**
 * Replaces a file in one step: whoever reads sees the old content or the new
 * one, also where several write at once, or one is killed. After a power cut it
 * may be empty, so this is for what a start makes again. `mode` are the
 * permissions that the file gets, whatever the umask. Throws what the system
 * says, and leaves the old file then.
 */
export function writeAtomic(path: string, data: string | Uint8Array, mode = 0o644): void {
  replace(path, data, mode, () => {});
}

/** As `writeAtomic`, and once this returns, the new content outlives a power cut. Waits for the disk. */
export function writeDurable(path: string, data: string | Uint8Array, mode = 0o644): void {
  // Before the rename: a file system may carry that out before it writes the content.
  replace(path, data, mode, fdatasyncSync);
  syncDirectory(dirname(path));
}

function replace(path: string, data: string | Uint8Array, mode: number, settle: (fd: number) => void): void {
  // A name that no other writer has, neither of this process nor of another.
  const temporary = `${path}.${process.pid}.${counter++}.tmp`;
  try {
    const fd = openSync(temporary, "w", mode);
    try {
      fchmodSync(fd, mode);
      writeFileSync(fd, data);
      settle(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
}

/** The text of a file, or undefined if there is none. */
export function readText(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

/** Parses a file of JSON; undefined if it is missing. Throws naming the file if it is damaged. */
export function readJson<T>(path: string): T | undefined {
  const text = readText(path);
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text) as T;
  } catch (error) {
    throw new Error(`${path} is damaged: ${(error as Error).message}`, { cause: error });
  }
}
