// One address for several apiservers: connections are handed on as they are,
// so that clients and servers keep their TLS, to those that say they are ready.
import { connect, createServer, type Server, type Socket } from "node:net";
import type { Component } from "../../platform/component.ts";
import { logger } from "../../platform/log.ts";

const log = logger("balancer");
/** Milliseconds between two looks at a server, and that it has to answer. */
const INTERVAL = 500;
const PATIENCE = 1000;
/** Milliseconds between two looks while the cluster waits for a server that was never seen, and before a second look in doubt. */
const EAGER = 100;
const EAGER_LOOKS = 100;
/**
 * Looks in vain after which the connections to a server are cut. New ones go
 * elsewhere after the first. One that refuses connections is gone at once.
 */
const STRIKES = 2;
/** Milliseconds for a connection to a server. */
const CONNECT = 2000;

export interface Backend {
  name: string;
  host: string;
  port: number;
}

export interface BalancerOptions {
  listen: { host: string; port: number };
  backends: readonly Backend[];
  /**
   * Asks a server whether it is ready. Resolves where it is, rejects where not;
   * an error with the code ECONNREFUSED says that nobody is there.
   */
  look(backend: Backend, signal: AbortSignal): Promise<void>;
}

interface Target extends Backend {
  /** Whether it answered the last look. */
  ready: boolean;
  /** Looks in vain, one after the other. */
  strikes: number;
  /** What cuts the connections that run to it. */
  connections: Set<() => void>;
}

export class Balancer implements Component {
  readonly name = "balancer";
  readonly #options: BalancerOptions;
  readonly #backends: Target[];
  readonly #stop = new AbortController();
  #server: Server | undefined;
  #port = 0;
  #next = 0;

  constructor(options: BalancerOptions) {
    this.#options = options;
    this.#backends = options.backends.map((b) => ({ ...b, ready: false, strikes: 0, connections: new Set() }));
  }

  get port(): number {
    return this.#port;
  }

  get address(): string {
    return `https://127.0.0.1:${this.#port}`;
  }

  /** Listens, and begins to look at the servers; rejects where the port is taken. */
  async start(): Promise<void> {
    const server = createServer((socket) => this.#accept(socket));
    const { host, port } = this.#options.listen;
    await new Promise<void>((done, failed) => {
      server.once("error", failed);
      server.listen(port, host, done);
    });
    this.#server = server;
    this.#port = (server.address() as { port: number }).port;
    for (const backend of this.#backends) void this.#watch(backend);
  }

  notReady(): string | undefined {
    if (!this.#server) return "not started";
    return this.#backends.some((b) => b.ready) ? undefined : "no apiserver is ready";
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    const closed = new Promise((done) => (this.#server ? this.#server.close(done) : done(undefined)));
    for (const b of this.#backends) this.#cut(b);
    await closed;
  }

  /** Those to try, in order: each ready one has its turn, then the others, one of which may just have come. */
  #order(): Target[] {
    const at = this.#next++ % this.#backends.length;
    const turned = [...this.#backends.slice(at), ...this.#backends.slice(0, at)];
    return [...turned.filter((b) => b.ready), ...turned.filter((b) => !b.ready)];
  }

  #accept(client: Socket): void {
    client.on("error", () => client.destroy());
    client.setNoDelay(true);
    client.pause();
    this.#hand(client, this.#order());
  }

  #hand(client: Socket, [backend, ...others]: Target[]): void {
    if (!backend || client.destroyed) return void client.destroy();
    const { host, port } = backend;
    const onward = connect({ host, port });
    let joined = false;
    let over = false;
    const end = () => {
      if (over) return;
      over = true;
      clearTimeout(late);
      backend.connections.delete(end);
      onward.destroy();
      if (joined) client.destroy();
      else this.#hand(client, others);
    };
    const late = setTimeout(end, CONNECT);
    backend.connections.add(end);
    onward.on("error", end).on("close", end);
    onward.once("connect", () => {
      clearTimeout(late);
      joined = true;
      onward.setNoDelay(true);
      client.once("close", end);
      if (client.destroyed) return end();
      client.pipe(onward).pipe(client);
    });
  }

  #cut(backend: Target): void {
    for (const cut of [...backend.connections]) cut();
  }

  async #watch(backend: Target): Promise<void> {
    const { signal } = this.#stop;
    for (let seen = false; !signal.aborted; ) {
      try {
        await this.#options.look(backend, AbortSignal.any([signal, AbortSignal.timeout(PATIENCE)]));
        if (!backend.ready) log.info("An apiserver is ready", { name: backend.name });
        backend.ready = true;
        backend.strikes = 0;
        seen = true;
      } catch (error) {
        if (signal.aborted) return;
        this.#failed(backend, error as NodeJS.ErrnoException);
      }
      const doubt = seen ? backend.strikes > 0 && backend.strikes < STRIKES : backend.strikes <= EAGER_LOOKS;
      await Bun.sleep(doubt ? EAGER : INTERVAL);
    }
  }

  #failed(backend: Target, error: NodeJS.ErrnoException): void {
    const refused = error.code === "ECONNREFUSED" || error.code === "ConnectionRefused";
    backend.strikes += refused ? STRIKES : 1;
    if (backend.ready) log.warn("An apiserver is not ready; connections go to the others", { name: backend.name, err: error.message });
    backend.ready = false;
    // Who waits on a connection to it would wait for ever where the network is cut, and is helped where another server answers.
    const others = this.#backends.some((b) => b.ready);
    if (backend.strikes < STRIKES || backend.connections.size === 0 || !others) return;
    log.warn("Connections to an apiserver that does not answer are cut", { name: backend.name, connections: backend.connections.size });
    this.#cut(backend);
  }
}
