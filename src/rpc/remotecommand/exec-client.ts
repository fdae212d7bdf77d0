// The client's side of exec and attach, over SPDY.
import { SpdyConnection, type SpdyStream } from "../spdy/connection.ts";
import { type DialTarget, dialUpgrade } from "./dial.ts";
import type { Carrier, StreamType } from "./exec-server.ts";
import {
  decodeStatus,
  type ExecStreams,
  encodeSize,
  failureStatus,
  SPDY_EXEC_PROTOCOLS,
  type Status,
  type TerminalSize,
} from "./protocol.ts";

/** A command that runs elsewhere. */
export interface RemoteCommand {
  readonly stdin: { write(data: Uint8Array): Promise<void> | undefined; end(): void } | undefined;
  readonly stdout: AsyncIterable<Uint8Array> | undefined;
  readonly stderr: AsyncIterable<Uint8Array> | undefined;
  resize(size: TerminalSize): void;
  /** How it ended (exitCode reads it); a failure too where the connection broke off. */
  readonly status: Promise<Status>;
  close(): void;
}

/** Runs the command that the URL names. Throws UpgradeRefused, or what the socket says. */
export async function dialExec(target: DialTarget, streams: ExecStreams): Promise<RemoteCommand> {
  const carrier = await dialCarrier(target, streams);
  const { stdin, stdout, stderr, resize, error } = carrier.streams;
  const status = async (): Promise<Status> => {
    const decoder = new TextDecoder();
    let text = "";
    try {
      for await (const chunk of error!.readable) text += decoder.decode(chunk, { stream: true });
    } catch (cause) {
      return failureStatus(`error reading the error stream: ${(cause as Error).message}`);
    }
    return decodeStatus(carrier.protocol, text);
  };
  return {
    stdin,
    stdout: stdout?.readable,
    stderr: stderr?.readable,
    resize: (size) => void resize?.write(encodeSize(size)),
    status: status(),
    close: carrier.close,
  };
}

/** The same, with the streams as they are. */
export async function dialCarrier(target: DialTarget, wanted: ExecStreams): Promise<Carrier> {
  const { head, channel } = await dialUpgrade(target, [
    ["Upgrade", "SPDY/3.1"],
    ...SPDY_EXEC_PROTOCOLS.map((name) => ["X-Stream-Protocol-Version", name] as const),
  ]);
  const protocol = head.headers["x-stream-protocol-version"] ?? SPDY_EXEC_PROTOCOLS.at(-1)!;
  const closed = Promise.withResolvers<void>();
  const connection = new SpdyConnection("client", channel, { closed: () => closed.resolve() });
  const resizes = wanted.tty && /^v[34]\./.test(protocol);
  const streams: Partial<Record<StreamType, SpdyStream>> = {};
  for (const type of ["error", "stdin", "stdout", "stderr", "resize"] as const) {
    if (type === "error" || (type === "resize" ? resizes : wanted[type])) streams[type] = connection.open({ streamtype: type });
  }
  try {
    await Promise.all(Object.values(streams).map((stream) => stream.accepted));
  } catch (error) {
    connection.destroy();
    throw error;
  }
  return { protocol, streams, closed: closed.promise, close: () => connection.close() };
}
