// The store: etcd's data model and API, in this process or behind gRPC.
import type { StoreClient } from "../client/etcd.ts";
import type { Component } from "../platform/component.ts";
import { DirectClient } from "./direct.ts";
import { Member, type MemberOptions } from "./member.ts";

export interface StoreOptions extends MemberOptions {
  /** The member's name in member lists. Default "default". */
  name?: string;
}

/**
 * A store of one member.
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
  #started = false;

  constructor(options: StoreOptions) {
    this.member = new Member(options);
  }

  async start(): Promise<void> {
    await this.member.open();
    this.#started = true;
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

  stop(): Promise<void> {
    return this.member.stop();
  }
}
