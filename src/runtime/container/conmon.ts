// conmon watches one container: it holds its standard streams, writes its log
// in the CRI format and its exit code to a file, and lives on without us.
import { closeSync, constants, existsSync, openSync, readFileSync, writeSync } from "node:fs";
import net from "node:net";
import { join } from "node:path";
import { connectSeqpacket } from "../../platform/ffi.ts";
import { lastMessage, type OciRuntime } from "../oci/runtime.ts";

export interface ConmonOptions {
  id: string;
  /** Holds config.json; conmon's pipes and its attach socket go there too. */
  bundle: string;
  exitDir: string;
  logPath?: string;
  terminal: boolean;
  stdin: boolean;
  /** Closes the container's input when the first client that attached leaves. */
  stdinOnce: boolean;
  runtime: OciRuntime;
}

export const pidFile = (bundle: string): string => join(bundle, "pid");
export const conmonPidFile = (bundle: string): string => join(bundle, "conmon.pid");

let conmonPath: string | undefined;

function findConmon(): string {
  conmonPath ??= Bun.which("conmon", { PATH: `${process.env.PATH ?? ""}:/usr/libexec/podman:/usr/local/sbin:/usr/sbin` }) ?? undefined;
  if (conmonPath === undefined) throw new Error("conmon not found: install the Debian package conmon");
  return conmonPath;
}

/** A container that the OCI runtime wouldn't create. */
export class CreateError extends Error {
  override name = "CreateError";
}

/** Creates the container under a new conmon; returns the pid of its first process, which waits to be started. */
export async function createUnderConmon(options: ConmonOptions): Promise<number> {
  const { id, bundle, runtime } = options;
  const log = join(bundle, "conmon.log");
  const argv = [
    ...[findConmon(), "--api-version", "1", "-c", id, "-u", id, "-n", id, "-b", bundle],
    ...["-r", runtime.path, ...runtime.globals.flatMap((arg) => ["--runtime-arg", arg])],
    ...["-p", pidFile(bundle), "-P", conmonPidFile(bundle), "--exit-dir", options.exitDir, "--persist-dir", bundle],
    ...["-l", options.logPath === undefined ? "none" : `k8s-file:${options.logPath}`, "--full-attach", "--no-sync-log"],
    ...(options.terminal ? ["-t"] : []),
    ...(options.stdin ? ["-i"] : []),
    ...(options.stdin && !options.stdinOnce ? ["--leave-stdin-open"] : []),
  ];
  const stderr = openSync(log, "a", 0o600);
  let channel: number;
  try {
    const child = Bun.spawn(argv, {
      stdio: ["ignore", "ignore", stderr, "socket-fd"],
      cwd: bundle,
      env: { PATH: process.env.PATH ?? "/usr/sbin:/usr/bin:/sbin:/bin", _OCI_SYNCPIPE: "3" },
    });
    child.unref();
    channel = child.stdio[3] as number;
  } finally {
    closeSync(stderr);
  }
  const answer = await readAll(channel);
  const { data, message } = parseAnswer(answer);
  if (data !== undefined && data > 0) return data;
  const said = message ?? (existsSync(log) ? readFileSync(log, "utf8") : "");
  throw new CreateError(lastMessage(said) || "conmon ended before the container was created");
}

function parseAnswer(text: string): { data?: number; message?: string } {
  try {
    return JSON.parse(text.split("\n").find((line) => line !== "") ?? "{}") as { data?: number; message?: string };
  } catch (error) {
    throw new CreateError(`conmon's answer is not JSON: ${text.slice(0, 200)}`, { cause: error });
  }
}

/** Reads up to the first whole line: conmon keeps the channel open while the container runs. */
function readAll(fd: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = net.connect({ fd } as unknown as net.NetConnectOpts);
    let text = "";
    socket.on("data", (chunk: Buffer) => {
      text += chunk.toString();
      if (text.includes("\n")) socket.destroy();
    });
    socket.on("error", reject);
    socket.on("close", () => resolve(text));
  });
}

/** Streams of an attached container, as conmon marks each packet. */
export const STDOUT = 2;
export const STDERR = 3;

/** Connects to a container's standard streams. The caller owns the descriptor. */
export function connectAttach(bundle: string): number {
  const path = join(bundle, "attach");
  if (Buffer.byteLength(path) <= 107) return connectSeqpacket(path);
  const dir = openSync(bundle, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    return connectSeqpacket(`/proc/self/fd/${dir}/attach`);
  } finally {
    closeSync(dir);
  }
}

const RESIZE = 1;
const REOPEN = 2;

function control(bundle: string, kind: number, a: number, b: number): void {
  const fd = openSync(join(bundle, "ctl"), constants.O_WRONLY | constants.O_NONBLOCK);
  try {
    writeSync(fd, `${kind} ${a} ${b}\n`);
  } finally {
    closeSync(fd);
  }
}

/** Tells the container's terminal its size in characters, at most 1000 each. */
export const resizeTerminal = (bundle: string, height: number, width: number): void =>
  control(bundle, RESIZE, Math.min(height, 1000), Math.min(width, 1000));

/** Makes conmon open the log file anew, after it was renamed. Throws ENXIO if conmon is gone. */
export const reopenLog = (bundle: string): void => control(bundle, REOPEN, 0, 0);
