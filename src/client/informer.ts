// Reflector and shared informers (k8s.io/client-go/tools/cache): one list and
// one watch for each collection, shared by all who want to know of it.
import type { GroupVersionResource, KubeObject } from "../api/object.ts";
import { isGone, StatusError } from "../api/status.ts";
import { type Logger, logger } from "../platform/log.ts";
import { Backoff, reflectorBackoff } from "./backoff.ts";
import { type Clock, realClock, wait } from "./clock.ts";
import { keyOf } from "./resources.ts";
import { type IndexFunction, type Lister, Store } from "./store.ts";
import type { ApiTransport, Target } from "./transport.ts";

export interface Handler<T> {
  /** `initial` is set for what the first list found. */
  add?(object: T, initial: boolean): void;
  /** Also when a list found it changed while the watch was away. */
  update?(before: T, after: T): void;
  /** `stale`: found missing by a list, so `last` is the state last seen and not the final one. */
  delete?(last: T, tombstone: { stale: boolean }): void;
}

export interface Selection {
  namespace?: string;
  labelSelector?: string;
  fieldSelector?: string;
}

export interface InformerOptions extends Selection {
  clock?: Clock;
  log?: Logger;
  /** Get the first state through the watch (KEP-3157) instead of a list. */
  streamInitial?: boolean;
  /** Tells of trouble with the apiserver, and of its end with undefined. */
  onTrouble?(trouble: string | undefined): void;
}

/** Watches end by themselves after this many seconds, up to twice as much at random, as client-go's do. */
const minWatchSeconds = 300;

export class Informer<T extends KubeObject> implements AsyncDisposable {
  readonly lister: Lister<T>;
  /** Resolves when the handlers have seen all that the first list found. */
  readonly synced: Promise<void>;
  readonly #store = new Store<T>();
  readonly #handlers = new Set<Handler<T>>();
  readonly #transport: ApiTransport;
  readonly #target: Target;
  readonly #options: InformerOptions;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #stop = new AbortController();
  #markSynced: () => void = () => {};
  #hasSynced = false;
  #running: Promise<void> | undefined;
  #resourceVersion = "";
  #streamInitial: boolean;

