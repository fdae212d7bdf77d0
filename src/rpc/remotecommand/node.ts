import type { Duplex } from "node:stream";
import type { ByteChannel, ChannelEvents } from "./bytes.ts";

/** Milliseconds that the peer has to close its half once ours is. */
const LINGER = 10_000;

/** A socket of node:net, node:tls or an 'upgrade' event as a channel. */
export class NodeChannel implements ByteChannel {
  readonly #socket: Duplex;
  #head: Uint8Array | undefined;

  /** @param head bytes that were read together with the head of the request or answer */
  constructor(socket: Duplex, head?: Uint8Array) {
    this.#socket = socket;
    this.#head = head && head.length > 0 ? head : undefined;
  }

  start(events: ChannelEvents): void {
    const socket = this.#socket;
    let closed = false;
    const close = (error?: Error) => {
      if (closed) return;
      closed = true;
      events.closed(error);
    };
    socket.on("data", (chunk: Uint8Array) => events.data(chunk));
    socket.on("drain", () => events.drain());
    socket.on("error", (error) => close(error));
    socket.on("end", () => {
      socket.end();
      close();
    });
    socket.on("close", () => close());
    // It may have been paused while its head was read.
    socket.resume();
    const head = this.#head;
    this.#head = undefined;
    if (head) events.data(head);
    if (socket.destroyed) close();
  }

  write(data: Uint8Array): boolean {
    return this.#socket.writable ? this.#socket.write(data) : true;
  }

  end(): void {
    const socket = this.#socket;
    if (socket.destroyed) return;
    socket.end();
    // Closing with bytes unread would make the kernel drop what the peer has not read yet.
    socket.resume();
    const linger = setTimeout(() => socket.destroy(), LINGER);
    linger.unref();
    socket.once("close", () => clearTimeout(linger));
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
