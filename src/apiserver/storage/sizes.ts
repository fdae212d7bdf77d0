// How large the stores are, asked of them now and then.
import type { StoreClient } from "../../client/etcd.ts";
import { logger } from "../../platform/log.ts";

export class StorageSizes {
  readonly #stores: readonly StoreClient[];
  readonly #sizes = new Map<string, number>();
  #timer: ReturnType<typeof setInterval> | undefined;

  constructor(stores: readonly StoreClient[]) {
    this.#stores = stores;
  }

  /** Asks every `interval` milliseconds from now on. */
  start(interval: number): void {
    const ask = () => void Promise.all(this.#stores.map((store, i) => this.#ask(store, `etcd-${i}`)));
    ask();
    this.#timer = setInterval(ask, interval);
    this.#timer.unref?.();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** Bytes by upstream's id of a store. */
  all(): ReadonlyMap<string, number> {
    return this.#sizes;
  }

  async #ask(store: StoreClient, id: string): Promise<void> {
    try {
      this.#sizes.set(id, (await store.status()).dbSize);
    } catch (error) {
      logger("kube-apiserver").info("The store does not tell its size", { store: id, err: error as Error }, 1);
    }
  }
}
