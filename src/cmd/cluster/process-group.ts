// Processes of a cluster beside the main one: each is started again when it
// ends, and found after a crash by its command line.
import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, existsSync, mkdirSync, openSync, readdirSync, readFileSync } from "node:fs";
import { dirname } from "node:path";
import { writeAtomic } from "../../platform/files.ts";
import { logger } from "../../platform/log.ts";
import { alive, identify, type ProcessId, signal } from "../../platform/process.ts";
import { VERSION } from "../../platform/version.ts";
import { type ComponentStatus, fetchComponents } from "./control.ts";
import type { DetachedMessage } from "./progress.ts";
import { selfCommand } from "./self.ts";
import type { DataDir } from "./state.ts";

const log = logger("kubun");
/** Milliseconds that a process has to end by itself. */
const GRACE = 10_000;
/** Milliseconds after which a process that ended counts as one that had worked. */
export const SETTLED = 30_000;
/** Milliseconds between two looks at a process that is not a child. */
const FOLLOW = 100;

/** Milliseconds before a process is started again, the n-th time in a row. */
export const restartDelay = (failures: number): number => Math.min(100 * 2 ** failures, 30_000);

const dataDirFlag = (dir: DataDir) => `--data-dir=${dir.path}`;

/** The commands that run such processes: `kubun node --data-dir=… --index=…`. */
export type GroupCommand = "node" | "control-plane" | "balancer";

/** What a process is told, and where it reads that. */
export interface Settings {
  file: string;
  content: object;
}

/** What the last process was told, or undefined where there was none. */
export function readSettings<T>(file: string): T | undefined {
  return existsSync(file) ? (JSON.parse(readFileSync(file, "utf8")) as T) : undefined;
}

export interface ProcessGroupOptions {
  dir: DataDir;
  command: GroupCommand;
  indexes: readonly number[];
  /** What people call one of them. */
  name(index: number): string;
  /** What stands in front of its command, such as what puts it into a network. */
  inside(index: number): string[];
  /** Folder of its socket. */
  runDir(index: number): string;
  /** Below the data directory. */
  logFile(index: number): string;
  verbosity: number;
  /** Written before it starts. A process that was told the same may be gone on with. */
  settings(index: number): Settings;
  /** Called before it starts, also before it starts again. */
  prepare(index: number): void;
}

interface Child {
  /** Undefined where it could not even be started. */
  process: ProcessId | undefined;
  since: number;
  /** Settles once it serves, or ended before. */
  serving: PromiseWithResolvers<void>;
  /** Why it could not start, as it says itself. */
  failure?: string;
}

export class ProcessGroup {
  readonly #options: ProcessGroupOptions;
  readonly #children = new Map<number, Child>();
  readonly #failures = new Map<number, number>();
  readonly #restarts = new Map<number, ReturnType<typeof setTimeout>>();
  #stopping = false;

  constructor(options: ProcessGroupOptions) {
    this.#options = options;
  }

  /** Starts one that was not adopted; resolves once it serves, rejects when it can't. */
  start(index: number): Promise<void> {
    return (this.#children.get(index) ?? this.#spawn(index)).serving.promise;
  }

  /**
   * Goes on with a process that an earlier main process left, if it is of this
   * version, was told the same and answers; ends it otherwise.
   */
  async adopt(index: number): Promise<boolean> {
    const { dir, command, runDir, settings } = this.#options;
    const found = processesOf(dir, command).filter((p) => p.index === index);
    const [first] = found;
    if (!first) return false;
    const { file, content } = settings(index);
    const same = existsSync(file) && readFileSync(file, "utf8") === JSON.stringify(content);
    const rows = same && found.length === 1 ? await fetchComponents(runDir(index)).catch(() => []) : [];
    if (!rows.some((row) => row.version === VERSION && row.pid === first.process.pid)) {
      await endProcesses(found.map((p) => p.process));
      return false;
    }
    const child: Child = { process: first.process, since: performance.now(), serving: Promise.withResolvers() };
    child.serving.resolve();
    this.#children.set(index, child);
    void this.#follow(index, child, first.process);
    return true;
  }

  /** It is not our child, so the kernel does not tell us of its end. */
  async #follow(index: number, child: Child, process: ProcessId): Promise<void> {
    while (alive(process)) await Bun.sleep(FOLLOW);
    this.#ended(index, child, "ended");
  }

