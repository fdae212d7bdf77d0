// TLS sockets with HTTP/1.1 and HTTP/2 on one port, and client certificates:
// src/rpc's connections, handed to a fetch function that answers with Replies.
import type { Duplex } from "node:stream";
import { logger } from "../../platform/log.ts";
import type { Exchange } from "../../rpc/exchange.ts";
import { ErrorCode } from "../../rpc/http2/errors.ts";
import { type Http2Listener, listen, type Peer } from "../../rpc/http2/server.ts";
import type { StreamListener } from "../../rpc/http2/stream.ts";
import { Deadlines } from "./deadlines.ts";
import { Incoming } from "./incoming.ts";
import { fail, send } from "./send.ts";

const log = logger("kube-apiserver");

export type Handler = (request: Incoming) => Promise<Response> | Response;
export type UpgradeHandler = (request: Incoming, socket: Duplex, head: Uint8Array) => void;

export interface ListenerOptions {
  host: string;
  /** 0 takes a free one. */
  port: number;
  tls: { cert: string; key: string; clientCa?: string };
  handler: Handler;
  upgrade: UpgradeHandler;
  /** Answers in place of a handler that takes too long; absent, the request is broken off. */
  late?(request: Incoming): Response;
  /** Milliseconds for a request and its answer, unless Incoming.unhurried; 60 000, as upstream's. */
  requestTimeout?: number;
  /** Streams that a connection of HTTP/2 may have open; 100, as upstream's. */
  maxStreams?: number;
  /** A TLS handshake came to nothing. */
  handshakeFailed?(): void;
  /** Share of the requests of HTTP/2 after which the client is asked to connect anew; 0. */
  goawayChance?: number;
  /** Milliseconds that a connection may be idle; 90 000. */
  idleTimeout?: number;
  /** Milliseconds for the handshake and the head of the first request; 32 000. */
  headTimeout?: number;
}

/** Requests to become one of these go to the upgrade handler. */
const protocols = new Set(["websocket", "spdy/3.1"]);
/** What a client may send of a body before it is read: most objects are smaller. */
const streamWindow = 256 * 1024;
/** Bytes of a request's head, as upstream has it: the commands of exec stand there. */
const maxHead = 1024 * 1024;
/** Milliseconds, as upstream has it. */
const tcpKeepAlive = 180_000;
/** Milliseconds that answers without an end, and tunnels, have once all others are through. */
const lastWords = 200;

interface Underway {
  readonly exchange: Exchange;
  readonly incoming: Incoming;
}

export class Listener {
  readonly #options: ListenerOptions;
  #listener: Http2Listener | undefined;
  readonly #underway: Deadlines<Underway>;
  readonly #endings = new Set<() => void>();

  constructor(options: ListenerOptions) {
    this.#options = options;
    this.#underway = new Deadlines(options.requestTimeout ?? 60_000, (late) => this.#late(late));
  }

  /** Resolves with the port. */
  async listen(): Promise<number> {
    const { host, port, tls, upgrade, goawayChance, maxStreams = 100, idleTimeout = 90_000, headTimeout = 32_000 } = this.#options;
    const request = (exchange: Exchange, fields: readonly string[], end: boolean, peer: Peer) => this.#answer(exchange, fields, end, peer);
    this.#listener = await listen(
      { host, port },
      {
        // A certificate that is wrong is answered with 401, as upstream does, rather than with silence.
        tls: { ...tls, clientCa: tls.clientCa || undefined, admitUnverified: true },
        maxConcurrentStreams: maxStreams,
        streamWindow,
        connectionWindow: streamWindow * maxStreams,
        maxHeaderListSize: maxHead,
        tcpKeepAlive,
        limits: { handshakeTimeout: headTimeout, maxIdle: idleTimeout },
        goawayChance,
        request,
        request1: request,
        upgrades: {
          takes: (protocol) => protocols.has(protocol),
          accept(socket, fields, head, peer) {
            // Whoever answers has to hear of errors only while it does.
            socket.on("error", () => socket.destroy());
            upgrade(new Incoming(fields, true, peer), socket, head);
          },
        },
        handshakeFailed: (error, address) => {
          this.#options.handshakeFailed?.();
          log.info("http: TLS handshake error", { from: address, err: error?.message }, 5);
        },
      },
    );
    return (this.#listener.address as { port: number }).port;
  }

  /**
   * Stops accepting, ends watches, gives requests under way `grace`
   * milliseconds, then ends every connection.
   */
  async close(grace = 0): Promise<void> {
    this.#listener?.drain();
    for (const end of [...this.#endings]) end();
    if (grace > 0) await this.#underway.idle(grace);
    await this.#listener?.close(Math.min(grace, lastWords));
  }

  #answer(exchange: Exchange, fields: readonly string[], end: boolean, peer: Peer): StreamListener {
    const incoming = new Incoming(fields, end, peer, exchange);
    void this.#run({ exchange, incoming });
    return incoming.rest;
  }

  async #run(underway: Underway): Promise<void> {
    const { exchange, incoming } = underway;
    try {
      const response = this.#options.handler(incoming);
      if (!incoming.unhurried) this.#underway.add(underway);
      await send(exchange, incoming, await response, this.#whenEnding);
    } catch (error) {
      if (!incoming.rest.gone) {
        log.error("A request failed", error, { path: incoming.target });
        fail(exchange, incoming);
      }
    } finally {
      this.#underway.delete(underway);
      incoming.onDone?.(incoming.sent);
    }
  }

  /** Upstream too gives a slow reader of a long answer no more time than a slow handler. */
  #late({ exchange, incoming }: Underway): void {
    log.error("A request took too long", undefined, { path: incoming.target, answered: incoming.answered });
    const instead = incoming.answered ? undefined : this.#options.late?.(incoming);
    if (instead) void send(exchange, incoming, instead, this.#whenEnding);
    else exchange.reset(ErrorCode.INTERNAL_ERROR);
    // What still works on it finds nobody there.
    incoming.rest.failed();
  }

  readonly #whenEnding = (callback: () => void): (() => void) => {
    this.#endings.add(callback);
    return () => this.#endings.delete(callback);
  };
}
