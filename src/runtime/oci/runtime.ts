// Drives an OCI runtime by its command line (runc and crun share it).
import { closeSync, constants, existsSync, openSync, readSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { cgroups } from "../../platform/cgroup.ts";
import { alive, mustRun, type ProcessId, run } from "../../platform/process.ts";
import type { OciResources } from "./types.ts";

/** Milliseconds that a command of the runtime may take. */
const TIMEOUT = 60_000;

/** Runtimes in order of preference; crun refuses hybrid and v1 layouts, so it comes in with v2 only. */
export function findOciRuntime(): string {
  const wanted = cgroups().version === 2 ? ["crun", "runc"] : ["runc"];
  for (const name of wanted) {
    const path = Bun.which(name, { PATH: `${process.env.PATH ?? ""}:/usr/sbin:/usr/local/sbin` });
    if (path !== null) return path;
  }
  throw new Error(`no OCI runtime found: install the Debian package runc`);
}

/** What the runtime wrote last to its log, which is what it means to say. */
export function lastMessage(output: string): string {
  const lines = output.trim().split("\n");
  for (const line of lines.reverse()) {
    const quoted = /msg="((?:[^"\\]|\\.)*)"/.exec(line)?.[1];
    if (quoted !== undefined) return JSON.parse(`"${quoted}"`) as string;
    if (line.trim() !== "") return line.trim();
  }
  return "";
}

export class OciRuntime {
  readonly path: string;
  readonly root: string;
  readonly #fast: boolean;

  constructor(path: string, root: string) {
    this.path = path;
    this.root = root;
    this.#fast = path.endsWith("/runc");
  }

  /** Flags before the command. */
  get globals(): string[] {
    return ["--root", this.root];
  }

  command(...args: string[]): string[] {
    return [this.path, ...this.globals, ...args];
  }

  /** Lets a created container's process run. */
  async start(id: string, init: ProcessId): Promise<void> {
    const fifo = join(this.root, id, "exec.fifo");
    if (!this.#fast || !existsSync(fifo)) {
      await mustRun(this.command("start", id), { timeout: TIMEOUT });
      return;
    }
    // `runc start` is no more than this: the container's first process waits in
    // open(2) for a reader of the pipe, and writes a byte before it goes on.
    const fd = openSync(fifo, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      const byte = Buffer.alloc(1);
      for (;;) {
        // Asked before the read: a program that ends at once has left its byte by then.
        const ended = !alive(init);
        let n = 0;
        try {
          n = readSync(fd, byte);
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code !== "EAGAIN") throw error;
        }
        if (n > 0) break;
        if (ended) throw new Error("cannot start an already stopped container");
        await delay(1);
      }
      // Its absence is how runc tells a running container from a created one.
      rmSync(fifo, { force: true });
    } finally {
      closeSync(fd);
    }
  }

  /** Whether a container's process has been let run. */
  isStarted(id: string): boolean {
    return existsSync(join(this.root, id)) && !existsSync(join(this.root, id, "exec.fifo"));
  }

  /** Removes what the runtime keeps of a container, killing what runs. Fine if there is nothing. */
  async delete(id: string): Promise<void> {
    if (!existsSync(join(this.root, id))) return;
    const { code, stdout, stderr } = await run(this.command("delete", "--force", id), { timeout: TIMEOUT });
    if (code !== 0 && existsSync(join(this.root, id))) throw new Error(lastMessage(stderr || stdout));
  }

  async update(id: string, resources: OciResources): Promise<void> {
    const { code, stdout, stderr } = await run(this.command("update", "--resources", "-", id), {
      input: JSON.stringify(resources),
      timeout: TIMEOUT,
    });
    if (code !== 0) throw new Error(lastMessage(stderr || stdout));
  }

  async version(): Promise<string> {
    const { stdout } = await run([this.path, "--version"], { timeout: TIMEOUT });
    return /version (\S+)/.exec(stdout)?.[1] ?? "unknown";
  }
}
