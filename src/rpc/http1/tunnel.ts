// The socket of a connection that has become something other than HTTP, as
// node's streams have it.
import { Duplex } from "node:stream";
import type { Socket } from "bun";
import type { Guarded } from "../http2/patrol.ts";

/** Bytes both ways, each of which ends by itself. */
export class Tunnel extends Duplex implements Guarded {
  readonly #socket: Socket<unknown>;
  /** What waits for the socket, and who is to be told. */
  #rest: Uint8Array | undefined;
  #written: (() => void) | undefined;
  #gone = false;
  #progress = 0;

  constructor(socket: Socket<unknown>, unsent: Uint8Array) {
    super({ allowHalfOpen: true });
    this.#socket = socket;
    if (unsent.length > 0) this.write(unsent);
  }

  /** As the guards of connections see it. */
  get connection(): Guarded["connection"] {
    const backlog = this.#rest?.length ?? 0;
    return {
      ended: this.#gone,
      greeted: true,
      streams: 1,
      latest: 0,
      backlog,
      progress: this.#progress,
      drain() {},
      close: (e) => this.destroy(e),
    };
  }

  data(chunk: Uint8Array): void {
    if (!this.push(chunk)) this.#socket.pause();
  }

  /** The peer has ended its half. */
  inputEnded(): void {
    this.push(null);
  }

  drained(): void {
    const rest = this.#rest;
    if (!rest) return;
    this.#rest = undefined;
    this.#send(rest);
  }

  lost(error?: Error): void {
    if (this.#gone) return;
    this.#gone = true;
    this.destroy(error);
  }

  terminate(): void {
    this.#socket.terminate();
  }

  override _read(): void {
    if (!this.#gone) this.#socket.resume();
  }

  override _write(chunk: Uint8Array, _encoding: string, done: (error?: Error) => void): void {
    this.#written = done;
    this.#send(chunk);
  }

  override _final(done: () => void): void {
    if (!this.#gone) this.#socket.end();
    done();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    if (!this.#gone) {
      this.#gone = true;
      this.#socket.terminate();
    }
    const written = this.#written;
    this.#written = undefined;
    written?.();
    done(error);
  }

  #send(chunk: Uint8Array): void {
    if (this.#gone) return;
    const count = this.#socket.write(chunk);
    if (count < 0) {
      this.destroy();
      return;
    }
    this.#progress += count;
    if (count < chunk.length) {
      this.#rest = chunk.subarray(count);
      return;
    }
    const written = this.#written;
    this.#written = undefined;
    written?.();
  }
}
