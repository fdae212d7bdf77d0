// The store: etcd's data model and API, in this process or behind gRPC.
import type { StoreClient } from "../client/etcd.ts";
import type { Component } from "../platform/component.ts";
import type { RpcListener, RpcServer } from "../rpc/server.ts";
import type { Address } from "../rpc/types.ts";
import { type AutoCompaction, startAutoCompaction } from "./autocompact.ts";
import { DirectClient } from "./direct.ts";
import { Member } from "./member.ts";
import { publish } from "./membership/publish.ts";
import type { MemberOptions } from "./options.ts";
import type { EtcdServerOptions } from "./server/server.ts";

export interface StoreOptions extends MemberOptions, Omit<Partial<EtcdServerOptions>, "electionTimeout"> {
  /** The member's name in member lists. Default "default". */
  name?: string;
  /** Where to serve the etcd API; nowhere by default. */
  listen?: readonly Address[];
  /** Compacts by itself; by default only when asked to. */
  autoCompaction?: AutoCompaction;
}

/**
 * A member of a store: the only one, or one of several.
 *
 * ```ts
 * const store = new Store({ dataDir: ".kubun/store" });
 * await store.start();
 * const client = store.client();
 * ```
 */
export class Store implements Component {
  readonly name = "etcd";
  readonly member: Member;
  readonly #options: StoreOptions;
  /** Of the server on the client port, for metrics. */
  methods: RpcServer["methods"] = new Map();
  #listeners: RpcListener[] = [];
  #urls: string[] = [];
  #stopCompaction: (() => void) | undefined;
  #stopChecks: (() => void) | undefined;
  #started = false;
  #published: Promise<boolean> = Promise.resolve(false);

  constructor(options: StoreOptions) {
    this.#options = options;
    this.member = new Member(options);
    this.member.onRemoved = () => void this.stop();
  }

  /** The first URL that it serves at, if any. */
  get address(): string | undefined {
    return this.#urls[0];
  }

  get urls(): readonly string[] {
    return this.#urls;
  }

  async start(): Promise<void> {
    await this.member.open();
    const { initialCorruptCheck, corruptCheckTime = 0 } = this.#options;
    if (initialCorruptCheck || corruptCheckTime > 0) await this.#checkCorruption(initialCorruptCheck === true, corruptCheckTime);
    const { listen = [], name = "default", autoCompaction } = this.#options;
    if (listen.length > 0) {
      try {
        const { serveEtcd, urlOf } = await import("./server/server.ts");
        const server = await serveEtcd(this.member, listen, { ...this.#options, name });
        this.#listeners = server.listeners;
        this.methods = server.methods;
        this.#urls = this.#listeners.map((l) => urlOf(l.address, this.#options.tls !== undefined));
      } catch (error) {
        await this.member.stop();
        throw error;
      }
    }
    this.#published = publish(
      this.member,
      name,
      this.#options.advertiseClientUrls?.length ? this.#options.advertiseClientUrls : this.#urls,
    );
    if (autoCompaction) this.#stopCompaction = startAutoCompaction(this.member, autoCompaction);
    this.#started = true;
  }

  /** Resolves with true once it takes part in its cluster, which takes a leader, and with false if it stops before. */
  get takesPart(): Promise<boolean> {
    return this.#published;
  }

  async #checkCorruption(atStart: boolean, interval: number): Promise<void> {
    const { checkAtStart, watchCorruption } = await import("./corrupt.ts");
    try {
      if (atStart) await checkAtStart(this.member);
    } catch (error) {
      await this.member.stop();
      throw error;
    }
    if (interval > 0) this.#stopChecks = watchCorruption(this.member, interval);
  }

  notReady(): string | undefined {
    if (!this.#started) return "the data directory is being read";
    if (!this.member.running) return "stopped";
    if (this.member.failure) return this.member.failure;
    return this.member.alarms.length > 0 ? `alarm ${this.member.alarms.map((a) => a.kind.toUpperCase()).join(", ")}` : undefined;
  }

  /** The client for systems in this process; no bytes are copied. */
  client(): StoreClient {
    return new DirectClient(this.member);
  }

  async stop(): Promise<void> {
    // While clients end their calls, the other members hear of it.
    this.member.announceStop();
    this.#stopCompaction?.();
    this.#stopChecks?.();
    await Promise.all(this.#listeners.splice(0).map((l) => l.close(100)));
    await this.member.stop();
  }
}