  notReady(): string | undefined {
    const { indexes, name } = this.#options;
    const missing = indexes.filter((index) => !this.#children.has(index)).map(name);
    return missing.length > 0 ? `ended and about to be started again: ${missing.join(", ")}` : undefined;
  }

  /** Components of every process, or what keeps one from telling. */
  async components(of = this.#options.indexes): Promise<ComponentStatus[]> {
    const { command, name, runDir } = this.#options;
    const rows = await Promise.all(
      of.map(async (index) => {
        const node = name(index);
        try {
          return (await fetchComponents(runDir(index))).map((row) => ({ ...row, node }));
        } catch (e) {
          const pid = this.#children.get(index)?.process?.pid;
          const message = pid ? `does not answer: ${(e as Error).message}` : "is being started again";
          return [{ name: command, node, healthy: false, message, version: "", address: "", pid: pid ?? 0, memory: 0 }];
        }
      }),
    );
    return rows.flat();
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    for (const timer of this.#restarts.values()) clearTimeout(timer);
    await endProcesses([...this.#children.values()].flatMap((c) => c.process ?? []));
  }

  #spawn(index: number): Child {
    const { dir, command, name, inside, runDir, logFile, verbosity, settings, prepare } = this.#options;
    mkdirSync(runDir(index), { recursive: true, mode: 0o711 });
    const told = settings(index);
    writeAtomic(told.file, JSON.stringify(told.content));
    prepare(index);
    const file = dir.file(logFile(index));
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
    const output = openSync(file, "a", 0o600);
    const [program, ...args] = [...inside(index), ...selfCommand(command, dataDirFlag(dir), `--index=${index}`, `--v=${verbosity}`)];
    const process = spawn(program!, args, { stdio: ["ignore", "pipe", output], detached: true });
    const child: Child = {
      process: process.pid === undefined ? undefined : identify(process.pid),
      since: performance.now(),
      serving: Promise.withResolvers(),
    };
    closeSync(output);
    // Whoever waits for it hears of a failure; a restart, for which nobody waits, is logged below.
    child.serving.promise.catch(() => {});
    this.#children.set(index, child);
    readMessages(process, child);
    process.on("exit", (code, signal) => {
      const why = child.failure ?? `ended with ${signal ?? `exit code ${code}`}`;
      child.serving.reject(new Error(`${[command, name(index)].join(" ").trim()} could not start: ${why} (log: ${file})`));
      this.#ended(index, child, why);
    });
    return child;
  }

  #ended(index: number, child: Child, why: string): void {
    this.#children.delete(index);
    if (!this.#stopping) this.#startAgain(index, child, why);
  }

  #startAgain(index: number, child: Child, why: string): void {
    const failures = performance.now() - child.since > SETTLED ? 0 : (this.#failures.get(index) ?? 0);
    this.#failures.set(index, failures + 1);
    const delay = restartDelay(failures);
    const { command, name } = this.#options;
    log.warn("A process ended; starting it again", { command, name: name(index), why, milliseconds: delay });
    this.#restarts.set(
      index,
      setTimeout(() => this.#spawn(index), delay),
    );
  }
}

/** Follows what a process tells while it starts. */
function readMessages(process: ChildProcess, child: Child): void {
  let buffered = "";
  process.stdout!.on("data", (chunk: Buffer) => {
    const lines = (buffered + chunk).split("\n");
    buffered = lines.pop()!;
    for (const line of lines) {
      const message = JSON.parse(line) as DetachedMessage;
      if (message.type === "ready") child.serving.resolve();
      else if (message.type === "failed") child.failure = message.message;
    }
  });
}

/** Processes of a cluster, whoever started them, by their command lines. */
function processesOf(dir: DataDir, command: GroupCommand): { process: ProcessId; index: number }[] {
  return readdirSync("/proc").flatMap((pid) => {
    if (!/^\d+$/.test(pid)) return [];
    try {
      const args = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
      const at = args.indexOf(dataDirFlag(dir));
      const index = /^--index=(\d+)$/.exec(args[at + 1] ?? "")?.[1];
      const process = identify(Number(pid));
      return at > 0 && args[at - 1] === command && index && process ? [{ process, index: Number(index) }] : [];
    } catch (e) {
      // It ended meanwhile.
      if (["ENOENT", "ESRCH"].includes((e as NodeJS.ErrnoException).code ?? "")) return [];
      throw e;
    }
  });
}

async function endProcesses(list: readonly ProcessId[]): Promise<void> {
  for (const process of list) {
    signal(process, "SIGTERM");
    // One that was stopped hears of its end only when it goes on.
    signal(process, "SIGCONT");
  }
  const deadline = Date.now() + GRACE;
  while (list.some(alive) && Date.now() < deadline) await Bun.sleep(10);
  for (const process of list) signal(process, "SIGKILL");
  while (list.some(alive)) await Bun.sleep(10);
}

/** Ends such processes of a cluster whose main process is gone: all, or those from index `from` on. */
export const endGroup = (dir: DataDir, command: GroupCommand, from = 0): Promise<void> =>
  endProcesses(processesOf(dir, command).flatMap(({ process, index }) => (index >= from ? [process] : [])));
