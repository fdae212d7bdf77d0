// A connection to a server that is made when it is needed, and made again
// after it was lost (grpc/grpc, doc/connectivity-semantics-and-api.md).

import { dial, type Http2Client } from "./http2/client.ts";
import type { ConnectionOptions } from "./http2/options.ts";
import { TooManyPings } from "./http2/pings.ts";
import type { Keepalive } from "./http2/session.ts";
import type { Stream, StreamListener } from "./http2/stream.ts";
import { type Address, Code, RpcError, type TlsClientOptions } from "./types.ts";

export interface ChannelOptions {
  tls?: TlsClientOptions;
  /** Most bytes of an answer. Default 4 MiB. */
  maxReceiveSize?: number;
  /** Most bytes of a request. Default: any. */
  maxSendSize?: number;
  /** Compress requests of at least this many bytes with gzip. Default: never. */
  compressFrom?: number;
  /**
   * Ask a silent server whether it is there. Default: never, as grpc-go's
   * servers send a client away that asks more often than they are set to allow
   * (every 5 minutes by default, 5 s for etcd while calls run).
   */
  keepalive?: Keepalive;
  /** Milliseconds until an attempt to connect fails. Default 20 000. */
  connectTimeout?: number;
  /** Milliseconds between attempts: the first, growing to the longest. Default 100 and 5 000. */
  backoff?: { initial: number; max: number };
  /** What stands in :authority; the address by default, "localhost" for a unix socket. */
  authority?: string;
  /** Metadata of every call. */
  headers?: Record<string, string>;
  http2?: ConnectionOptions;
}

/** A call that waits to be started. */
export interface PendingCall {
  /** A connection is there; start a stream on it with `open`. */
  open(open: (fields: readonly string[], end: boolean, listener: StreamListener) => Stream): void;
  /** There is no connection. */
  unavailable(error: RpcError): void;
  /** Stay while the channel is connecting again, rather than fail at once. */
  readonly waitForReady: boolean;
}

export type ChannelState = "idle" | "connecting" | "ready" | "backoff" | "closed";

/** A server, as clients of its services see it: calls of all of them share one connection. */
export class Channel {
  readonly address: Address;
  readonly options: ChannelOptions;
  readonly authority: string;
  #state: ChannelState = "idle";
  #client: Http2Client | undefined;
  /** Connections that take no new calls, with calls that still run. */
  readonly #leaving = new Set<Http2Client>();
  #pending: PendingCall[] = [];
  #failures = 0;
  #lastError: Error | undefined;
  #retry: Timer | undefined;
  /** Doubles with each server that finds keepalive too eager. */
  #patience = 1;
  /** Changes with each connection, so that what an old one says is not heard. */
  #generation = 0;

  constructor(address: Address, options: ChannelOptions = {}) {
    this.address = address;
    this.options = options;
    this.authority = options.authority ?? ("unix" in address ? "localhost" : `${options.tls?.serverName ?? address.host}:${address.port}`);
  }

  get state(): ChannelState {
    return this.#state;
  }

