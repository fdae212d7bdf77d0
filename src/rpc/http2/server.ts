// HTTP servers on TCP, TLS and unix sockets: HTTP/2, and HTTP/1.1 where asked for.
import { unlinkSync } from "node:fs";
import type { Socket, SocketHandler } from "bun";
import type { Exchange } from "../exchange.ts";
import { Http1Connection } from "../http1/connection.ts";
import type { Address, TlsServerOptions } from "../types.ts";
import { Connection } from "./connection.ts";
import { Lobby } from "./lobby.ts";
import type { ConnectionOptions } from "./options.ts";
import { type ConnectionLimits, Rounds } from "./patrol.ts";
import { type Keepalive, type Protocol, Session } from "./session.ts";
import type { Stream, StreamListener } from "./stream.ts";
import { serverTls } from "./tls.ts";

/** Who is at the other end of a connection. */
export interface Peer {
  /** "host:port", or "@" on a unix socket. */
  readonly address: string;
  /** The verified certificate in DER. */
  readonly certificate: Uint8Array | undefined;
}

export interface ListenOptions extends ConnectionOptions {
  limits?: ConnectionLimits;
  tls?: TlsServerOptions;
  keepalive?: Keepalive;
  /** Answers a request: returns who listens to the rest of it, or nothing to refuse it. */
  request(stream: Stream, fields: readonly string[], end: boolean, peer: Peer): StreamListener | undefined;
  /** The same for requests of HTTP/1.1; absent, only HTTP/2 is spoken. */
  request1?(exchange: Exchange, fields: string[], end: boolean, peer: Peer): StreamListener | undefined;
}

export interface Http2Listener {
  /** With the port that was picked, where 0 was asked for. */
  readonly address: Address;
  /**
   * Takes no more requests and resolves when those that run have ended, or
   * after `grace` milliseconds (default 0: they are cut off).
   */
  close(grace?: number): Promise<void>;
}

class SocketPeer implements Peer {
  readonly address: string;
  readonly #socket: Socket<unknown>;
  #certificate: Uint8Array | null | undefined;
  constructor(socket: Socket<unknown>, unix: boolean) {
    this.#socket = socket;
    this.address = unix ? "@" : `${socket.remoteAddress}:${socket.remotePort}`;
  }
  get certificate(): Uint8Array | undefined {
    if (this.#certificate === undefined) {
      const raw = this.#socket.authorized ? this.#socket.getPeerCertificate()?.raw : undefined;
      this.#certificate = raw ? new Uint8Array(raw) : null;
    }
    return this.#certificate ?? undefined;
  }
}

/** Listens at `address`; throws what the system says, such as EADDRINUSE. */
export async function listen(address: Address, options: ListenOptions): Promise<Http2Listener> {
  const sessions = new Set<Session>();
  const unix = "unix" in address;
  const rounds = new Rounds(options.limits ?? {});
  const lobby = new Lobby<Socket<Session | undefined>>(rounds);
  let closing = false;
  let allClosed: (() => void) | undefined;

  const start = (socket: Socket<Session | undefined>, version: 1 | 2): Session => {
    const peer = new SocketPeer(socket, unix);
    const wake = () => session.wake();
    const connection =
      version === 1
        ? new Http1Connection(
            { wake, request: (exchange, fields, end) => options.request1?.(exchange, fields, end, peer) },
            options.tls ? "https" : "http",
          )
        : new Connection("server", { wake, request: (stream, fields, end) => options.request(stream, fields, end, peer) }, options);
    const session: Session = new Session<Protocol>(socket, connection);
    socket.data = session;
    sessions.add(session);
    lobby.leave(socket);
    rounds.watch(session);
    if (options.keepalive && version === 2) session.keepAlive({ withoutStreams: true, ...options.keepalive });
    if (closing) connection.drain();
    session.wake();
    return session;
  };

  const handler: SocketHandler<Session | undefined> = {
    binaryType: "uint8array",
    open(socket) {
      if (!unix) socket.setNoDelay(true);
      lobby.enter(socket);
      if (!options.tls && !options.request1) start(socket, 2);
    },
    handshake(socket, _, error) {
      // A certificate that was given has to be right even where none is asked for.
      const wrong = options.tls?.clientCa && error && (options.tls.requireClientCert || socket.getPeerCertificate()?.raw);
      if (wrong) socket.terminate();
      else if (!socket.data && (!options.request1 || socket.alpnProtocol === "h2")) start(socket, 2);
    },
    data(socket, chunk: Uint8Array) {
      if (socket.data) return socket.data.data(chunk);
      const known = lobby.listen(socket, chunk);
      if (known) start(socket, options.request1 ? known.version : 2).data(known.bytes);
    },
    drain(socket) {
      socket.data?.drained();
    },
    close(socket, error) {
      const session = socket.data;
      lobby.leave(socket);
      if (!session) return;
      rounds.forget(session);
      session.closed(error);
      sessions.delete(session);
      if (sessions.size === 0) allClosed?.();
    },
    error(socket, error) {
      socket.data?.closed(error);
    },
  };
  const tls = options.tls ? { tls: serverTls(options.tls) } : {};
  const open = () =>
    unix
      ? Bun.listen<Session | undefined>({
          unix: address.unix,
          socket: handler,
          data: undefined,
          ...tls,
        })
      : Bun.listen<Session | undefined>({
          hostname: address.host,
          port: address.port,
          socket: handler,
          data: undefined,
          ...tls,
        });
  if (unix) await removeStaleSocket(address.unix);
  const listener = open();
  return {
    address: unix ? address : { host: address.host, port: (listener as { port: number }).port },
    async close(grace = 0) {
      if (closing) return;
      closing = true;
      listener.stop(false);
      lobby.close();
      if (unix) removeSocket(address.unix);
      if (sessions.size === 0) return;
      const { promise, resolve } = Promise.withResolvers<void>();
      allClosed = resolve;
      for (const session of sessions) session.connection.drain();
      const cutOff = setTimeout(() => {
        for (const session of sessions) session.terminate();
      }, grace);
      await promise;
      clearTimeout(cutOff);
    },
  };
}

/** Removes a socket that a dead process left; one that somebody answers stays, and listen fails. */
async function removeStaleSocket(path: string): Promise<void> {
  try {
    const socket = await Bun.connect({ unix: path, socket: { data() {}, connectError() {} } });
    socket.terminate();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ECONNREFUSED") removeSocket(path);
  }
}

function removeSocket(path: string): void {
  try {
    unlinkSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
}