  constructor(transport: ApiTransport, of: GroupVersionResource & { item?: T }, options: InformerOptions = {}) {
    this.#transport = transport;
    this.#target = {
      group: of.group,
      version: of.version,
      resource: of.resource,
      ...(options.namespace ? { namespace: options.namespace } : {}),
    };
    this.#options = options;
    this.#clock = options.clock ?? realClock;
    this.#log = options.log ?? logger("informer");
    this.#streamInitial = options.streamInitial ?? false;
    this.lister = this.#store;
    this.synced = new Promise((resolve) => {
      this.#markSynced = resolve;
    });
  }

  get hasSynced(): boolean {
    return this.#hasSynced;
  }

  /** The version of the collection that the cache reflects. */
  get resourceVersion(): string {
    return this.#resourceVersion;
  }

  /** Adds an index; may be called at any time. */
  addIndex(name: string, values: IndexFunction<T>): this {
    this.#store.addIndex(name, values);
    return this;
  }

  /** Calls the handler for all that is there, then for each change; returns what takes it away. */
  on(handler: Handler<T>): () => void {
    this.#handlers.add(handler);
    for (const object of this.#store.list()) this.#call(() => handler.add?.(object, true));
    return () => void this.#handlers.delete(handler);
  }

  /** Lists and watches from now on; returns at once. */
  start(): void {
    this.#running ??= this.#run();
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    const backoff = new Backoff(reflectorBackoff);
    let listed = false;
    let troubled = false;
    const well = () => {
      if (troubled) this.#options.onTrouble?.(undefined);
      troubled = false;
    };
    const settle = () => {
      backoff.reset();
      well();
    };
    while (!signal.aborted) {
      try {
        if (!listed && !this.#streamInitial) {
          await this.#list();
          listed = true;
          settle();
        }
        if (signal.aborted) return;
        const began = this.#clock.now();
        const onState = () => {
          listed = true;
          settle();
        };
        const events = await this.#watch(!listed, onState, well);
        // A watch that ends at once without news would otherwise spin.
        if (events === 0 && this.#clock.now() - began < 1000) await wait(this.#clock, backoff.next(), signal);
        else settle();
      } catch (error) {
        if (signal.aborted) return;
        if (isGone(error)) listed = false;
        else if (!listed && this.#streamInitial && error instanceof StatusError && (error.code === 400 || error.code === 422)) {
          this.#streamInitial = false; // An apiserver before KEP-3157.
          continue;
        }
        const delay = backoff.next();
        const what = `${listed ? "watch" : "list"} of ${this.#target.resource}`;
        const message = error instanceof Error ? error.message : String(error);
        if (!isGone(error)) {
          troubled = true;
          this.#options.onTrouble?.(`${what}: ${message}`);
        }
        this.#log.warn(`Failed ${what}, trying again`, { err: message, in: `${Math.round(delay)}ms` });
        await wait(this.#clock, delay, signal);
      }
    }
  }

  async #list(): Promise<void> {
    // "0" lets the watch cache answer, after the first time anything at least as new as what was seen.
    const list = await this.#transport.list<T>(this.#target, {
      resourceVersion: this.#hasSynced ? "" : "0",
      ...this.#selectors(),
    });
    if (this.#stop.signal.aborted) return;
    this.#replace(list.items, list.metadata.resourceVersion ?? "");
  }

  #selectors(): Pick<Selection, "labelSelector" | "fieldSelector"> {
    const { labelSelector, fieldSelector } = this.#options;
    return { ...(labelSelector ? { labelSelector } : {}), ...(fieldSelector ? { fieldSelector } : {}) };
  }

  /** Watches until the server ends it; returns how many events came. */
  async #watch(withState: boolean, onState: () => void, opened: () => void): Promise<number> {
    let initial: T[] | undefined = withState ? [] : undefined;
    let count = 0;
    const events = this.#transport.watch<T>(
      this.#target,
      {
        allowWatchBookmarks: true,
        timeoutSeconds: Math.floor(minWatchSeconds * (1 + Math.random())),
        // From where it was it goes on: that it does is all there is to hear until something changes.
        ...(withState ? {} : { opened }),
        ...(withState
          ? { sendInitialEvents: true, resourceVersionMatch: "NotOlderThan" as const }
          : { resourceVersion: this.#resourceVersion }),
        ...this.#selectors(),
      },
      this.#stop.signal,
    );
    for await (const event of events) {
      if (this.#stop.signal.aborted) break;
      count++;
      const version = event.object.metadata.resourceVersion ?? "";
      if (initial) {
        if (event.type !== "BOOKMARK") initial.push(event.object);
        else if (event.object.metadata.annotations?.["k8s.io/initial-events-end"] === "true") {
          this.#replace(initial, version);
          initial = undefined;
          onState();
        }
        continue;
      }
      if (event.type === "DELETED") this.#remove(event.object);
      else if (event.type !== "BOOKMARK") this.#put(event.object);
      if (version) this.#resourceVersion = version;
    }
    return count;
  }

  #put(object: T, initial = false): void {
    const before = this.#store.set(object);
    if (!before) for (const h of this.#handlers) this.#call(() => h.add?.(object, initial));
    else if (before.metadata.uid !== object.metadata.uid) {
      // Deleted and made again between two sights of it.
      for (const h of this.#handlers) this.#call(() => h.delete?.(before, { stale: true }));
      for (const h of this.#handlers) this.#call(() => h.add?.(object, initial));
    } else if (before.metadata.resourceVersion !== object.metadata.resourceVersion)
      for (const h of this.#handlers) this.#call(() => h.update?.(before, object));
  }

  #remove(last: T): void {
    if (!this.#store.delete(keyOf(last))) return;
    for (const h of this.#handlers) this.#call(() => h.delete?.(last, { stale: false }));
  }

  #replace(objects: readonly T[], resourceVersion: string): void {
    const present = new Set(objects.map(keyOf));
    for (const key of [...this.#store.keys()]) {
      if (present.has(key)) continue;
      const last = this.#store.delete(key)!;
      for (const h of this.#handlers) this.#call(() => h.delete?.(last, { stale: true }));
    }
    // All are in the cache before the first handler looks around in it.
    const before = objects.map((o) => this.#store.set(o));
    objects.forEach((object, i) => {
      const old = before[i];
      if (!old) for (const h of this.#handlers) this.#call(() => h.add?.(object, !this.#hasSynced));
      else if (old.metadata.uid !== object.metadata.uid) {
        for (const h of this.#handlers) this.#call(() => h.delete?.(old, { stale: true }));
        for (const h of this.#handlers) this.#call(() => h.add?.(object, false));
      } else if (old.metadata.resourceVersion !== object.metadata.resourceVersion)
        for (const h of this.#handlers) this.#call(() => h.update?.(old, object));
    });
    this.#resourceVersion = resourceVersion;
    if (this.#hasSynced) return;
    this.#hasSynced = true;
    this.#markSynced();
  }

  /** One handler's bug must not keep the others, or the cache, from what comes next. */
  #call(fn: () => void): void {
    try {
      fn();
    } catch (error) {
      this.#log.error(`A handler of ${this.#target.resource} failed`, error);
    }
  }
}

/** Informers by collection and selection, each shared by all who ask for it. */
export class InformerFactory implements AsyncDisposable {
  readonly transport: ApiTransport;
  readonly #options: InformerOptions;
  readonly #informers = new Map<string, Informer<KubeObject>>();
  readonly #troubles = new Map<string, string>();
  #started = false;

  constructor(transport: ApiTransport, options: Omit<InformerOptions, keyof Selection | "onTrouble"> = {}) {
    this.transport = transport;
    this.#options = options;
  }

  /** The informer of a collection; made at the first call, and started with the others, or at once if they run. */
  for<T extends KubeObject>(of: GroupVersionResource & { item?: T }, selection: Selection = {}): Informer<T> {
    const key = JSON.stringify([
      of.group,
      of.version,
      of.resource,
      selection.namespace ?? "",
      selection.labelSelector ?? "",
      selection.fieldSelector ?? "",
    ]);
    const found = this.#informers.get(key);
    if (found) return found as unknown as Informer<T>;
    const made = new Informer<T>(this.transport, of, {
      ...this.#options,
      ...selection,
      onTrouble: (trouble) => {
        if (trouble === undefined) this.#troubles.delete(key);
        else this.#troubles.set(key, trouble);
      },
    });
    this.#informers.set(key, made as unknown as Informer<KubeObject>);
    if (this.#started) made.start();
    return made;
  }

  /** Ends the informer of a collection that is no longer there. */
  async drop(of: GroupVersionResource): Promise<void> {
    for (const [key, informer] of this.#informers) {
      const [group, version, name] = JSON.parse(key) as string[];
      if (group !== of.group || version !== of.version || name !== of.resource) continue;
      this.#informers.delete(key);
      this.#troubles.delete(key);
      await informer.stop();
    }
  }

  /** Starts all informers at once; their lists run side by side. */
  start(): void {
    this.#started = true;
    for (const informer of this.#informers.values()) informer.start();
  }

  /** Resolves when every informer asked for so far has its first state. */
  async synced(): Promise<void> {
    await Promise.all([...this.#informers.values()].map((i) => i.synced));
  }

  /** What keeps a list or watch from working, or undefined. */
  get trouble(): string | undefined {
    return this.#troubles.values().next().value;
  }

  async stop(): Promise<void> {
    await Promise.all([...this.#informers.values()].map((i) => i.stop()));
    this.#informers.clear();
    this.#started = false;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }
}
