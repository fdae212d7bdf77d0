// HTTP/2 clients over TCP, TLS and unix sockets.
import type { Socket, SocketHandler } from "bun";
import type { Address, TlsClientOptions } from "../types.ts";
import { Connection } from "./connection.ts";
import type { ConnectionEvents, ConnectionOptions } from "./options.ts";
import { type Keepalive, Session } from "./session.ts";
import { clientTls } from "./tls.ts";

export interface DialOptions extends ConnectionOptions {
  tls?: TlsClientOptions;
  keepalive?: Keepalive;
  /** Milliseconds until the attempt fails. Default 20 000. */
  connectTimeout?: number;
  settings?: ConnectionEvents["settings"];
  goingAway?: ConnectionEvents["goingAway"];
  streamEnded?: ConnectionEvents["streamEnded"];
}

export interface Http2Client {
  readonly connection: Connection;
  /** Closes the socket at once; streams fail. */
  terminate(): void;
}

/** Connects; resolves once the peer's SETTINGS have come, so that what answers is known to speak HTTP/2. */
export async function dial(address: Address, options: DialOptions = {}): Promise<Http2Client> {
  const { promise, resolve, reject } = Promise.withResolvers<Http2Client>();
  let session: Session | undefined;
  let settled = false;
  const fail = (error: Error) => {
    settled = true;
    reject(error);
  };

  const start = (socket: Socket<undefined>): void => {
    const connection = new Connection(
      "client",
      {
        wake: () => made.wake(),
        settings() {
          if (!settled) {
            settled = true;
            clearTimeout(timer);
            resolve({ connection, terminate: () => made.terminate() });
          }
          options.settings?.();
        },
        goingAway(clean, reason) {
          if (!settled) fail(new Error(reason));
          options.goingAway?.(clean, reason);
        },
        streamEnded: options.streamEnded,
      },
      options,
    );
    const made = new Session(socket, connection);
    session = made;
    if (options.keepalive) made.keepAlive(options.keepalive);
    made.wake();
  };

  const handler: SocketHandler<undefined> = {
    binaryType: "uint8array",
    open(socket) {
      if (!("unix" in address)) socket.setNoDelay(true);
      if (!options.tls) start(socket);
    },
    handshake(socket, success, error) {
      if (success || options.tls?.insecureSkipVerify) return start(socket);
      fail(error ?? new Error("TLS handshake failed"));
      socket.terminate();
    },
    data(_, chunk: Uint8Array) {
      session?.data(chunk);
    },
    drain() {
      session?.drained();
    },
    close(_, error) {
      session?.lost(error);
      if (!settled) fail(error ?? new Error("the connection was closed"));
    },
    error(_, error) {
      session?.lost(error);
      if (!settled) fail(error);
    },
    connectError(_, error) {
      fail(error);
    },
  };
  let opened: Socket<undefined> | undefined;
  const timer = setTimeout(() => {
    fail(new Error(`no HTTP/2 connection within ${options.connectTimeout ?? 20_000} ms`));
    opened?.terminate();
  }, options.connectTimeout ?? 20_000);
  try {
    const socket = handler;
    const connecting =
      "unix" in address
        ? Bun.connect({ unix: address.unix, socket })
        : Bun.connect({
            hostname: address.host,
            port: address.port,
            socket,
            ...(options.tls ? { tls: clientTls(options.tls, address.host) } : {}),
          });
    connecting.then(
      (made) => {
        opened = made;
        if (settled && !session) made.terminate();
      },
      (error) => fail(error as Error),
    );
    return await promise;
  } finally {
    clearTimeout(timer);
  }
}
