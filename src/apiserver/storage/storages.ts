// The stores of an apiserver: one for most resources, and those that hold what
// --etcd-servers-overrides names.
import type { StoreClient } from "../../client/etcd.ts";
import { collectionKey } from "./keys.ts";
import type { Storage } from "./storage.ts";

export class Storages {
  readonly main: Storage;
  /** The main one first. */
  readonly all: readonly Storage[];
  readonly #byCollection = new Map<string, Storage>();

  /**
   * @param overrides stores by "group/resource"; one client makes one cache
   * @param open makes the cache of a store
   */
  constructor(main: StoreClient, overrides: ReadonlyMap<string, StoreClient>, open: (client: StoreClient) => Storage) {
    const storages = new Map<StoreClient, Storage>();
    const storageOf = (client: StoreClient): Storage => {
      const storage = storages.get(client) ?? open(client);
      storages.set(client, storage);
      return storage;
    };
    this.main = storageOf(main);
    for (const [name, client] of overrides) {
      const slash = name.indexOf("/");
      this.#byCollection.set(collectionKey(name.slice(0, slash), name.slice(slash + 1)), storageOf(client));
    }
    this.all = [...storages.values()];
  }

  /** Where a collection lies; groups that share one share its store. */
  of(group: string, plural: string): Storage {
    return this.#byCollection.get(collectionKey(group, plural)) ?? this.main;
  }

  get ready(): boolean {
    return this.all.every((s) => s.ready);
  }

  async start(): Promise<void> {
    await Promise.all(this.all.map((s) => s.start()));
  }

  stop(): void {
    for (const s of this.all) s.stop();
  }
}
