// Joins a connection to a socket: bytes in as they come, bytes out in one
// write for all that one turn of the event loop produced.
import type { Socket } from "bun";
import { ErrorCode, Http2Error } from "./errors.ts";
import type { Output } from "./output.ts";
import { atTurnEnd } from "./turn.ts";

/** More than this is written without waiting for the turn to end. */
const WRITE_AT_ONCE = 128 * 1024;

export interface Keepalive {
  /** Milliseconds without a byte from the peer after which it is asked for one. */
  interval: number;
  /** Milliseconds it has to answer. */
  timeout: number;
  /** Ask also while no stream is open, which grpc-go's servers do not like. Default false. */
  withoutStreams?: boolean;
}

/** The core that a session drives: Connection, or its sibling of HTTP/1.1. */
export interface Protocol {
  readonly output: Output;
  /** Nothing more is to come: close the socket behind what is in output. */
  readonly ended: boolean;
  receive(chunk: Uint8Array): void;
  taken(bytes: number): void;
  /** The socket has gone. */
  close(error: Http2Error): void;
  /** The peer sends nothing more; absent, nothing can be made of its half of a connection. */
  inputEnded?(): void;
  /** Takes no new requests, and ends with the last that runs. */
  drain(): void;
  ping?(): void;
  /** How many are open. */
  readonly streams: number;
  /** Changes with each that the peer opens. */
  readonly latest: number;
  /** The peer's first frame or head has come. */
  readonly greeted: boolean;
  /** Bytes that wait for the peer. */
  readonly backlog: number;
  /** Changes whenever the peer takes of them. */
  readonly progress: number;
}

export class Session<P extends Protocol = Protocol> {
  readonly connection: P;
  readonly #socket: Socket<unknown>;
  #scheduled = false;
  #blocked = false;
  #closed = false;
  #keepalive: Timer | undefined;
  #heard = false;

  constructor(socket: Socket<unknown>, connection: P) {
    this.#socket = socket;
    this.connection = connection;
  }

  /** There is output, or the connection has ended. */
  readonly wake = (): void => {
    if (this.#scheduled || this.#blocked || this.#closed) return;
    this.#scheduled = true;
    atTurnEnd(this.#flush);
  };

  data(chunk: Uint8Array): void {
    this.#heard = true;
    this.connection.receive(chunk);
    if (this.connection.output.length > WRITE_AT_ONCE && !this.#blocked && !this.#closed) this.#write();
  }

  drained(): void {
    this.#blocked = false;
    this.#write();
  }

  lost(error?: Error): void {
    if (this.#closed) return;
    this.#closed = true;
    clearInterval(this.#keepalive);
    this.connection.close(new Http2Error(ErrorCode.CONNECT_ERROR, error ? error.message : "the connection was closed", { cause: error }));
  }

  /** The peer has closed its half. */
  inputEnded(): void {
    if (this.connection.inputEnded) return this.connection.inputEnded();
    this.lost();
    this.#socket.terminate();
  }

  /** The socket is somebody else's from now on. */
  detach(): void {
    this.#closed = true;
    clearInterval(this.#keepalive);
  }

  terminate(): void {
    this.#socket.terminate();
  }

  /** Closes the connection when the peer falls silent. */
  keepAlive({ interval, timeout, withoutStreams }: Keepalive): void {
    let waited = 0;
    let asked = false;
    const step = Math.max(1, Math.min(interval, timeout));
    this.#keepalive = setInterval(() => {
      if (this.#heard || (!withoutStreams && this.connection.streams === 0)) {
        this.#heard = asked = false;
        waited = 0;
        return;
      }
      waited += step;
      if (asked && waited >= timeout) {
        this.connection.close(new Http2Error(ErrorCode.CONNECT_ERROR, "keepalive ping failed to receive ACK within timeout"));
        this.terminate();
      } else if (!asked && waited >= interval) {
        asked = true;
        waited = 0;
        this.connection.ping?.();
      }
    }, step);
    this.#keepalive.unref();
  }

  readonly #flush = (): void => {
    this.#scheduled = false;
    if (!this.#blocked && !this.#closed) this.#write();
  };

  #write(): void {
    const { connection } = this;
    const { output } = connection;
    while (output.length > 0) {
      const written = this.#socket.write(output.bytes, output.start, output.length);
      if (written < 0) return this.#socket.terminate();
      const whole = written === output.length;
      connection.taken(written);
      if (!whole) {
        this.#blocked = true;
        return;
      }
    }
    if (connection.ended) this.#socket.end();
  }
}
