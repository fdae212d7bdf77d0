// The server's side of exec and attach, over WebSocket or SPDY.
import { SpdyConnection, type SpdyStream } from "../spdy/connection.ts";
import { acceptSpdy, acceptWebSocket, kindOf, refuse, type Upgrade, websocketProtocol } from "./accept.ts";
import type { ByteStream } from "./bytes.ts";
import { WebSocketChannels } from "./channels.ts";
import {
  type ExecStreams,
  encodeStatus,
  SPDY_EXEC_PROTOCOLS,
  STREAM_TIMEOUT,
  type Status,
  type TerminalSize,
  terminalSizes,
  WEBSOCKET_EXEC_PROTOCOLS,
} from "./protocol.ts";

/** Where a command's output goes. */
export interface Sink {
  /** Returns a promise where the caller should wait before it writes more. */
  write(data: Uint8Array): Promise<void> | undefined;
  end(): void;
}

/** A client that runs a command, or attaches to one. */
export interface ExecSession {
  readonly protocol: string;
  /** Ends when the client closes its half, or goes. */
  readonly stdin: AsyncIterable<Uint8Array> | undefined;
  readonly stdout: Sink | undefined;
  readonly stderr: Sink | undefined;
  /** Sizes of the client's terminal; ends with the client. */
  readonly resize: AsyncIterable<TerminalSize> | undefined;
  /** Aborts when the client goes before finish(). */
  readonly signal: AbortSignal;
  /** Tells how it ended (exitStatus, failureStatus) and closes, after all output. */
  finish(status: Status): void;
}

/** The streams of a command under their names, from whatever carries them. */
export interface Carrier {
  readonly protocol: string;
  readonly streams: Partial<Record<StreamType, ByteStream>>;
  /** Resolves when the client has gone. */
  readonly closed: Promise<void>;
  /** Ends the connection, after all that was written. */
  close(): void;
}

export type StreamType = "stdin" | "stdout" | "stderr" | "error" | "resize";
const CHANNELS: readonly StreamType[] = ["stdin", "stdout", "stderr", "error", "resize"];

/**
 * Accepts an upgrade for a command with such streams.
 * @returns undefined when the request could not be accepted and was answered so
 */
export async function acceptExec(upgrade: Upgrade, streams: ExecStreams): Promise<ExecSession | undefined> {
  const carrier = await acceptCarrier(upgrade, streams);
  return carrier && session(carrier);
}

/** Accepts an upgrade and gives its streams as they are. */
export async function acceptCarrier(upgrade: Upgrade, streams: ExecStreams): Promise<Carrier | undefined> {
  if (!streams.stdin && !streams.stdout && !streams.stderr) {
    refuse(upgrade, 400, "you must specify at least 1 of stdin, stdout, stderr");
    return undefined;
  }
  const kind = kindOf(upgrade);
  if (kind === "websocket") return overWebSocket(upgrade, streams);
  if (kind === "spdy") return overSpdy(upgrade, streams);
  refuse(upgrade, 400, "Upgrade request required");
  return undefined;
}

function overWebSocket(upgrade: Upgrade, wanted: ExecStreams): Carrier | undefined {
  const protocol = websocketProtocol(upgrade, WEBSOCKET_EXEC_PROTOCOLS);
  if (!protocol) {
    refuse(upgrade, 403, `unable to upgrade: the server accepts ${WEBSOCKET_EXEC_PROTOCOLS.join(", ")}`);
    return undefined;
  }
  const socket = acceptWebSocket(upgrade, protocol);
  if (!socket) return undefined;
  const { promise: closed, resolve } = Promise.withResolvers<void>();
  const channels = new WebSocketChannels(socket, protocol, [0, 1, 2, 3, 4], () => resolve());
  const types = CHANNELS.filter((type) => type === "error" || (type === "resize" ? wanted.tty : wanted[type]));
  const streams = Object.fromEntries(types.map((type) => [type, channels.get(CHANNELS.indexOf(type))!]));
  // An empty message tells the client that it is connected before there is output.
  (streams.stdout ?? streams.stderr ?? streams.error!).write(new Uint8Array(0));
  return { protocol, streams, closed, close: () => channels.close() };
}

async function overSpdy(upgrade: Upgrade, wanted: ExecStreams): Promise<Carrier | undefined> {
  const accepted = acceptSpdy(upgrade, SPDY_EXEC_PROTOCOLS);
  if (!accepted) return undefined;
  const { protocol, channel } = accepted;
  const resizes = wanted.tty && /^v[34]\./.test(protocol);
  const missing = new Set(CHANNELS.filter((type) => type === "error" || (type === "resize" ? resizes : wanted[type])));
  const streams: Carrier["streams"] = {};
  const complete = Promise.withResolvers<void>();
  const closed = Promise.withResolvers<void>();
  const connection = new SpdyConnection("server", channel, {
    stream(stream: SpdyStream) {
      const type = stream.headers.streamtype as StreamType;
      if (!missing.delete(type)) return stream.reset();
      streams[type] = stream;
      stream.accept();
      if (missing.size === 0) complete.resolve();
    },
    closed() {
      complete.reject(new Error("the client has gone"));
      closed.resolve();
    },
  });
  const late = setTimeout(() => complete.reject(new Error("timed out waiting for client to create streams")), STREAM_TIMEOUT);
  try {
    await complete.promise;
  } catch {
    // There is nobody to tell: without its streams the client hears nothing but the end.
    connection.destroy();
    return undefined;
  } finally {
    clearTimeout(late);
  }
  return { protocol, streams, closed: closed.promise, close: () => connection.close() };
}

/** Reads to the end. A client that breaks off ends it too: the session's signal tells of that. */
async function* toEnd<T>(readable: AsyncIterable<T>): AsyncGenerator<T> {
  const iterator = readable[Symbol.asyncIterator]();
  const next = () => iterator.next().catch((): IteratorResult<T> => ({ value: undefined, done: true }));
  try {
    for (let item = await next(); !item.done; item = await next()) yield item.value;
  } finally {
    await iterator.return?.();
  }
}

function session({ protocol, streams, closed, close }: Carrier): ExecSession {
  const gone = new AbortController();
  let finished = false;
  closed.then(() => {
    if (!finished) gone.abort(new Error("the client has gone"));
  });
  return {
    protocol,
    stdin: streams.stdin && toEnd(streams.stdin.readable),
    stdout: streams.stdout,
    stderr: streams.stderr,
    resize: streams.resize && toEnd(terminalSizes(streams.resize.readable)),
    signal: gone.signal,
    finish(status) {
      if (finished) return;
      finished = true;
      streams.stdout?.end();
      streams.stderr?.end();
      const text = encodeStatus(protocol, status);
      if (text.length > 0) streams.error?.write(text);
      streams.error?.end();
      close();
    },
  };
}
