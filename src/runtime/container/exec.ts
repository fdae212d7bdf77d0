// Commands inside running containers. The OCI runtime stays as our child for
// as long as the command runs, so the session ends with us; the container doesn't.
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { identify, signal } from "../../platform/process.ts";
import { Code, RpcError } from "../../rpc/types.ts";
import { newId } from "../ids.ts";
import { lastMessage, type OciRuntime } from "../oci/runtime.ts";
import type { OciProcess, OciSpec } from "../oci/types.ts";

export interface ExecTarget {
  id: string;
  /** Folder for what the session needs while it runs. */
  bundle: string;
  spec: OciSpec;
  runtime: OciRuntime;
}

export interface Session {
  /** Command line that runs it. */
  argv: string[];
  /** Kills the command itself, not only what leads to it. */
  kill(): void;
  /** Says whether the command could not be started at all, and why. */
  failure(code: number): string | undefined;
  cleanup(): void;
}

/** Prepares a command: the container's own process, with other arguments. */
export function prepareExec(target: ExecTarget, cmd: readonly string[], tty: boolean): Session {
  if (cmd.length === 0) throw new RpcError(Code.InvalidArgument, "exec needs a command");
  const dir = join(target.bundle, `exec-${newId().slice(0, 16)}`);
  mkdirSync(dir, { mode: 0o700 });
  const env = tty && !target.spec.process.env.some((e) => e.startsWith("TERM=")) ? [...target.spec.process.env, "TERM=xterm"] : undefined;
  const process: OciProcess = { ...target.spec.process, args: [...cmd], terminal: tty, ...(env === undefined ? {} : { env }) };
  const pidFile = join(dir, "pid");
  const log = join(dir, "log");
  writeFileSync(join(dir, "process.json"), JSON.stringify(process));
  const { runtime } = target;
  return {
    argv: [
      runtime.path,
      ...[...runtime.globals, "--log", log],
      ...["exec", "--process", join(dir, "process.json"), "--pid-file", pidFile, target.id],
    ],
    kill() {
      const found = identify(Number(readOr(pidFile, "NaN")));
      if (found !== undefined) signal(found, "SIGKILL");
    },
    failure(code) {
      // A command that ran has left its pid; the runtime's log tells of those that didn't.
      if (code === 0 || readOr(pidFile, "") !== "") return undefined;
      return lastMessage(readOr(log, "")) || `exec failed with exit code ${code}`;
    },
    cleanup: () => rmSync(dir, { recursive: true, force: true }),
  };
}

function readOr(path: string, fallback: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return fallback;
    throw error;
  }
}

export interface ExecResult {
  stdout: Uint8Array;
  stderr: Uint8Array;
  exitCode: number;
}

/** What one stream of a command's output is cut to, in bytes; the kubelet's own limit. */
const MAX_OUTPUT = 16 << 20;

async function collect(stream: ReadableStream<Uint8Array>): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of stream) {
    if (size < MAX_OUTPUT) chunks.push(chunk.subarray(0, MAX_OUTPUT - size));
    size += chunk.length;
  }
  return Buffer.concat(chunks);
}

/** Runs a command to its end. `timeout` in milliseconds, 0 for none. @throws RpcError DeadlineExceeded. */
export async function execSync(target: ExecTarget, cmd: readonly string[], timeout: number): Promise<ExecResult> {
  const session = prepareExec(target, cmd, false);
  let timedOut = false;
  try {
    const child = Bun.spawn(session.argv, { stdin: "ignore", stdout: "pipe", stderr: "pipe" });
    const timer =
      timeout > 0
        ? setTimeout(() => {
            timedOut = true;
            session.kill();
            // What the command left behind may hold the pipes open for ever.
            child.kill("SIGKILL");
          }, timeout)
        : undefined;
    const [stdout, stderr, exitCode] = await Promise.all([collect(child.stdout), collect(child.stderr), child.exited]);
    clearTimeout(timer);
    if (timedOut) {
      throw new RpcError(
        Code.DeadlineExceeded,
        `failed to exec in container: timeout ${timeout / 1000}s exceeded: context deadline exceeded`,
      );
    }
    const failure = session.failure(exitCode);
    if (failure !== undefined)
      throw new RpcError(Code.Unknown, `failed to exec in container: OCI runtime exec failed: ${failure}: unknown`);
    return { stdout, stderr, exitCode };
  } finally {
    session.cleanup();
  }
}
