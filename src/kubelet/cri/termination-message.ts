// What a container left as its last words: the file it may write, or the end
// of its log (Kubernetes documentation, "Determine the Reason for Pod Failure").
import { open } from "node:fs/promises";
import type * as pb from "../../rpc/gen/cri/runtime_pb.ts";
import { containerInfo } from "../pod/labels.ts";
import { parseLogLine } from "../server/log-format.ts";

const maxFile = 4096;
const maxLog = 2048;
const maxLogLines = 80;

async function tail(path: string, size: number): Promise<string> {
  try {
    await using file = await open(path, "r");
    const { size: length } = await file.stat();
    const buffer = Buffer.alloc(Math.min(size, length));
    const { bytesRead } = await file.read(buffer, 0, buffer.length, Math.max(0, length - size));
    return buffer.subarray(0, bytesRead).toString("utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return "";
    return `Error on reading termination log ${path}: ${(error as Error).message}`;
  }
}

async function logTail(path: string): Promise<string> {
  // Each line carries a prefix of some 40 bytes.
  const text = await tail(path, maxLog + maxLogLines * 48);
  const lines = text.split("\n").filter((l) => l !== "");
  const parsed = lines.map((l) => parseLogLine(Buffer.from(l))).filter((l) => l !== undefined);
  const content = parsed
    .slice(-maxLogLines)
    .map((l) => `${l.content.toString("utf8")}${l.partial ? "" : "\n"}`)
    .join("");
  return content.slice(-maxLog);
}

/** The message of an exited container; `fallback` is what the runtime says. */
export async function terminationMessage(status: pb.ContainerStatus, fallback: string): Promise<string> {
  const info = containerInfo(status.annotations);
  if (info.terminationMessagePath) {
    const mount = status.mounts.find((m) => m.containerPath === info.terminationMessagePath);
    const text = mount ? await tail(mount.hostPath, maxFile) : "";
    if (text !== "") return text;
  }
  if (info.terminationMessagePolicy === "FallbackToLogsOnError" && status.exitCode !== 0 && status.logPath) {
    const text = await logTail(status.logPath);
    if (text !== "") return text;
  }
  return fallback;
}
