// Members of one cluster in this process, with sockets of their own between them.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort, freePorts } from "../../testing/ports.ts";
import { Store, type StoreOptions } from "../mod.ts";

/** Waits for a state; throws what it waited for after `deadline` milliseconds. */
export async function until<T>(
  what: string,
  state: () => T | undefined | false | Promise<T | undefined | false>,
  deadline = 20_000,
): Promise<T> {
  const end = performance.now() + deadline;
  for (;;) {
    const found = await state();
    if (found) return found;
    if (performance.now() > end) throw new Error(`not within ${deadline} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

const LOCAL = "127.0.0.1";

export class Members implements AsyncDisposable {
  readonly dir = mkdtempSync(join(tmpdir(), "kubun-members-"));
  readonly stores = new Map<string, Store>();
  readonly #peerPorts = new Map<string, number>();
  readonly #options: Partial<StoreOptions>;

  constructor(options: Partial<StoreOptions> = {}) {
    this.#options = { heartbeatInterval: 20, electionTimeout: 200, ...options };
  }

  /** Starts a new cluster of members with these names. */
  static async start(names: readonly string[], options: Partial<StoreOptions> = {}): Promise<Members> {
    const members = new Members(options);
    const ports = freePorts(names.length);
    for (const [i, name] of names.entries()) members.#peerPorts.set(name, ports[i]!);
    await Promise.all(names.map((name) => members.start(name)));
    return members;
  }

  peerUrl(name: string): string {
    const scheme = this.#options.peer?.tls ? "https" : "http";
    const port = this.#peerPorts.get(name) ?? freePort();
    this.#peerPorts.set(name, port);
    return `${scheme}://${LOCAL}:${port}`;
  }

  dataDir(name: string): string {
    return join(this.dir, name);
  }

  async start(name: string, options: Partial<StoreOptions> = {}): Promise<Store> {
    const url = this.peerUrl(name);
    const store = new Store({
      dataDir: this.dataDir(name),
      name,
      listen: [{ host: LOCAL, port: 0 }],
      peerUrls: [url],
      initialCluster: [...this.#peerPorts.keys()].map((n) => `${n}=${this.peerUrl(n)}`).join(),
      ...this.#options,
      ...options,
      peer: { ...(options.peer ?? this.#options.peer), listen: [{ host: LOCAL, port: Number(new URL(url).port) }] },
    });
    this.stores.set(name, store);
    await store.start();
    return store;
  }

  async stop(name: string): Promise<void> {
    const store = this.stores.get(name)!;
    this.stores.delete(name);
    await store.stop();
  }

  get(name: string): Store {
    return this.stores.get(name)!;
  }

  id(name: string): bigint {
    return this.get(name).member.identity.memberId;
  }

  /** Resolves with the leader that all of those that run agree on. */
  leader(): Promise<Store> {
    return until("one leader for all", () => {
      const stores = [...this.stores.values()];
      const leader = stores.find((s) => s.member.consensus.isLeader);
      return leader && stores.every((s) => s.member.consensus.leader === leader.member.identity.memberId) && leader;
    });
  }

  /** A member that does not lead. */
  async follower(): Promise<Store> {
    const leader = await this.leader();
    return [...this.stores.values()].find((s) => s !== leader)!;
  }

  async stopAll(): Promise<void> {
    await Promise.all([...this.stores.keys()].map((name) => this.stop(name)));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stopAll();
    rmSync(this.dir, { recursive: true, force: true });
  }
}
