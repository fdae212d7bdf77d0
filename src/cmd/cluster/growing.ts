// A store that gets more members: the first plane takes over what there is, and
// adds the others one by one, each as a learner until it has caught up.
import { existsSync, mkdirSync, renameSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { syncDirectory, writeDurable } from "../../platform/files.ts";
import { logger } from "../../platform/log.ts";
import type { Store } from "../../store/mod.ts";
import type { DataDir } from "./state.ts";

const log = logger("etcd");
/** Milliseconds between two tries, and that a member may take to come or to catch up. */
const RETRY = 100;
const PATIENCE = 120_000;

/** There while members are still to be added. */
const marker = (dir: DataDir) => dir.file("growing");

/** Before the new number of members is on record, so that no crash leaves planes that nobody adds. A cluster that never ran has nothing to add them to. */
export function markGrowing(dir: DataDir, first: string): void {
  if ([dir.file("etcd"), dir.file(first, "etcd")].some((store) => existsSync(join(store, "wal")))) writeDurable(marker(dir), "");
}
export const isGrowing = (dir: DataDir): boolean => existsSync(marker(dir));

/** What one process kept becomes the first plane's, once. */
export function takeOver(dir: DataDir, first: string): void {
  const [from, to] = [dir.file("etcd"), dir.file(first, "etcd")];
  if (!existsSync(from) || existsSync(to)) return;
  mkdirSync(dirname(to), { recursive: true, mode: 0o700 });
  renameSync(from, to);
  syncDirectory(dirname(to));
  syncDirectory(dir.path);
}

/** Adds the members at these URLs, of which this one has the first, until the signal comes. Goes on where an earlier call ended. */
export async function growStore(store: Store, urls: readonly string[], dir: DataDir, signal: AbortSignal): Promise<void> {
  const { member } = store;
  const { membership } = member.state;
  const own = member.identity.memberId;
  const at = (url: string) => membership.members.find((m) => m.peerUrls.includes(url));
  await eventually("to tell where it is", signal, async () => {
    if (at(urls[0]!)?.id !== own) await member.propose({ type: "memberUpdate", id: own, peerUrls: [urls[0]!] });
  });
  for (const url of urls.slice(1)) {
    await eventually(`to add ${url}`, signal, async () => {
      if (!at(url)) await member.changeMembership({ kind: "addLearner", id: 0n, peerUrls: [url] });
    });
    await eventually(`to promote ${url}`, signal, async () => {
      const { id } = at(url)!;
      if (membership.isLearner(id)) await member.changeMembership({ kind: "promote", id, peerUrls: [] });
    });
    log.info("The store has another member", { url });
  }
  rmSync(marker(dir), { force: true });
}

/** Starts a member that is about to be added, again and again until it has been, or the signal comes. */
export async function joinStore(make: () => Store, signal: AbortSignal): Promise<Store> {
  let store = make();
  await eventually("to join the others", signal, async () => {
    store = make();
    await store.start();
  });
  return store;
}

/** Tries until it works, and says why it does not yet; rejects with that. */
async function eventually(what: string, signal: AbortSignal, work: () => Promise<void>): Promise<void> {
  let said = "";
  for (const deadline = performance.now() + PATIENCE; ; await Bun.sleep(RETRY)) {
    try {
      return await work();
    } catch (error) {
      if (signal.aborted || performance.now() > deadline)
        throw new Error(`the store failed ${what}: ${(error as Error).message}`, { cause: error });
      const { message } = error as Error;
      if (message !== said) log.info(`The store goes on trying ${what}`, { error: message });
      said = message;
    }
  }
}
