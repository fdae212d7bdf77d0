// What both sides of exec, attach and port-forward agree on
// (k8s.io/apimachinery/pkg/util/remotecommand, KEP-4006).
import type * as metaV1 from "../../api/gen/meta/v1.ts";

export type Status = metaV1.Status;

/** Over SPDY, the newest first. v5 exists over WebSocket only. */
export const SPDY_EXEC_PROTOCOLS = ["v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io"];
export const WEBSOCKET_EXEC_PROTOCOLS = [
  "v5.channel.k8s.io",
  "v4.channel.k8s.io",
  "v4.base64.channel.k8s.io",
  "channel.k8s.io",
  "base64.channel.k8s.io",
];
export const PORT_FORWARD_PROTOCOL = "portforward.k8s.io";
/** SPDY in the binary messages of a WebSocket. */
export const PORT_FORWARD_TUNNEL = "SPDY/3.1+portforward.k8s.io";
/** A pair of channels for each port of the query. */
export const PORT_FORWARD_CHANNELS = ["v4.channel.k8s.io", "v4.base64.channel.k8s.io"];

/** Milliseconds that a client has to open its streams. */
export const STREAM_TIMEOUT = 30_000;

export interface TerminalSize {
  width: number;
  height: number;
}

/** Which streams a command has. */
export interface ExecStreams {
  stdin: boolean;
  stdout: boolean;
  stderr: boolean;
  tty: boolean;
}

/** Reads the query of exec and attach, in the apiserver's spelling or the kubelet's (`input`, `output`, `error`). */
export function execStreams(query: URLSearchParams): ExecStreams {
  const on = (...names: string[]) => names.some((name) => !["false", "0"].includes((query.get(name) ?? "0").toLowerCase()));
  const tty = on("tty");
  return { stdin: on("stdin", "input"), stdout: on("stdout", "output"), stderr: on("stderr", "error") && !tty, tty };
}

export const SUCCESS: Status = { metadata: {}, status: "Success" };

/** What the error channel says of a command that ended with another code than 0. */
export function exitStatus(code: number): Status {
  if (code === 0) return SUCCESS;
  return {
    metadata: {},
    status: "Failure",
    message: `command terminated with non-zero exit code: exit status ${code}`,
    reason: "NonZeroExitCode" as Status["reason"],
    details: { causes: [{ reason: "ExitCode" as metaV1.CauseType, message: String(code) }] },
  };
}

export function failureStatus(message: string): Status {
  return { metadata: {}, status: "Failure", message, reason: "InternalError" as Status["reason"], code: 500 };
}

/** The exit code in a status; undefined where it says that the command did not run to its end. */
export function exitCode(status: Status): number | undefined {
  if (status.status === "Success") return 0;
  const cause = status.reason === "NonZeroExitCode" ? status.details?.causes?.find((c) => c.reason === "ExitCode") : undefined;
  return cause ? Number(cause.message) : undefined;
}

/** What goes over the error stream: JSON since v4, before it the message of a failure alone. */
export function encodeStatus(protocol: string, status: Status): Uint8Array {
  const json = /^v[45]\./.test(protocol);
  return new TextEncoder().encode(json ? JSON.stringify(status) : status.status === "Success" ? "" : (status.message ?? "failed"));
}

export function decodeStatus(protocol: string, text: string): Status {
  if (text === "") return SUCCESS;
  if (!/^v[45]\./.test(protocol)) return failureStatus(text);
  try {
    return JSON.parse(text) as Status;
  } catch (cause) {
    return failureStatus(`error stream protocol error: ${(cause as Error).message}: ${text.slice(0, 200)}`);
  }
}

/** Sizes as the resize stream gives them, one JSON object after the other, however cut. */
export async function* terminalSizes(readable: AsyncIterable<Uint8Array>): AsyncGenerator<TerminalSize> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of readable) {
    text += decoder.decode(chunk, { stream: true });
    for (let end = text.indexOf("}"); end >= 0; end = text.indexOf("}")) {
      const size = JSON.parse(text.slice(0, end + 1)) as { Width?: number; Height?: number };
      text = text.slice(end + 1);
      yield { width: size.Width ?? 0, height: size.Height ?? 0 };
    }
  }
}

export const encodeSize = (size: TerminalSize): Uint8Array =>
  new TextEncoder().encode(`${JSON.stringify({ Width: size.width, Height: size.height })}\n`);
