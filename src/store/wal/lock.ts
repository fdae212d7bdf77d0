// One process a data directory. flock(2) ends with the process, however it ends.
import { closeSync, ftruncateSync, openSync, readFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { tryLock } from "../../platform/ffi.ts";

export class DirectoryLocked extends Error {
  override name = "DirectoryLocked";
}

/** Takes the directory for this process; throws DirectoryLocked, naming who has it. */
export function lockDirectory(dir: string): { release(): void } {
  const path = join(dir, "lock");
  const fd = openSync(path, "a+", 0o600);
  try {
    if (!tryLock(fd)) {
      const owner = readFileSync(path, "utf8").trim();
      throw new DirectoryLocked(`data directory ${dir} is in use${owner ? ` by process ${owner}` : ""}`);
    }
    ftruncateSync(fd, 0);
    writeSync(fd, `${process.pid}\n`);
  } catch (error) {
    closeSync(fd);
    throw error;
  }
  let held = true;
  return {
    release() {
      if (held) closeSync(fd);
      held = false;
    },
  };
}
