// Processes that may outlive us, told apart from later ones with the same pid.
import { readFileSync } from "node:fs";

/** A process by pid and start time, which together are unique until the machine boots again. */
export interface ProcessId {
  pid: number;
  /** Clock ticks since boot (proc(5), /proc/pid/stat field 22). */
  start: string;
}

function stat(pid: number): string[] | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "latin1");
    // The command stands in parentheses and may hold anything, so fields count from the last one.
    return text.slice(text.lastIndexOf(")") + 2).split(" ");
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === "ENOENT" || code === "ESRCH") return undefined;
    throw error;
  }
}

/** The process that has this pid now, if any that has not ended, whether or not its parent has heard of it. */
export function identify(pid: number): ProcessId | undefined {
  const fields = stat(pid);
  return fields === undefined || hasEnded(fields) ? undefined : { pid, start: fields[19] ?? "" };
}

/** The first thread is a zombie before the others have ended, which hold the process's files until then, as in an fdatasync under way. */
const hasEnded = ({ 0: state, 17: threads }: string[]) => state === "X" || (state === "Z" && Number(threads) <= 1);

/** Whether exactly this process still runs. */
export function alive(id: ProcessId): boolean {
  return identify(id.pid)?.start === id.start;
}

/** Sends a signal to exactly this process; false if it is gone. */
export function signal(id: ProcessId, name: NodeJS.Signals | number): boolean {
  if (!alive(id)) return false;
  try {
    process.kill(id.pid, name);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ESRCH") return false;
    throw error;
  }
}

let boot: string | undefined;

/** Changes with each boot of the machine. */
export function bootId(): string {
  boot ??= readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  return boot;
}

export interface RunResult {
  code: number;
  stdout: string;
  stderr: string;
}

export interface RunOptions {
  input?: string | Uint8Array;
  env?: Record<string, string | undefined>;
  cwd?: string;
  /** Milliseconds until it is killed. */
  timeout?: number;
}

/** Runs a program to its end. Rejects only if it can't be started. */
export async function run(argv: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  const input = typeof options.input === "string" ? Buffer.from(options.input) : options.input;
  const child = Bun.spawn([...argv], {
    stdin: input ?? "ignore",
    stdout: "pipe",
    stderr: "pipe",
    env: options.env ?? process.env,
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    ...(options.timeout === undefined ? {} : { timeout: options.timeout, killSignal: "SIGKILL" }),
  });
  const [stdout, stderr, code] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text(), child.exited]);
  return { code, stdout, stderr };
}

/** Runs a program that has to succeed; the error holds what it said. */
export async function mustRun(argv: readonly string[], options: RunOptions = {}): Promise<string> {
  const { code, stdout, stderr } = await run(argv, options);
  if (code !== 0) throw new Error(`${argv.slice(0, 3).join(" ")}: exit code ${code}: ${(stderr || stdout).trim()}`);
  return stdout;
}
