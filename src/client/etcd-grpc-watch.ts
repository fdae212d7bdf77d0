// All watches of a client on one stream, which is opened again when it breaks:
// each watch then goes on with the revision after the last it has seen.
import type { MessageInitShape } from "@bufbuild/protobuf";
import { logger } from "../platform/log.ts";
import { createClient } from "../rpc/client.ts";
import { type WatchRequestSchema, type WatchResponse, Watch as WatchService } from "../rpc/gen/etcd/rpc_pb.ts";
import { Backoff } from "./backoff.ts";
import { StoreError, type Watch, type WatchEvent, type WatchHandler, type WatchOptions } from "./etcd.ts";
import { type Endpoints, isUnreachable, REQUIRE_LEADER, Requests } from "./etcd-grpc-endpoints.ts";
import { storeError, watchEvent } from "./etcd-grpc-messages.ts";
import { ask, type Follower, OwnProgress, tellsProgressInOrder } from "./etcd-grpc-progress.ts";

type Request = MessageInitShape<typeof WatchRequestSchema>;

/** As a key and an end, all keys (etcd's WithFromKey). */
const EVERYTHING = Uint8Array.of(0);

/** The id of a progress answer to the whole stream. */
const NO_WATCH = -1n;

class RemoteWatch implements Watch, Follower {
  readonly key: Uint8Array;
  readonly options: WatchOptions;
  readonly handler: WatchHandler;
  readonly #mux: WatchMux;
  /** On the stream that is open now. */
  id: bigint;
  /** First revision that the handler has not had; 0 until the store has said what "now" is. */
  next: number;
  created = false;
  /** Of a message that comes in fragments. */
  part: WatchEvent[] = [];
  wantsProgress = false;
  /** Finds out by itself where the store does not tell. */
  own: OwnProgress | undefined;

  constructor(mux: WatchMux, id: bigint, key: Uint8Array, options: WatchOptions, handler: WatchHandler) {
    this.#mux = mux;
    this.id = id;
    this.key = key;
    this.options = options;
    this.handler = handler;
    this.next = options.startRevision ?? 0;
  }

  requestProgress(): void {
    this.wantsProgress = true;
    this.#mux.requestProgress(this);
  }

  get progressAtOnce(): boolean {
    return this.#mux.progressAtOnce;
  }

  watchAll(handler: WatchHandler): Watch {
    return this.#mux.watch(EVERYTHING, { end: EVERYTHING, startRevision: this.next }, handler);
  }

  revision(): Promise<number> {
    return this.#mux.revision();
  }

  told(revision: number): void {
    this.#mux.told(this, revision);
  }

  lost(reason: { error: Error; compacted?: number }): void {
    this.#mux.lost(this, reason);
  }

  cancel(): void {
    this.#mux.cancel(this);
  }
}

export class WatchMux {
  readonly #endpoints: Endpoints;
  readonly #watches = new Map<bigint, RemoteWatch>();
  #nextId = 1n;
  #requests: Requests<Request> | undefined;
  /** Whether the member that the stream goes to can be asked how far it is. */
  #inOrder: Promise<boolean> | undefined;
  /** The same, once it is known. */
  progressAtOnce = true;
  #running = false;
  #closed = false;
  #stop = new AbortController();
  #wake: (() => void) | undefined;

  constructor(endpoints: Endpoints) {
    this.#endpoints = endpoints;
  }

