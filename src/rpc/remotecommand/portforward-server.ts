// The server's side of port-forward: SPDY with a pair of streams a connection,
// SPDY tunneled through a WebSocket, or numbered channels of a WebSocket.
import { SpdyConnection, type SpdyStream } from "../spdy/connection.ts";
import { acceptSpdy, acceptWebSocket, kindOf, queryOf, refuse, type Upgrade, websocketProtocol } from "./accept.ts";
import type { ByteChannel, ByteStream } from "./bytes.ts";
import { WebSocketChannels } from "./channels.ts";
import { PORT_FORWARD_CHANNELS, PORT_FORWARD_PROTOCOL, PORT_FORWARD_TUNNEL, STREAM_TIMEOUT } from "./protocol.ts";

/**
 * Carries one connection to a port of the pod, until both halves have ended.
 * What it throws is told to the client.
 */
export type PortHandler = (port: number, stream: ByteStream) => Promise<void>;

/** Accepts an upgrade and forwards until the client goes; returns at once where it answered with an error. */
export async function acceptPortForward(upgrade: Upgrade, handle: PortHandler): Promise<void> {
  const kind = kindOf(upgrade);
  if (kind === "spdy") {
    const accepted = acceptSpdy(upgrade, [PORT_FORWARD_PROTOCOL]);
    return accepted && servePairs(accepted.channel, handle);
  }
  if (kind === "none") return refuse(upgrade, 400, "Upgrade request required");
  const protocol = websocketProtocol(upgrade, [PORT_FORWARD_TUNNEL, ...PORT_FORWARD_CHANNELS]);
  if (protocol === PORT_FORWARD_TUNNEL) {
    const socket = acceptWebSocket(upgrade, protocol);
    if (!socket) return;
    const { TunnelChannel } = await import("./tunnel.ts");
    return servePairs(new TunnelChannel(socket), handle);
  }
  if (!protocol)
    return refuse(upgrade, 403, `unable to upgrade: the server accepts ${[PORT_FORWARD_TUNNEL, ...PORT_FORWARD_CHANNELS].join(", ")}`);
  return serveChannels(upgrade, protocol, handle);
}

interface Pair {
  error?: SpdyStream;
  data?: SpdyStream;
  timer: Timer;
}

const validPort = (port: number) => Number.isInteger(port) && port > 0 && port < 65536;

async function report(run: Promise<void>, port: number, error: ByteStream): Promise<void> {
  try {
    await run;
  } catch (cause) {
    const text = `error forwarding port ${port}: ${cause instanceof Error ? cause.message : cause}`;
    error.write(new TextEncoder().encode(text));
  }
  error.end();
}

function servePairs(channel: ByteChannel, handle: PortHandler): Promise<void> {
  const pairs = new Map<string, Pair>();
  const { promise, resolve } = Promise.withResolvers<void>();
  const forward = async (pair: Required<Pair>) => {
    const port = Number(pair.data.headers.port);
    await report(handle(port, pair.data), port, pair.error);
    pair.data.end();
  };
  new SpdyConnection("server", channel, {
    stream(stream) {
      const { streamtype: type, port } = stream.headers;
      // Clients from before the header open error and data streams one after the other.
      const id = stream.headers.requestid ?? String(type === "data" ? stream.id - 2 : stream.id);
      const pair = pairs.get(id) ?? {
        timer: setTimeout(() => {
          pairs.delete(id);
          pair.error?.reset();
          pair.data?.reset();
        }, STREAM_TIMEOUT),
      };
      if ((type !== "error" && type !== "data") || pair[type] || !validPort(Number(port))) return stream.reset();
      pair[type] = stream;
      pairs.set(id, pair);
      stream.accept();
      if (!pair.error || !pair.data) return;
      pairs.delete(id);
      clearTimeout(pair.timer);
      forward(pair as Required<Pair>);
    },
    closed() {
      for (const pair of pairs.values()) clearTimeout(pair.timer);
      resolve();
    },
  });
  return promise;
}

/** Channels 2i and 2i + 1 are data and errors of the i-th port; the first message of each names the port. */
function serveChannels(upgrade: Upgrade, protocol: string, handle: PortHandler): Promise<void> | undefined {
  const ports = queryOf(upgrade)
    .getAll("ports")
    .flatMap((list) => list.split(","))
    .map(Number);
  if (ports.length === 0 || ports.length > 100 || !ports.every(validPort)) {
    refuse(upgrade, 400, 'query parameter "ports" is required, each a number from 1 to 65535');
    return undefined;
  }
  const socket = acceptWebSocket(upgrade, protocol);
  if (!socket) return undefined;
  const { promise, resolve } = Promise.withResolvers<void>();
  const channels = new WebSocketChannels(
    socket,
    protocol,
    ports.flatMap((_, i) => [2 * i, 2 * i + 1]),
    () => resolve(),
  );
  const forwards = ports.map((port, i) => {
    const [data, error] = [channels.get(2 * i)!, channels.get(2 * i + 1)!];
    const name = Uint8Array.of(port & 0xff, port >>> 8);
    data.write(name);
    error.write(name);
    return report(handle(port, data), port, error);
  });
  Promise.all(forwards).then(() => channels.close());
  return promise;
}
