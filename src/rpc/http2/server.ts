// HTTP servers on TCP, TLS and unix sockets: HTTP/2, and HTTP/1.1 where asked for.
import { unlinkSync } from "node:fs";
import type { Socket, SocketHandler } from "bun";
import type { Exchange } from "../exchange.ts";
import { Http1Connection } from "../http1/connection.ts";
import { Tunnel } from "../http1/tunnel.ts";
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
  /** Its subject. */
  readonly subject: CertificateSubject | undefined;
  /** What is wrong with the certificate of a client that was admitted all the same. */
  readonly certificateError: string | undefined;
}

/** Attributes of a name by their short names, as node:tls gives them; several of one in an array. */
export type CertificateSubject = Record<string, string | string[] | undefined>;

/** Requests of HTTP/1.1 to speak another protocol on their connection. */
export interface Upgrades {
  /** Whether a protocol is one of them, by its name in lower case. Requests for others are answered as if they asked for none. */
  takes(protocol: string): boolean;
  /** Answers one; what came behind its head is in `head`. */
  accept(socket: Tunnel, fields: readonly string[], head: Uint8Array, peer: Peer): void;
}

export interface ListenOptions extends ConnectionOptions {
  limits?: ConnectionLimits;
  tls?: TlsServerOptions;
  keepalive?: Keepalive;
  /** Answers a request: returns who listens to the rest of it, or nothing to refuse it. */
  request(stream: Stream, fields: readonly string[], end: boolean, peer: Peer): StreamListener | undefined;
  /** The same for requests of HTTP/1.1; absent, only HTTP/2 is spoken. */
  request1?(exchange: Exchange, fields: string[], end: boolean, peer: Peer): StreamListener | undefined;
  /** Absent, there are none. */
  upgrades?: Upgrades;
  /** Share of the requests of HTTP/2 after which their connection is drained, 0 to 1, so that clients spread over servers. Default 0. */
  goawayChance?: number;
  /** Milliseconds of silence after which the kernel asks whether the peer is there. Default: it never does. */
  tcpKeepAlive?: number;
  /** A handshake that failed: bad TLS, or a certificate that is not admitted. */
  handshakeFailed?(error: Error | undefined, address: string): void;
}

export interface Http2Listener {
  /** With the port that was picked, where 0 was asked for. */
  readonly address: Address;
  /** Accepts no more connections, and takes no more requests on those that are there. */
  drain(): void;
  /**
   * The same, and resolves when those that run have ended, or
   * after `grace` milliseconds (default 0: they are cut off).
   */
  close(grace?: number): Promise<void>;
}

class SocketPeer implements Peer {
  readonly address: string;
  readonly #socket: Socket<unknown>;
  #certificate: Uint8Array | null | undefined;
  #subject: CertificateSubject | null | undefined;
  certificateError: string | undefined;
  constructor(socket: Socket<unknown>, unix: boolean) {
    this.#socket = socket;
    this.address = unix ? "@" : addressOf(socket);
  }
  get certificate(): Uint8Array | undefined {
    if (this.#certificate === undefined) {
      const raw = this.#socket.authorized ? this.#socket.getPeerCertificate()?.raw : undefined;
      this.#certificate = raw ? new Uint8Array(raw) : null;
    }
    return this.#certificate ?? undefined;
  }
  get subject(): CertificateSubject | undefined {
    if (this.#subject === undefined) {
      const subject = this.#socket.authorized ? this.#socket.getPeerCertificate()?.subject : undefined;
      this.#subject = (subject as CertificateSubject | undefined) ?? null;
    }
    return this.#subject ?? undefined;
  }
}

/** "127.0.0.1:40000" or "[::1]:40000". */
function addressOf({ remoteAddress: host, remotePort }: Socket<unknown>): string {
  return `${host.includes(":") ? `[${host}]` : host}:${remotePort}`;
}

/** Whoever has the socket: a session of HTTP, or what it has become. */
type Owner = Session | Tunnel;

