// Keeps the store from growing for ever: every few minutes the history before
// the last round is dropped. Several apiservers agree by a key of the store on
// whose round it is (k8s.io/apiserver/pkg/storage/etcd3/compact.go).
import type { StoreClient } from "../../client/etcd.ts";
import { logger } from "../../platform/log.ts";

const log = logger("kube-apiserver");
const key = Buffer.from("compact_rev_key");
const defaultInterval = 300_000;

export class Compactor {
  readonly #client: StoreClient;
  /** The key's version as this server last saw it. */
  #round = 0;
  /** The store's revision then. */
  #revision = 0;
  #timer: ReturnType<typeof setInterval> | undefined;

  constructor(client: StoreClient) {
    this.#client = client;
  }

  start(interval = defaultInterval): void {
    this.#timer = setInterval(() => {
      this.run().catch((error: unknown) => log.error("The store was not compacted", error));
    }, interval);
    this.#timer.unref?.();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** One round. Only the server that is first in it compacts, up to where the store was in its own last round. */
  async run(): Promise<void> {
    const { succeeded, revision, results } = await this.#client.txn(
      [{ key, target: "version", op: "=", value: this.#round }],
      [{ type: "put", key, value: Buffer.from(String(this.#revision)) }],
      [{ type: "range", key }],
    );
    const before = this.#revision;
    this.#revision = revision;
    if (!succeeded) {
      const [found] = results;
      this.#round = (found?.type === "range" && found.kvs[0]?.version) || 0;
      return;
    }
    this.#round++;
    if (before > 0) await this.#client.compact(before);
  }
}
