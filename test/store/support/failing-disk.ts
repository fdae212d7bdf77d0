// A disk whose writes fail with EIO when told to: ext4 on a loop device, whose
// file is then made immutable underneath, so that the kernel's own writes to it
// are refused. Reads go on.
import { closeSync, mkdtempSync, openSync, rmSync, truncateSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { must, run } from "./commands.ts";

const BYTES = 256 * 1024 * 1024;

/** Why there can be none, if so. */
export const noFailingDisks = ((): string | undefined => {
  if (process.getuid?.() !== 0) return "loop devices need root";
  const missing = ["losetup", "mkfs.ext4", "chattr"].filter((p) => !Bun.which(p));
  if (missing.length > 0) return `no ${missing.join(" and no ")} on PATH (Debian packages mount and e2fsprogs)`;
  const dir = mkdtempSync(join(tmpdir(), "kubun-disk-"));
  const file = join(dir, "file");
  const fd = openSync(file, "w");
  try {
    if (run("chattr", "+i", file).code !== 0) return `files in ${tmpdir()} can't be made immutable`;
    writeSync(fd, "x");
    return `files in ${tmpdir()} are written to though they are immutable`;
  } catch {
    return run("losetup", "-f").code === 0 ? undefined : "there are no loop devices";
  } finally {
    closeSync(fd);
    run("chattr", "-i", file);
    rmSync(dir, { recursive: true, force: true });
  }
})();

export class FailingDisk implements Disposable {
  readonly #dir = mkdtempSync(join(tmpdir(), "kubun-disk-"));
  readonly #file = join(this.#dir, "disk");
  readonly #mountPoint: string;
  readonly #device: string;

  constructor(mountPoint: string) {
    this.#mountPoint = mountPoint;
    closeSync(openSync(this.#file, "w"));
    truncateSync(this.#file, BYTES);
    // Without a journal, whose own failure would make the file system read-only.
    must("mkfs.ext4", "-q", "-O", "^has_journal", "-m", "0", this.#file);
    this.#device = must("losetup", "--find", "--show", this.#file).trim();
    this.#mount();
  }

  #mount(): void {
    must("mount", "-o", "errors=continue", this.#device, this.#mountPoint);
  }

  /** Every write fails from now on. */
  fail(): void {
    must("chattr", "+i", this.#file);
  }

  /** Writes are taken again. What failed is in memory only, where the kernel takes it for written. */
  heal(): void {
    must("chattr", "-i", this.#file);
  }

  /** Forgets what is in memory, as a reboot does. Nobody may use it. */
  replug(): void {
    must("umount", this.#mountPoint);
    this.#mount();
  }

  [Symbol.dispose](): void {
    run("chattr", "-i", this.#file);
    run("umount", "-l", this.#mountPoint);
    run("losetup", "-d", this.#device);
    rmSync(this.#dir, { recursive: true, force: true });
  }
}