/** Listens at `address`; throws what the system says, such as EADDRINUSE. */
export async function listen(address: Address, options: ListenOptions): Promise<Http2Listener> {
  const owners = new Set<Owner>();
  const unix = "unix" in address;
  const rounds = new Rounds(options.limits ?? {});
  const lobby = new Lobby<Socket<Owner | undefined>>(rounds);
  const certificateErrors = new WeakMap<object, string>();
  const { goawayChance = 0, upgrades } = options;
  let closing = false;
  let ending = false;
  let allClosed: (() => void) | undefined;

  const own = (socket: Socket<Owner | undefined>, owner: Owner) => {
    socket.data = owner;
    owners.add(owner);
    rounds.watch(owner);
  };
  const disown = (owner: Owner) => {
    rounds.forget(owner);
    owners.delete(owner);
    if (owners.size === 0) allClosed?.();
  };

  const start = (socket: Socket<Owner | undefined>, version: 1 | 2): Session => {
    const peer = new SocketPeer(socket, unix);
    peer.certificateError = certificateErrors.get(socket);
    const connection = version === 1 ? http1(socket, peer) : http2(peer);
    const wake = () => session.wake();
    const session: Session = new Session<Protocol>(
      socket,
      connection(wake, () => session),
    );
    lobby.leave(socket);
    own(socket, session);
    if (options.keepalive && version === 2) session.keepAlive({ withoutStreams: true, ...options.keepalive });
    if (closing) session.connection.drain();
    session.wake();
    return session;
  };

  const http2 = (peer: Peer) => (wake: () => void) => {
    const connection: Connection = new Connection(
      "server",
      {
        wake,
        request(stream, fields, end) {
          if (goawayChance > 0 && Math.random() < goawayChance) connection.drain();
          return options.request(stream, fields, end, peer);
        },
      },
      options,
    );
    return connection;
  };

  const http1 = (socket: Socket<Owner | undefined>, peer: Peer) => (wake: () => void, session: () => Session) =>
    new Http1Connection(
      {
        wake,
        request: (exchange, fields, end) => options.request1?.(exchange, fields, end, peer),
        upgrade(fields, rest, unsent) {
          if (!upgrades?.takes(fields.at(-1)!)) return false;
          const tunnel = new Tunnel(socket, unsent);
          session().detach();
          own(socket, tunnel);
          disown(session());
          upgrades.accept(tunnel, fields, rest, peer);
          return true;
        },
        pause: (paused) => void (paused ? socket.pause() : socket.resume()),
      },
      options.tls ? "https" : "http",
      { maxHead: options.maxHeaderListSize },
    );

  const handler: SocketHandler<Owner | undefined> = {
    binaryType: "uint8array",
    open(socket) {
      if (!unix) {
        socket.setNoDelay(true);
        if (options.tcpKeepAlive) socket.setKeepAlive(true, options.tcpKeepAlive);
      }
      lobby.enter(socket);
      if (!options.tls && !options.request1) start(socket, 2);
    },
    handshake(socket, success, error) {
      const failed = () => options.handshakeFailed?.(error ?? undefined, addressOf(socket));
      if (!success) failed();
      // A certificate that was given has to be right even where none is asked for.
      const wrong = options.tls?.clientCa && error && (options.tls.requireClientCert || socket.getPeerCertificate()?.raw);
      if (wrong && options.tls?.admitUnverified) certificateErrors.set(socket, error.message);
      else if (wrong) {
        if (success) failed();
        return void socket.terminate();
      }
      if (!socket.data && (!options.request1 || socket.alpnProtocol === "h2")) start(socket, 2);
    },
    data(socket, chunk: Uint8Array) {
      if (socket.data) return socket.data.data(chunk);
      const known = lobby.listen(socket, chunk);
      if (known) start(socket, options.request1 ? known.version : 2).data(known.bytes);
    },
    drain(socket) {
      socket.data?.drained();
    },
    end(socket) {
      if (socket.data) socket.data.inputEnded();
      else socket.terminate();
    },
    close(socket, error) {
      const owner = socket.data;
      lobby.leave(socket);
      if (!owner) return;
      owner.lost(error);
      disown(owner);
    },
    error(socket, error) {
      socket.data?.lost(error);
    },
  };
  const tls = options.tls ? { tls: serverTls(options.tls) } : {};
  const open = () =>
    unix
      ? Bun.listen<Owner | undefined>({
          unix: address.unix,
          socket: handler,
          data: undefined,
          ...tls,
        })
      : Bun.listen<Owner | undefined>({
          hostname: address.host,
          port: address.port,
          socket: handler,
          data: undefined,
          ...tls,
        });
  if (unix) await removeStaleSocket(address.unix);
  const listener = open();
  const drain = () => {
    if (closing) return;
    closing = true;
    listener.stop(false);
    lobby.close();
    if (unix) removeSocket(address.unix);
    for (const owner of owners) owner.connection.drain();
  };
  return {
    address: unix ? address : { host: address.host, port: (listener as { port: number }).port },
    drain,
    async close(grace = 0) {
      if (ending) return;
      ending = true;
      drain();
      if (owners.size === 0) return;
      const { promise, resolve } = Promise.withResolvers<void>();
      allClosed = resolve;
      const cutOff = setTimeout(() => {
        for (const owner of owners) {
          owner.terminate();
          // Bun tells of the end of a socket that was half closed only seconds later.
          owner.lost();
        }
        resolve();
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