  watch(key: Uint8Array, options: WatchOptions, handler: WatchHandler): Watch {
    const watch = new RemoteWatch(this, this.#nextId++, key, options, handler);
    if (this.#closed) {
      queueMicrotask(() => handler.closed({ error: new StoreError("unavailable", "the client is closed") }));
      return watch;
    }
    this.#watches.set(watch.id, watch);
    if (this.#requests) this.#create(watch);
    else if (!this.#running) this.#run();
    return watch;
  }

  cancel(watch: RemoteWatch): void {
    if (this.#watches.get(watch.id) !== watch) return;
    this.#watches.delete(watch.id);
    this.#requests?.push({ requestUnion: { case: "cancelRequest", value: { watchId: watch.id } } });
    if (this.#watches.size === 0) this.#endStream();
  }

  requestProgress(watch: RemoteWatch): void {
    const requests = this.#requests;
    if (!requests) return;
    void this.#tellsProgress(requests).then((inOrder) => {
      if (this.#requests !== requests || !watch.wantsProgress) return;
      if (inOrder) requests.push({ requestUnion: { case: "progressRequest", value: {} } });
      else if (watch.next > 0) {
        watch.own ??= new OwnProgress(watch);
        watch.own.find();
      }
    });
  }

  #tellsProgress(requests: Requests<Request>): Promise<boolean> {
    this.#inOrder ??= tellsProgressInOrder(this.#endpoints.channel).then((inOrder) => {
      if (this.#requests === requests) this.progressAtOnce = inOrder;
      return inOrder;
    });
    return this.#inOrder;
  }

  /** The store's revision now. Throws StoreError. */
  revision(): Promise<number> {
    return ask(this.#endpoints);
  }

  /** All up to the revision is known to have been delivered. */
  told(watch: RemoteWatch, revision: number): void {
    if (this.#watches.get(watch.id) === watch) this.#progress(watch, revision);
  }

  /** What the watch has not seen yet can't be found out any more. */
  lost(watch: RemoteWatch, reason: { error: Error; compacted?: number }): void {
    if (this.#watches.get(watch.id) !== watch) return;
    this.#requests?.push({ requestUnion: { case: "cancelRequest", value: { watchId: watch.id } } });
    this.#end(watch, reason);
  }

  close(): void {
    this.#closed = true;
    this.#watches.clear();
    this.#endStream();
    this.#wake?.();
  }

  #endStream(): void {
    this.#requests?.end();
    this.#requests = undefined;
    this.#stop.abort();
    this.#stop = new AbortController();
  }

  async #run(): Promise<void> {
    this.#running = true;
    const backoff = new Backoff({ initial: 50, max: 5000, factor: 2, jitter: 0.5 });
    while (this.#watches.size > 0 && !this.#closed) {
      const { channel } = this.#endpoints;
      const requests = new Requests<Request>();
      this.#requests = requests;
      this.#inOrder = undefined;
      for (const watch of this.#watches.values()) this.#create(watch);
      try {
        for await (const response of createClient(WatchService, channel).watch(requests, {
          signal: this.#stop.signal,
          headers: REQUIRE_LEADER,
        })) {
          backoff.reset();
          this.#take(response);
        }
      } catch (error) {
        if (this.#requests === requests) {
          logger("etcd-client").info("The watch stream broke; opening it again", { err: error as Error, watches: this.#watches.size }, 1);
          if (!isUnreachable(error)) this.#refuse(error);
          this.#endpoints.next(channel);
        }
      }
      requests.end();
      if (this.#requests === requests) this.#requests = undefined;
      if (this.#watches.size === 0 || this.#closed) break;
      // Ids of the broken stream mean nothing to the next one.
      this.#renumber();
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, backoff.next());
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    this.#running = false;
  }

  #create(watch: RemoteWatch): void {
    const { end, prevKv, progressNotify } = watch.options;
    this.#requests?.push({
      requestUnion: {
        case: "createRequest",
        value: {
          key: watch.key,
          rangeEnd: end,
          startRevision: BigInt(watch.next),
          prevKv,
          progressNotify,
          watchId: watch.id,
          fragment: true,
        },
      },
    });
    // Known before it matters.
    if (progressNotify && this.#requests) void this.#tellsProgress(this.#requests);
    if (watch.wantsProgress) this.requestProgress(watch);
  }

  #renumber(): void {
    const watches = [...this.#watches.values()];
    this.#watches.clear();
    for (const watch of watches) {
      watch.id = this.#nextId++;
      watch.part = [];
      this.#watches.set(watch.id, watch);
    }
  }

  /** The server does not take the stream at all. */
  #refuse(error: unknown): void {
    for (const watch of [...this.#watches.values()]) this.#end(watch, { error: storeError(error) });
  }

  #take(r: WatchResponse): void {
    const revision = Number(r.header?.revision ?? 0n);
    if (r.watchId === NO_WATCH && !r.created) {
      for (const watch of this.#watches.values()) if (watch.wantsProgress) this.#progress(watch, revision);
      return;
    }
    const watch = this.#watches.get(r.watchId);
    if (!watch) return;
    if (r.canceled) {
      const compacted = Number(r.compactRevision);
      const error = compacted
        ? new StoreError("compacted", "etcdserver: mvcc: required revision has been compacted")
        : new StoreError("invalid", r.cancelReason || "the store has canceled the watch");
      return this.#end(watch, compacted ? { compacted, error } : { error });
    }
    if (r.created) return this.#created(watch, revision);
    if (r.events.length === 0 && !r.fragment && watch.part.length === 0) return this.#progress(watch, revision);
    for (const e of r.events) watch.part.push(watchEvent(e));
    if (r.fragment) return;
    const events = watch.part;
    watch.part = [];
    // The header tells how far the store is, which may be ahead of what it has sent.
    const last = events.at(-1)!.kv.modRevision;
    watch.next = last + 1;
    this.#call(watch, () => watch.handler.events(events, last));
    watch.own?.delivered();
  }

  #created(watch: RemoteWatch, revision: number): void {
    if (watch.next === 0) {
      watch.next = revision + 1;
      if (watch.wantsProgress) this.requestProgress(watch);
    }
    if (watch.created) return;
    watch.created = true;
    this.#call(watch, () => watch.handler.created?.(revision));
  }

  #progress(watch: RemoteWatch, revision: number): void {
    watch.wantsProgress = false;
    watch.next = Math.max(watch.next, revision + 1);
    this.#call(watch, () => watch.handler.progress?.(revision));
  }

  #end(watch: RemoteWatch, reason: { error?: Error; compacted?: number }): void {
    if (this.#watches.get(watch.id) !== watch) return;
    this.#watches.delete(watch.id);
    try {
      watch.handler.closed(reason);
    } catch (error) {
      logger("etcd-client").error("A watch handler threw", error);
    }
    if (this.#watches.size === 0) this.#endStream();
  }

  /** A handler that throws loses its watch, and nobody else's. */
  #call(watch: RemoteWatch, run: () => void): void {
    try {
      run();
    } catch (error) {
      logger("etcd-client").error("A watch handler threw; its watch ends", error);
      this.cancel(watch);
      watch.handler.closed({ error: error as Error });
    }
  }
}
