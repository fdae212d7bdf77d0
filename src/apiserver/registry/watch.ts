// WATCH: what happens to a selection from a resource version on.
import { badRequest, invalid, type Status, type StatusError } from "../../api/status.ts";
import type { WatchOptions } from "../../client/transport.ts";
import type { Change, Entry } from "../storage/entry.ts";
import type { Storage } from "../storage/storage.ts";
import { parseVersion, tooOld, view } from "./read.ts";
import type { Resource } from "./resources.ts";
import { find, type Selection, scopeOf, select, selects } from "./select.ts";

export type WatchItem =
  | { type: "ADDED" | "MODIFIED" | "DELETED"; entry: Entry }
  | { type: "BOOKMARK"; resourceVersion: string; initialEventsEnd?: boolean }
  | { type: "ERROR"; status: Status };

/** A reader that falls this far behind is cut off, and has to list again. */
const maxQueued = 10_000;
const bookmarkInterval = 60_000;

/** What an event of the whole collection is to one selection. */
function forSelection(change: Change, s: Selection): { type: "ADDED" | "MODIFIED" | "DELETED"; entry: Entry } | undefined {
  const { type, entry, before } = change;
  if (!s.matches && s.namespace === undefined) return { type, entry };
  if (type === "DELETED") return before && selects(s, before) ? { type, entry } : undefined;
  const now = selects(s, entry);
  const was = before !== undefined && selects(s, before);
  if (now) return { type: was ? "MODIFIED" : "ADDED", entry };
  return was ? { type: "DELETED", entry } : undefined;
}

/** The events of one watch: taken in batches, so that a busy collection costs a wake-up and not one an event. */
export class Watcher {
  readonly #resource: Resource;
  #queue: WatchItem[] = [];
  #wake: (() => void) | undefined;
  #ended = false;
  readonly #undo: (() => void)[] = [];

  constructor(resource: Resource) {
    this.#resource = resource;
  }

  /** Everything since the last call, waiting for at least one event; undefined at the end. */
  async next(): Promise<WatchItem[] | undefined> {
    for (;;) {
      if (this.#queue.length) {
        const batch = this.#queue;
        this.#queue = [];
        return batch;
      }
      if (this.#ended) return undefined;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  push(item: WatchItem): void {
    if (this.#ended) return;
    if (this.#queue.length >= maxQueued) return this.close();
    this.#queue.push(item);
    this.#rouse();
  }

  pushAll(items: WatchItem[]): void {
    this.#queue = this.#queue.length ? this.#queue.concat(items) : items;
    this.#rouse();
  }

  /** Hands a change over if the selection is concerned. */
  offer(change: Change, selection: Selection): void {
    const item = forSelection(change, selection);
    if (item) this.push({ type: item.type, entry: view(this.#resource, item.entry) });
  }

  onEnd(undo: () => void): void {
    if (this.#ended) undo();
    else this.#undo.push(undo);
  }

  /** Ends the watch; what is queued can still be taken. */
  close(): void {
    if (this.#ended) return;
    this.#ended = true;
    for (const undo of this.#undo.splice(0)) undo();
    this.#rouse();
  }

  #rouse(): void {
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.();
  }
}

/** Sends bookmarks to all watches that asked for them, from one timer. */
class Bookmarks {
  readonly #watchers = new Set<Watcher>();
  #timer: ReturnType<typeof setInterval> | undefined;
  readonly #storage: Storage;
  constructor(storage: Storage) {
    this.#storage = storage;
  }
  add(watcher: Watcher): void {
    this.#watchers.add(watcher);
    watcher.onEnd(() => {
      this.#watchers.delete(watcher);
      if (this.#watchers.size > 0) return;
      clearInterval(this.#timer);
      this.#timer = undefined;
    });
    if (this.#timer) return;
    this.#timer = setInterval(() => {
      const resourceVersion = String(this.#storage.revision);
      for (const w of this.#watchers) w.push({ type: "BOOKMARK", resourceVersion });
    }, bookmarkInterval);
    this.#timer.unref?.();
  }
}

const bookmarks = new WeakMap<Storage, Bookmarks>();

/**
 * Starts a watch. Throws 410 where the version is too old, 400 on options that
 * do not go together. The caller closes the watcher.
 */
export async function watch(resource: Resource, namespace: string | undefined, options: WatchOptions, name?: string): Promise<Watcher> {
  const selection = select(resource, namespace, options.labelSelector, options.fieldSelector, name);
  const { storage } = resource;
  const wanted = parseVersion(options.resourceVersion);
  checkOptions(options);
  const begin = () => started(resource, selection, options, wanted);
  if (!options.resourceVersion) return storage.fresh(resource.bucket, scopeOf(resource, selection), begin);
  await storage.until(wanted);
  return begin();
}

/** A watch from what the cache has now; nothing here waits, so that no change is missed or told twice. */
function started(resource: Resource, selection: Selection, options: WatchOptions, wanted: number): Watcher {
  const { storage, bucket } = resource;
  const watcher = new Watcher(resource);
  const initial = options.sendInitialEvents ?? wanted === 0;
  if (initial) {
    const items: WatchItem[] = find(resource, selection).map((entry) => ({ type: "ADDED", entry: view(resource, entry) }));
    if (options.sendInitialEvents && options.allowWatchBookmarks)
      items.push({ type: "BOOKMARK", resourceVersion: String(storage.revision), initialEventsEnd: true });
    watcher.pushAll(items);
  } else if (wanted > 0) {
    const missed = bucket.after(wanted);
    if (!missed) throw tooOld(wanted, bucket.since);
    for (const change of missed) watcher.offer(change, selection);
  }
  const narrow = selection.index ?? (selection.namespace === undefined ? undefined : { index: "namespace", value: selection.namespace });
  const byName = selection.name === undefined ? undefined : { index: "name", value: selection.name };
  watcher.onEnd(bucket.listen((change) => watcher.offer(change, selection), byName ?? narrow));
  watcher.onEnd(storage.onReset(() => watcher.close()));
  if (options.allowWatchBookmarks) {
    let all = bookmarks.get(storage);
    if (!all) {
      all = new Bookmarks(storage);
      bookmarks.set(storage, all);
    }
    all.add(watcher);
  }
  return watcher;
}

function checkOptions(options: WatchOptions): void {
  const refuse = (field: string, message: string): StatusError =>
    invalid({ group: "meta.k8s.io", kind: "ListOptions" }, "", [
      { reason: "FieldValueForbidden", field, message: `Forbidden: ${message}` },
    ]);
  if (options.sendInitialEvents !== undefined && options.resourceVersionMatch !== "NotOlderThan")
    throw refuse("resourceVersionMatch", "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan");
  if (options.sendInitialEvents === undefined && options.resourceVersionMatch)
    throw refuse("resourceVersionMatch", "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided");
  if (options.timeoutSeconds !== undefined && options.timeoutSeconds < 0) throw badRequest("timeoutSeconds must not be negative");
}