  /** Starts a call as soon as there is a connection with room for it. */
  start(call: PendingCall): void {
    if (this.#state === "closed") return call.unavailable(new RpcError(Code.Canceled, "grpc: the client connection is closing"));
    if (this.#state === "backoff" && !call.waitForReady) return call.unavailable(this.#unavailable());
    this.#pending.push(call);
    if (this.#state === "idle") this.#connect();
    else this.#startPending();
  }

  /** Takes a call back that has not been started. */
  withdraw(call: PendingCall): void {
    const at = this.#pending.indexOf(call);
    if (at >= 0) this.#pending.splice(at, 1);
  }

  /**
   * Resolves once there is a connection, however many attempts it takes.
   * Rejects with the signal's reason, or with RpcError when the channel is closed.
   */
  ready(signal?: AbortSignal): Promise<void> {
    if (this.#state === "ready") return Promise.resolve();
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const call: PendingCall = { waitForReady: true, open: () => resolve(), unavailable: reject };
    const abort = () => {
      this.withdraw(call);
      reject(signal?.reason);
    };
    if (signal?.aborted) return Promise.reject(signal.reason);
    signal?.addEventListener("abort", abort, { once: true });
    this.start(call);
    return promise.finally(() => signal?.removeEventListener("abort", abort));
  }

  /** Fails the calls that run and closes the connection. */
  close(): void {
    if (this.#state === "closed") return;
    this.#state = "closed";
    this.#generation++;
    clearTimeout(this.#retry);
    const client = this.#client;
    this.#client = undefined;
    client?.terminate();
    for (const leaving of this.#leaving) leaving.terminate();
    const error = new RpcError(Code.Canceled, "grpc: the client connection is closing");
    for (const call of this.#pending.splice(0)) call.unavailable(error);
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #startPending(): void {
    const connection = this.#client?.connection;
    if (!connection) return;
    while (this.#pending.length > 0 && connection.canOpen) {
      const call = this.#pending.shift()!;
      call.open((fields, end, listener) => connection.request(fields, end, listener));
    }
  }

  #connect(): void {
    this.#state = "connecting";
    const generation = ++this.#generation;
    const { keepalive } = this.options;
    const current = () => generation === this.#generation;
    dial(this.address, {
      ...this.options.http2,
      tls: this.options.tls,
      connectTimeout: this.options.connectTimeout,
      keepalive: keepalive && { ...keepalive, interval: keepalive.interval * this.#patience },
      settings: () => current() && this.#startPending(),
      streamEnded: () => current() && this.#startPending(),
      goingAway: (_, reason) => {
        if (reason.includes(TooManyPings.DEBUG)) this.#patience *= 2;
        if (current() && this.#state === "ready") this.#lost(reason);
      },
    }).then(
      (client) => {
        if (!current()) return client.terminate();
        // It may have gone between its first frame and now.
        if (!client.connection.canOpen) return this.#failed(client.connection.error ?? new Error("the server goes away"));
        this.#client = client;
        this.#state = "ready";
        this.#failures = 0;
        this.#startPending();
      },
      (error: Error) => {
        if (current()) this.#failed(error);
      },
    );
  }

  /** The connection takes no new calls; those that run on it may end there. */
  #lost(reason: string): void {
    this.#lastError = new Error(reason);
    if (this.#client) this.#leaving.add(this.#client);
    for (const client of this.#leaving) if (client.connection.ended) this.#leaving.delete(client);
    this.#client = undefined;
    this.#generation++;
    if (this.#pending.length > 0) this.#connect();
    else this.#state = "idle";
  }

  #failed(error: Error): void {
    this.#lastError = error;
    this.#state = "backoff";
    this.#generation++;
    const unavailable = this.#unavailable();
    const waiting = this.#pending.filter((call) => call.waitForReady);
    const failing = this.#pending.filter((call) => !call.waitForReady);
    this.#pending = waiting;
    const { initial, max } = this.options.backoff ?? { initial: 100, max: 5000 };
    const delay = Math.min(max, initial * 1.6 ** this.#failures++) * (0.8 + Math.random() * 0.4);
    this.#retry = setTimeout(() => {
      // Nobody asks: the next call will try.
      if (this.#pending.length === 0) this.#state = "idle";
      else this.#connect();
    }, delay);
    if (waiting.length === 0) this.#retry.unref();
    for (const call of failing) call.unavailable(unavailable);
  }

  #unavailable(): RpcError {
    const where = "unix" in this.address ? this.address.unix : `${this.address.host}:${this.address.port}`;
    const { message, code } = (this.#lastError ?? {}) as NodeJS.ErrnoException;
    const why = message ? `: ${message}${code && typeof code === "string" ? ` (${code})` : ""}` : "";
    return new RpcError(Code.Unavailable, `connection to ${where} failed${why}`, { cause: this.#lastError });
  }
}
