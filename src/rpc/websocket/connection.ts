import { createHash, randomBytes } from "node:crypto";
import type { IncomingMessage } from "node:http";
import type { ByteChannel } from "../remotecommand/bytes.ts";
import { CloseCode, encodeFrame, FrameParser, Opcode, WebSocketError } from "./frames.ts";

export interface WebSocketEvents {
  message(data: Uint8Array, text: boolean): void;
  drain(): void;
  /** Called once. `code` is 1006 where the connection broke off. */
  closed(code: number, reason: string): void;
}

/** A WebSocket on a channel, after the handshake. Answers pings and the close by itself. */
export class WebSocketConnection {
  readonly #channel: ByteChannel;
  readonly #client: boolean;
  #events: WebSocketEvents | undefined;
  #sentClose = false;
  #closed = false;

  constructor(role: "client" | "server", channel: ByteChannel) {
    this.#channel = channel;
    this.#client = role === "client";
  }

  start(events: WebSocketEvents): void {
    this.#events = events;
    const parser = new FrameParser(
      {
        message: (opcode, data) => events.message(data, opcode === Opcode.TEXT),
        ping: (data) => void this.#send(Opcode.PONG, data),
        close: (code, reason) => {
          this.close(code === 1005 ? CloseCode.NORMAL : code);
          this.#end(code, reason);
        },
      },
      !this.#client,
    );
    this.#channel.start({
      data: (chunk) => {
        if (this.#closed) return;
        try {
          parser.push(chunk);
        } catch (error) {
          const { code, message } = error instanceof WebSocketError ? error : new WebSocketError(CloseCode.INTERNAL, String(error));
          this.close(code, message);
          this.#end(code, message);
        }
      },
      drain: () => events.drain(),
      closed: (error) => this.#end(1006, error?.message ?? "the connection was closed"),
    });
  }

  /** Returns false when more than enough is queued: wait for `drain`. */
  send(data: Uint8Array, text = false): boolean {
    return this.#send(text ? Opcode.TEXT : Opcode.BINARY, data);
  }

  /** Says goodbye and ends the connection after all that was sent. */
  close(code: number = CloseCode.NORMAL, reason = ""): void {
    if (this.#sentClose || this.#closed) return;
    const text = new TextEncoder().encode(reason).subarray(0, 120);
    const payload = new Uint8Array(2 + text.length);
    payload[0] = code >>> 8;
    payload[1] = code;
    payload.set(text, 2);
    this.#send(Opcode.CLOSE, payload);
    this.#sentClose = true;
    this.#channel.end();
  }

  destroy(): void {
    this.#channel.destroy();
    this.#end(1006, "the connection was dropped");
  }

  pause(): void {
    this.#channel.pause();
  }

  resume(): void {
    this.#channel.resume();
  }

  #send(opcode: number, data: Uint8Array): boolean {
    if (this.#sentClose || this.#closed) return true;
    return this.#channel.write(encodeFrame(opcode, data, this.#client ? randomBytes(4) : undefined));
  }

  #end(code: number, reason: string): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#events?.closed(code, reason);
  }
}

/** What a request asks for, in its order; empty where it asks for no WebSocket at all or for no protocol. */
export function requestedProtocols(request: Pick<IncomingMessage, "headers">): string[] {
  return (request.headers["sec-websocket-protocol"] ?? "")
    .split(",")
    .map((name) => name.trim())
    .filter(Boolean);
}

export const isWebSocket = (request: Pick<IncomingMessage, "headers">): boolean => request.headers.upgrade?.toLowerCase() === "websocket";

/** The answer to a request for a WebSocket (RFC 6455, section 4.2.2); undefined where its key or version is wrong. */
export function handshake(request: Pick<IncomingMessage, "headers">, protocol: string | undefined): string | undefined {
  const key = request.headers["sec-websocket-key"];
  if (!key || request.headers["sec-websocket-version"] !== "13") return undefined;
  const accept = createHash("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");
  const lines = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade", `Sec-WebSocket-Accept: ${accept}`];
  if (protocol) lines.push(`Sec-WebSocket-Protocol: ${protocol}`);
  return `${lines.join("\r\n")}\r\n\r\n`;
}
