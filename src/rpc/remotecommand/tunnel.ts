import type { WebSocketConnection } from "../websocket/connection.ts";
import { CloseCode } from "../websocket/frames.ts";
import type { ByteChannel, ChannelEvents } from "./bytes.ts";

/** The binary messages of a WebSocket as one channel of bytes (KEP-4006, tunneled SPDY). */
export class TunnelChannel implements ByteChannel {
  readonly #socket: WebSocketConnection;

  constructor(socket: WebSocketConnection) {
    this.#socket = socket;
  }

  start(events: ChannelEvents): void {
    this.#socket.start({
      message: (data) => events.data(data),
      drain: () => events.drain(),
      closed: (code, reason) =>
        events.closed(code === CloseCode.NORMAL ? undefined : new Error(`the WebSocket was closed: ${code} ${reason}`)),
    });
  }

  write(data: Uint8Array): boolean {
    return this.#socket.send(data);
  }

  end(): void {
    this.#socket.close();
  }

  destroy(): void {
    this.#socket.destroy();
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }
}
