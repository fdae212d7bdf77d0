// Learns of ends of containers from the files that conmon writes, at once by
// inotify; the files stay, so an end while we were away is found too.
import { type FSWatcher, mkdirSync, readFileSync, rmSync, statSync, watch } from "node:fs";
import { join } from "node:path";

export interface ExitFile {
  code: number;
  /** Nanoseconds since 1970. */
  at: bigint;
}

export class ExitWatcher {
  readonly #dir: string;
  readonly #onExit: (id: string) => void;
  #watcher: FSWatcher | undefined;

  /** `onExit` may be called more than once for a container. */
  constructor(dir: string, onExit: (id: string) => void) {
    this.#dir = dir;
    this.#onExit = onExit;
  }

  start(): void {
    mkdirSync(this.#dir, { recursive: true, mode: 0o711 });
    // conmon writes beside the file and renames, so names with a suffix pass by.
    this.#watcher = watch(this.#dir, (_, name) => {
      if (name !== null && /^[0-9a-f]{64}$/.test(name)) this.#onExit(name);
    });
  }

  stop(): void {
    this.#watcher?.close();
    this.#watcher = undefined;
  }

  read(id: string): ExitFile | undefined {
    const path = join(this.#dir, id);
    try {
      const text = readFileSync(path, "utf8").trim();
      if (!/^-?\d+$/.test(text)) return undefined;
      return { code: Number(text), at: statSync(path, { bigint: true }).mtimeNs };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
      throw error;
    }
  }

  forget(id: string): void {
    rmSync(join(this.#dir, id), { force: true });
  }
}
