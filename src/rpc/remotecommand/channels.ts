// Streams as numbered channels of a WebSocket: the first byte of a message says
// which. With base64 it is a digit, and the message is text.
import { MessageQueue } from "../queue.ts";
import type { WebSocketConnection } from "../websocket/connection.ts";
import { CloseCode } from "../websocket/frames.ts";
import type { ByteStream } from "./bytes.ts";

/** In v5: the client has no more for the channel that the second byte names. */
const CLOSE_CHANNEL = 255;
const HIGH_WATER = 256 * 1024;
const LOW_WATER = 64 * 1024;

class ChannelStream implements ByteStream {
  readonly readable: MessageQueue<Uint8Array>;
  readonly #channels: WebSocketChannels;
  readonly #number: number;
  #ended = false;

  constructor(channels: WebSocketChannels, number: number) {
    this.#channels = channels;
    this.#number = number;
    this.readable = new MessageQueue<Uint8Array>(
      (bytes) => channels.used(bytes),
      () => {},
    );
  }

  write(data: Uint8Array): Promise<void> | undefined {
    return this.#ended ? undefined : this.#channels.send(this.#number, data);
  }

  /** The protocol has no word for it in this direction: the end of the WebSocket says it. */
  end(): void {
    this.#ended = true;
  }

  reset(): void {
    this.#channels.close();
  }
}

export class WebSocketChannels {
  readonly #socket: WebSocketConnection;
  readonly #base64: boolean;
  readonly #halfClose: boolean;
  readonly #streams = new Map<number, ChannelStream>();
  #buffered = 0;
  #paused = false;
  #drain: { promise: Promise<void>; resolve(): void } | undefined;

  /** @param onClosed the WebSocket has ended; its streams have too */
  constructor(socket: WebSocketConnection, protocol: string, channels: readonly number[], onClosed: (code: number) => void) {
    this.#socket = socket;
    this.#base64 = protocol.includes("base64");
    this.#halfClose = protocol.startsWith("v5.");
    for (const number of channels) this.#streams.set(number, new ChannelStream(this, number));
    socket.start({
      message: (data) => this.#message(data),
      drain: () => this.#drained(),
      closed: (code, reason) => {
        this.#drained();
        const error = code === CloseCode.NORMAL ? undefined : new Error(`the WebSocket was closed: ${code} ${reason}`);
        for (const stream of this.#streams.values()) stream.readable.end(error);
        onClosed(code);
      },
    });
  }

  get(number: number): ByteStream | undefined {
    return this.#streams.get(number);
  }

  /** @internal */
  send(number: number, data: Uint8Array): Promise<void> | undefined {
    const room = this.#base64
      ? this.#socket.send(new TextEncoder().encode(number + Buffer.from(data).toString("base64")), true)
      : this.#socket.send(Buffer.concat([Uint8Array.of(number), data]));
    if (room) return undefined;
    this.#drain ??= Promise.withResolvers<void>();
    return this.#drain.promise;
  }

  close(): void {
    this.#socket.close();
  }

  /** @internal */
  used(bytes: number): void {
    this.#buffered -= bytes;
    if (!this.#paused || this.#buffered > LOW_WATER) return;
    this.#paused = false;
    this.#socket.resume();
  }

  #drained(): void {
    const drain = this.#drain;
    this.#drain = undefined;
    drain?.resolve();
  }

  #message(message: Uint8Array): void {
    if (message.length === 0) return;
    let number = message[0]!;
    let data = message.subarray(1);
    if (this.#base64) {
      number -= 48;
      data = new Uint8Array(Buffer.from(Buffer.from(data).toString("latin1"), "base64"));
    } else if (number === CLOSE_CHANNEL && this.#halfClose) {
      this.#streams.get(data[0] ?? -1)?.readable.end();
      return;
    }
    const stream = this.#streams.get(number);
    if (!stream || data.length === 0) return;
    this.#buffered += data.length;
    if (this.#buffered > HIGH_WATER && !this.#paused) {
      this.#paused = true;
      this.#socket.pause();
    }
    stream.readable.push(data, data.length);
  }
}
