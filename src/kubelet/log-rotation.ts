// Rotates container logs (upstream's pkg/kubelet/logs): 0.log becomes
// 0.log.<time>, older ones are compressed, the oldest deleted.
import { createReadStream, createWriteStream } from "node:fs";
import { readdir, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { pipeline } from "node:stream/promises";
import { createGzip } from "node:zlib";
import type { Logger } from "../platform/log.ts";
import type { Cri } from "./cri/client.ts";
import type { Pleg } from "./cri/pleg.ts";

const period = 10_000;

export interface LogRotationOptions {
  cri: Cri;
  pleg: Pleg;
  log: Logger;
  /** Bytes. */
  maxSize: number;
  maxFiles: number;
}

const stamp = (now: Date) => now.toISOString().replace(/[-:]/g, "").replace("T", "-").replace(/\..*$/, "");

/** What to do with the rotated files of a log, oldest first. */
export function plan(rotated: readonly string[], maxFiles: number): { remove: string[]; compress: string[] } {
  // The current file and the one that is about to be rotated count too.
  const keep = Math.max(0, maxFiles - 2);
  const remove = rotated.slice(0, Math.max(0, rotated.length - keep));
  return { remove, compress: rotated.slice(remove.length).filter((f) => !f.endsWith(".gz")) };
}

async function compress(path: string): Promise<void> {
  const half = `${path}.tmp`;
  await pipeline(createReadStream(path), createGzip(), createWriteStream(half));
  await rename(half, `${path}.gz`);
  await rm(path);
}

export class LogRotation {
  readonly #o: LogRotationOptions;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(options: LogRotationOptions) {
    this.#o = options;
  }

  start(): void {
    this.#timer = setTimeout(() => void this.rotateAll().finally(() => this.#timer && this.start()), period);
    this.#timer.unref?.();
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  async rotateAll(): Promise<void> {
    for (const rt of this.#o.pleg.all.values()) {
      for (const c of rt.containers) {
        if (c.state !== "running" || !c.logPath) continue;
        try {
          const size = await stat(c.logPath).then(
            (s) => s.size,
            (error: NodeJS.ErrnoException) => {
              if (error.code === "ENOENT") return undefined;
              throw error;
            },
          );
          // A kubelet that was killed within a rotation has left the runtime with the renamed file.
          if (size === undefined) await this.#o.cri.runtime.reopenContainerLog({ containerId: c.id });
          else if (size >= this.#o.maxSize) await this.#rotate(c.id, c.logPath);
        } catch (error) {
          this.#o.log.error("Could not rotate a log", error, { path: c.logPath });
        }
      }
    }
  }

  async #rotate(containerId: string, path: string): Promise<void> {
    const dir = dirname(path);
    const prefix = `${basename(path)}.`;
    const all = (await readdir(dir)).filter((f) => f.startsWith(prefix)).sort();
    await Promise.all(all.filter((f) => f.endsWith(".tmp")).map((f) => rm(join(dir, f), { force: true })));
    const steps = plan(
      all.filter((f) => !f.endsWith(".tmp")),
      this.#o.maxFiles,
    );
    await Promise.all(steps.remove.map((f) => rm(join(dir, f), { force: true })));
    for (const f of steps.compress) await compress(join(dir, f));
    const rotated = `${path}.${stamp(new Date())}`;
    await rename(path, rotated);
    try {
      await this.#o.cri.runtime.reopenContainerLog({ containerId });
    } catch (error) {
      // The runtime still writes to the file that was renamed: it has to keep its name.
      await rename(rotated, path);
      throw error;
    }
  }
}
