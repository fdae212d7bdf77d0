// HTTP/2 servers on TCP, TLS and unix sockets.
import { unlinkSync } from "node:fs";
import type { Socket, SocketHandler } from "bun";
import type { Address, TlsServerOptions } from "../types.ts";
import { Connection, type ConnectionOptions } from "./connection.ts";
import { type Keepalive, Session } from "./session.ts";
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
  tls?: TlsServerOptions;
  keepalive?: Keepalive;
  /** Answers a request: returns who listens to the rest of it, or nothing to refuse it. */
  request(stream: Stream, fields: string[], end: boolean, peer: Peer): StreamListener | undefined;
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
  let closing = false;
  let allClosed: (() => void) | undefined;

  const start = (socket: Socket<Session | undefined>): void => {
    const peer = new SocketPeer(socket, unix);
    const connection: Connection = new Connection(
      "server",
      { wake: () => session.wake(), request: (stream, fields, end) => options.request(stream, fields, end, peer) },
      options,
    );
    const session = new Session(socket, connection);
    socket.data = session;
    sessions.add(session);
    if (options.keepalive) session.keepAlive(options.keepalive);
    if (closing) connection.drain();
    session.wake();
  };

  const handler: SocketHandler<Session | undefined> = {
    binaryType: "uint8array",
    open(socket) {
      if (!unix) socket.setNoDelay(true);
      if (!options.tls) start(socket);
    },
    handshake(socket, _, error) {
      // A certificate that was given has to be right even where none is asked for.
      const wrong = options.tls?.clientCa && error && (options.tls.requireClientCert || socket.getPeerCertificate()?.raw);
      if (wrong) socket.terminate();
      else if (!socket.data) start(socket);
    },
    data(socket, chunk: Uint8Array) {
      socket.data?.data(chunk);
    },
    drain(socket) {
      socket.data?.drained();
    },
    close(socket, error) {
      const session = socket.data;
      if (!session) return;
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
