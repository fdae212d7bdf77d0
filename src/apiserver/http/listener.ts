// TLS sockets with HTTP/1.1 and HTTP/2 on one port, and client certificates:
// src/rpc's connections, handed to a fetch function that answers with Replies.
import type { Duplex } from "node:stream";
import { logger } from "../../platform/log.ts";
import type { Exchange } from "../../rpc/exchange.ts";
import { type Http2Listener, listen, type Peer } from "../../rpc/http2/server.ts";
import type { StreamListener } from "../../rpc/http2/stream.ts";
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
  /** Streams that a connection of HTTP/2 may have open; 100, as upstream's. */
  maxStreams?: number;
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

export class Listener {
  readonly #options: ListenerOptions;
  #listener: Http2Listener | undefined;

  constructor(options: ListenerOptions) {
    this.#options = options;
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
        handshakeFailed: (error, address) => log.info("http: TLS handshake error", { from: address, err: error?.message }, 1),
      },
    );
    return (this.#listener.address as { port: number }).port;
  }

  /** Stops accepting, gives answers under way `grace` milliseconds, then ends every connection. */
  async close(grace = 0): Promise<void> {
    await this.#listener?.close(grace);
  }

  #answer(exchange: Exchange, fields: readonly string[], end: boolean, peer: Peer): StreamListener {
    const incoming = new Incoming(fields, end, peer, exchange);
    void this.#run(exchange, incoming);
    return incoming.rest;
  }

  async #run(exchange: Exchange, incoming: Incoming): Promise<void> {
    try {
      await send(exchange, incoming, await this.#options.handler(incoming));
    } catch (error) {
      if (incoming.rest.gone) return;
      log.error("A request failed", error, { path: incoming.target });
      fail(exchange, incoming);
    }
  }
}
