// An etcd that somebody else runs, as a part of the cluster: it is looked at,
// and neither started nor ended.
import type { StoreClient } from "../../client/etcd.ts";
import { EtcdClient } from "../../client/etcd-grpc.ts";
import type { Component } from "../../platform/component.ts";
import { askStore } from "../store-client.ts";
import { etcdTls } from "./store-choice.ts";
import type { EtcdSettings } from "./up-options.ts";

/** Milliseconds that it may take to answer the first time. */
const PATIENCE = 4000;
const LOOK = 2000;

/** Rejects within seconds where it does not answer. */
export async function lookAt(settings: EtcdSettings): Promise<void> {
  const store = new OutsideStore(settings);
  await store.start();
  await store.stop();
}

export class OutsideStore implements Component {
  readonly name = "etcd";
  readonly address: string;
  readonly #settings: EtcdSettings;
  #client: EtcdClient | undefined;
  #version = "";
  #problem: string | undefined = "not looked at yet";

  constructor(settings: EtcdSettings) {
    this.#settings = settings;
    this.address = settings.servers.join(",");
  }

  get elsewhere(): string {
    return this.#version;
  }

  /** Rejects within seconds where it does not answer. */
  async start(): Promise<void> {
    try {
      await this.#look(PATIENCE);
    } catch (error) {
      throw new Error(`etcd at ${this.address} can't be used: ${(error as Error).message} (--etcd-servers)`);
    }
    this.#client = new EtcdClient({ endpoints: this.#settings.servers, tls: etcdTls(this.#settings) });
  }

  client(): StoreClient {
    if (!this.#client) throw new Error("the store was not started");
    return this.#client;
  }

  async refresh(): Promise<void> {
    await this.#look(LOOK).catch((error: Error) => {
      this.#problem = error.message;
    });
  }

  notReady(): string | undefined {
    return this.#problem;
  }

  async stop(): Promise<void> {
    this.#problem = "stopped";
    await this.#client?.close();
  }

  /** By a connection of its own, as the certificates may have changed. Throws StoreError, or UsageError for a file. */
  async #look(requestTimeout: number): Promise<void> {
    const client = new EtcdClient({
      endpoints: this.#settings.servers,
      tls: etcdTls(this.#settings),
      requestTimeout,
      connectTimeout: requestTimeout,
    });
    try {
      await askStore(client);
      const { version, errors } = await client.status();
      this.#version = version;
      this.#problem = errors[0];
    } finally {
      await client.close();
    }
  }
}
