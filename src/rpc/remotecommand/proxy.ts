// Joins an upgrade on one side to one that is dialled on the other: the
// apiserver to a kubelet, a kubelet to a runtime's streaming server.
import { acceptWebSocket, kindOf, queryOf, refuse, spdyProtocols, type Upgrade, websocketProtocol } from "./accept.ts";
import { type ByteChannel, type ByteStream, copy } from "./bytes.ts";
import { type DialTarget, dialUpgrade, UpgradeRefused } from "./dial.ts";
import { NodeChannel } from "./node.ts";
import { type ExecStreams, execStreams, PORT_FORWARD_CHANNELS, PORT_FORWARD_PROTOCOL, PORT_FORWARD_TUNNEL } from "./protocol.ts";

/**
 * Proxies exec and attach until either side ends. SPDY is copied as it is;
 * a WebSocket is translated to SPDY, as the runtime may know nothing else.
 * A refusal of the target is passed on to the client; where it can't be
 * reached, the answer is a Status with code 500, as upstream gives it.
 */
export async function proxyExec(upgrade: Upgrade, target: DialTarget, streams: ExecStreams = execStreams(queryOf(upgrade))): Promise<void> {
  if (kindOf(upgrade) !== "websocket") return proxySpdy(upgrade, target);
  const { dialCarrier } = await import("./exec-client.ts");
  const far = await dialled(upgrade, target, () => dialCarrier(target, streams));
  if (!far) return;
  const { acceptCarrier } = await import("./exec-server.ts");
  const near = await acceptCarrier(upgrade, streams);
  if (!near) return far.close();
  const pump = (from: ByteStream | undefined, to: ByteStream | undefined) =>
    // Where one side breaks off, `closed` of that side ends the other.
    from && to ? copy(from.readable, to).catch(() => to.end()) : Promise.resolve();
  pump(near.streams.stdin, far.streams.stdin);
  pump(near.streams.resize, far.streams.resize);
  const answers = (["stdout", "stderr", "error"] as const).map((type) => pump(far.streams[type], near.streams[type]));
  await Promise.race([Promise.all(answers), near.closed]);
  near.close();
  far.close();
}

/** Proxies port-forward until either side ends. */
export async function proxyPortForward(upgrade: Upgrade, target: DialTarget): Promise<void> {
  if (kindOf(upgrade) !== "websocket") return proxySpdy(upgrade, target);
  const protocol = websocketProtocol(upgrade, [PORT_FORWARD_TUNNEL, ...PORT_FORWARD_CHANNELS]);
  if (protocol !== PORT_FORWARD_TUNNEL) return proxyChannels(upgrade, target);
  const far = await dialled(upgrade, target, () => dialUpgrade(target, spdyHeaders([PORT_FORWARD_PROTOCOL])));
  if (!far) return;
  const socket = acceptWebSocket(upgrade, protocol);
  if (!socket) return far.channel.destroy();
  const { TunnelChannel } = await import("./tunnel.ts");
  await join(new TunnelChannel(socket), far.channel);
}

async function proxyChannels(upgrade: Upgrade, target: DialTarget): Promise<void> {
  const { dialPortForward } = await import("./portforward-client.ts");
  const far = await dialled(upgrade, target, () => dialPortForward(target));
  if (!far) return;
  const { acceptPortForward } = await import("./portforward-server.ts");
  await acceptPortForward(upgrade, async (port, stream) => {
    const connection = await far.connect(port);
    await Promise.all([copy(stream.readable, connection), copy(connection.readable, stream)]);
    const error = await connection.error;
    if (error) throw new Error(error);
  });
  far.close();
}

const spdyHeaders = (protocols: readonly string[]) => [
  ["Upgrade", "SPDY/3.1"] as const,
  ...protocols.map((name) => ["X-Stream-Protocol-Version", name] as const),
];

async function proxySpdy(upgrade: Upgrade, target: DialTarget): Promise<void> {
  if (kindOf(upgrade) === "none") return refuse(upgrade, 400, "Upgrade request required");
  const far = await dialled(upgrade, target, () => dialUpgrade(target, spdyHeaders(spdyProtocols(upgrade))));
  if (!far) return;
  upgrade.socket.write(far.head.raw);
  await join(new NodeChannel(upgrade.socket, upgrade.head), far.channel);
}

/** Dials, or answers the client with why not. */
async function dialled<T>(upgrade: Upgrade, target: DialTarget, dial: () => Promise<T>): Promise<T | undefined> {
  // A client that goes while the target is dialled must not leave an error nobody hears.
  upgrade.socket.on("error", () => upgrade.socket.destroy());
  try {
    return await dial();
  } catch (error) {
    if (error instanceof UpgradeRefused) {
      refuse(upgrade, error.status, new TextDecoder().decode(error.body), { "Content-Type": error.contentType });
    } else {
      const why = error instanceof Error ? error.message : String(error);
      const message = `error dialing backend: ${new URL(target.url).host}: ${why}`;
      const status = { kind: "Status", apiVersion: "v1", metadata: {}, status: "Failure", message, code: 500 };
      refuse(upgrade, 500, JSON.stringify(status), { "Content-Type": "application/json" });
    }
    return undefined;
  }
}

/** Copies bytes both ways until either side ends. */
export function join(a: ByteChannel, b: ByteChannel): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const side = (from: ByteChannel, to: ByteChannel) =>
    from.start({
      data: (chunk) => {
        if (!to.write(chunk)) from.pause();
      },
      drain: () => to.resume(),
      closed: () => {
        to.end();
        resolve();
      },
    });
  side(a, b);
  side(b, a);
  return promise;
}
