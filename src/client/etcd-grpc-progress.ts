// How far a watch has come, on members that can't be asked: before 3.4.25 and
// 3.5.8 etcd answers a progress request ahead of events that it has still to
// send (etcd issue 15220).
import { logger } from "../platform/log.ts";
import { type Channel, createClient } from "../rpc/client.ts";
import { KV, Maintenance } from "../rpc/gen/etcd/rpc_pb.ts";
import type { Watch, WatchEvent, WatchHandler } from "./etcd.ts";
import type { Endpoints } from "./etcd-grpc-endpoints.ts";
import { storeError } from "./etcd-grpc-messages.ts";

const ASK_TIMEOUT = 5000;

/** Whether a version of etcd sends what it owes before it says how far it is. */
export function progressInOrder(version: string): boolean {
  const [major = 0, minor = 0, patch = 0] = version.split(/[.-]/).map(Number);
  if (major !== 3) return major > 3;
  if (minor === 4) return patch >= 25;
  return minor === 5 ? patch >= 8 : minor > 5;
}

/** As the member says itself; false where it does not say. */
export async function tellsProgressInOrder(channel: Channel): Promise<boolean> {
  try {
    return progressInOrder((await createClient(Maintenance, channel).status({}, { timeout: ASK_TIMEOUT })).version);
  } catch (error) {
    logger("etcd-client").info("A member does not tell its version", { err: error as Error }, 2);
    return false;
  }
}

/** The store's revision now, by a read that takes a quorum. Throws StoreError. */
export async function ask(endpoints: Endpoints): Promise<number> {
  const request = { key: Uint8Array.of(0), keysOnly: true };
  try {
    const r = await endpoints.call(true, ASK_TIMEOUT, (channel, timeout) => createClient(KV, channel).range(request, { timeout }));
    return Number(r.header?.revision ?? 0n);
  } catch (error) {
    throw storeError(error);
  }
}

/** A watch, as it is seen from here. */
export interface Follower {
  readonly key: Uint8Array;
  readonly options: { end?: Uint8Array };
  /** First revision that its handler has not had; 0 before it stands. */
  readonly next: number;
  revision(): Promise<number>;
  /** Watches every key of the store from `next` on. */
  watchAll(handler: WatchHandler): Watch;
  told(revision: number): void;
  lost(reason: { error: Error; compacted?: number }): void;
}

const inRange = ({ key, options }: Follower, candidate: Uint8Array) =>
  options.end ? Buffer.compare(candidate, key) >= 0 && Buffer.compare(candidate, options.end) < 0 : Buffer.compare(candidate, key) === 0;

/**
 * Every revision has an event of some key. So a second watch, of all keys, is
 * sure to come to the revision that the store is at, and has then told which of
 * the events before it are the first watch's own: with those delivered nothing
 * before that revision is still to come.
 */
export class OwnProgress {
  readonly #watch: Follower;
  #running = false;
  #again = false;
  /** What the watch has to have delivered, and what is then known. */
  #due: { own: number; revision: number; done: () => void } | undefined;

  constructor(watch: Follower) {
    this.#watch = watch;
  }

  /** Tells the watch, once it is so, that all up to the store's revision of now has been delivered. */
  find(): void {
    if (this.#running) {
      this.#again = true;
      return;
    }
    this.#running = true;
    void this.#find()
      .catch((error: unknown) => logger("etcd-client").info("It can't be told how far a watch is", { err: error as Error }, 1))
      .finally(() => {
        this.#running = false;
        if (!this.#again) return;
        this.#again = false;
        this.find();
      });
  }

  /** The watch has delivered something. */
  delivered(): void {
    const due = this.#due;
    if (!due || this.#watch.next <= due.own) return;
    this.#due = undefined;
    this.#watch.told(Math.max(due.revision, this.#watch.next - 1));
    due.done();
  }

  async #find(): Promise<void> {
    const revision = await this.#watch.revision();
    const own = this.#watch.next > revision ? 0 : await this.#lastOwn(revision);
    await new Promise<void>((done) => {
      this.#due = { own, revision, done };
      this.delivered();
    });
  }

  /** The last revision up to `until` that the watch has to report and may not have; 0 for none. */
  #lastOwn(until: number): Promise<number> {
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    let own = 0;
    const all = this.#watch.watchAll({
      events: (events: WatchEvent[], revision) => {
        for (const { kv } of events)
          if (kv.modRevision <= until && kv.modRevision > own && inRange(this.#watch, kv.key)) own = kv.modRevision;
        if (revision < until) return;
        all.cancel();
        resolve(own);
      },
      closed: (reason) => {
        const error = reason.error ?? new Error("the watch of all keys ended");
        // The events in between are gone, so only a new start shows what they made.
        if (reason.compacted !== undefined) this.#watch.lost({ error, compacted: reason.compacted });
        reject(error);
      },
    });
    return promise;
  }
}
