// The store of others, as the commands that use one see it.
import type { StoreClient } from "../client/etcd.ts";
import { logger } from "../platform/log.ts";
import { UsageError } from "./flags.ts";

/** Milliseconds that a store is waited for, and between two looks (upstream's etcdRetryLimit and etcdRetryInterval). */
const PATIENCE = 60_000;
const INTERVAL = 1000;

/** Throws UsageError for what is no address of a store. */
export function checkEndpoints(endpoints: readonly string[], flag = "etcd-servers"): void {
  for (const endpoint of endpoints) {
    const local = /^unixs?:\/\/.+$/.test(endpoint);
    const url = URL.canParse(endpoint) ? new URL(endpoint) : undefined;
    const remote = url && ["http:", "https:"].includes(url.protocol) && url.hostname !== "" && url.pathname === "/" && url.search === "";
    if (!local && !remote)
      throw new UsageError(
        `invalid value ${JSON.stringify(endpoint)} for flag --${flag}: must be like "https://10.0.0.1:2379", an http://, https:// or unix:// URL`,
      );
  }
}

/** One read, which takes a quorum. Throws StoreError. */
export const askStore = (store: StoreClient) => store.range(Uint8Array.of(0), { limit: 1, keysOnly: true });

/**
 * Waits for a store that is not there yet. False when `ended` came first.
 * @throws Error with the store's last words after a minute
 */
export async function storeThere(store: StoreClient, ended: Promise<void>): Promise<boolean> {
  const deadline = performance.now() + PATIENCE;
  for (;;) {
    const outcome = await Promise.race([
      ended.then(() => "ended" as const),
      askStore(store).then(
        () => "there" as const,
        (error: Error) => error,
      ),
    ]);
    if (outcome === "there" || outcome === "ended") return outcome === "there";
    if (performance.now() > deadline) throw new Error(`error waiting for etcd connection: ${outcome.message}`);
    logger("kube-apiserver").warn("The store is not there yet", { err: outcome.message });
    if ((await Promise.race([ended.then(() => true), Bun.sleep(INTERVAL)])) === true) return false;
  }
}
