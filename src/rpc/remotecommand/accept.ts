// Answering an HTTP/1.1 request that wants to become something else.
import { type IncomingMessage, STATUS_CODES } from "node:http";
import type { Duplex } from "node:stream";
import { handshake, isWebSocket, requestedProtocols, WebSocketConnection } from "../websocket/connection.ts";
import { NodeChannel } from "./node.ts";

/** What is looked at of a request. */
export type UpgradeRequest = Pick<IncomingMessage, "url" | "headers">;

/** What node's 'upgrade' event gives. */
export interface Upgrade<R extends UpgradeRequest = UpgradeRequest> {
  request: R;
  socket: Duplex;
  head: Uint8Array;
}

export type Kind = "websocket" | "spdy" | "none";

export function kindOf({ request }: Upgrade): Kind {
  if (isWebSocket(request)) return "websocket";
  return request.headers.upgrade?.toLowerCase() === "spdy/3.1" ? "spdy" : "none";
}

export const queryOf = ({ request }: Upgrade): URLSearchParams => new URL(request.url ?? "/", "http://localhost").searchParams;

/** Answers without an upgrade, and ends the connection. */
export function refuse({ socket }: Upgrade, status: number, message: string, headers: Record<string, string> = {}): void {
  const body = Buffer.from(message);
  const lines = [`HTTP/1.1 ${status} ${STATUS_CODES[status] ?? "Error"}`];
  const all = { "Content-Type": "text/plain; charset=utf-8", "Content-Length": String(body.length), Connection: "close", ...headers };
  for (const [name, value] of Object.entries(all)) lines.push(`${name}: ${value}`);
  socket.on("error", () => socket.destroy());
  socket.end(Buffer.concat([Buffer.from(`${lines.join("\r\n")}\r\n\r\n`), body]));
}

/** The protocols of X-Stream-Protocol-Version, in the client's order. */
export function spdyProtocols({ request }: Upgrade): string[] {
  const value = request.headers["x-stream-protocol-version"];
  return (Array.isArray(value) ? value : (value ?? "").split(",")).map((name) => name.trim()).filter(Boolean);
}

/**
 * Agrees on a protocol and answers 101 (k8s.io/apimachinery/pkg/util/httpstream.Handshake).
 * Undefined when it has answered 403 because the client knows none of `protocols`.
 */
export function acceptSpdy(upgrade: Upgrade, protocols: readonly string[]): { channel: NodeChannel; protocol: string } | undefined {
  const wanted = spdyProtocols(upgrade);
  // A client from before the header speaks the first version.
  const protocol = wanted.length === 0 ? protocols.at(-1)! : wanted.find((name) => protocols.includes(name));
  if (protocol === undefined) {
    const text = `unable to upgrade: unable to negotiate protocol: client supports [${wanted.join(" ")}], server accepts [${protocols.join(" ")}]`;
    refuse(upgrade, 403, text, { "X-Accepted-Stream-Protocol-Versions": protocols.join(", ") });
    return undefined;
  }
  const head = ["HTTP/1.1 101 Switching Protocols", "Upgrade: SPDY/3.1", "Connection: Upgrade"];
  if (wanted.length > 0) head.push(`X-Stream-Protocol-Version: ${protocol}`);
  upgrade.socket.write(`${head.join("\r\n")}\r\n\r\n`);
  return { channel: new NodeChannel(upgrade.socket, upgrade.head), protocol };
}

/** The first of the client's protocols that is among `protocols`; the last of those where it names none. */
export function websocketProtocol(upgrade: Upgrade, protocols: readonly string[]): string | undefined {
  const wanted = requestedProtocols(upgrade.request);
  return wanted.length === 0 ? protocols.find((name) => name === "channel.k8s.io") : wanted.find((name) => protocols.includes(name));
}

/** Answers 101 for `protocol`. Undefined when it has answered 400 because the request is not right. */
export function acceptWebSocket(upgrade: Upgrade, protocol: string): WebSocketConnection | undefined {
  const named = requestedProtocols(upgrade.request).length > 0 ? protocol : undefined;
  const answer = handshake(upgrade.request, named);
  if (!answer) {
    refuse(upgrade, 400, "bad WebSocket handshake");
    return undefined;
  }
  upgrade.socket.write(answer);
  return new WebSocketConnection("server", new NodeChannel(upgrade.socket, upgrade.head));
}
