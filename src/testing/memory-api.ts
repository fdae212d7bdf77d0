// A small apiserver in memory, for tests of controllers: names, versions,
// generations, conflicts, finalizers, merge patches and watches; no validation,
// no defaults, no authorization. Events reach watches in a later task, so that
// caches lag as they do across a wire.
import { copy, deepEqual, deepFreeze } from "../api/equal.ts";
import type { GroupVersionResource, KubeList, KubeObject } from "../api/object.ts";
import { alreadyExists, conflict, notFound } from "../api/status.ts";
import { type Clock, realClock, timestamp } from "../client/clock.ts";
import type { ApiTransport, DeleteOptions, ListOptions, PatchType, Target, WatchEvent, WatchOptions } from "../client/transport.ts";

type Json = Record<string, unknown>;
type Verb = "create" | "update" | "patch" | "delete";

interface Watcher {
  target: Target;
  queue: WatchEvent[];
  wake(): void;
}

export class MemoryApi implements ApiTransport {
  /** Every write that was accepted, in order. */
  readonly writes: { verb: Verb; target: Target; object: KubeObject }[] = [];
  /** Called before a write; what it throws is the answer. */
  refuse: ((verb: Verb, target: Target, object?: KubeObject) => void) | undefined;
  /** Collections that raw() tells of, for discovery. */
  readonly resources: (GroupVersionResource & { kind: string; namespaced: boolean })[] = [];
  readonly #clock: Clock;
  readonly #objects = new Map<string, KubeObject>();
  readonly #watchers = new Set<Watcher>();
  readonly #history: { version: number; target: Target; event: WatchEvent }[] = [];
  #version = 0;
  #sequence = 0;

  constructor(clock: Clock = realClock) {
    this.#clock = clock;
  }

  async get<T>(target: Target & { name: string }): Promise<T> {
    return this.#find(target) as T;
  }

  async list<T>(target: Target, options: ListOptions = {}): Promise<KubeList<T>> {
    const prefix = collectionKey(target);
    const items: KubeObject[] = [];
    for (const [key, object] of this.#objects) {
      if (!key.startsWith(prefix)) continue;
      if (target.namespace && object.metadata.namespace !== target.namespace) continue;
      if (!matchesFields(object, options.fieldSelector)) continue;
      items.push(object);
    }
    return { metadata: { resourceVersion: String(this.#version) }, items: items as T[] };
  }

  async create<T>(target: Target, object: object): Promise<T> {
    const given = object as KubeObject;
    this.refuse?.("create", target, given);
    const meta = copy(given.metadata) as KubeObject["metadata"];
    if (target.namespace) meta.namespace = target.namespace;
    meta.name ??= `${meta.generateName}${(this.#sequence++).toString(36).padStart(5, "0")}`;
    const key = objectKey({ ...target, name: meta.name });
    if (this.#objects.has(key)) throw alreadyExists(target, meta.name);
    meta.uid = `uid-${this.#sequence++}`;
    meta.creationTimestamp = timestamp(this.#clock.now());
    meta.generation = 1;
    const made = this.#store({ ...target, name: meta.name }, { ...given, metadata: meta }, "ADDED");
    this.writes.push({ verb: "create", target, object: made });
    return made as T;
  }

  async update<T>(target: Target & { name: string }, object: object): Promise<T> {
    const given = object as KubeObject;
    this.refuse?.("update", target, given);
    const present = this.#find(target);
    const version = given.metadata.resourceVersion;
    if (version && version !== present.metadata.resourceVersion) {
      throw conflict(target, target.name, "the object has been modified; please apply your changes to the latest version and try again");
    }
    return this.#write(target, present, given, "update") as T;
  }

  async patch<T>(target: Target & { name: string }, type: PatchType, patch: unknown): Promise<T> {
    this.refuse?.("patch", target);
    const present = this.#find(target);
    const uid = (patch as KubeObject).metadata?.uid;
    if (uid && uid !== present.metadata.uid) throw conflict(target, target.name, "the uid in the precondition differs");
    const next = merge(present as unknown as Json, patch as Json, type === "strategic") as unknown as KubeObject;
    return this.#write(target, present, next, "patch") as T;
  }

  async delete<T>(target: Target & { name: string }, options: DeleteOptions = {}): Promise<T> {
    const present = this.#find(target);
    this.refuse?.("delete", target, present);
    const { uid, resourceVersion } = options.preconditions ?? {};
    if (uid && uid !== present.metadata.uid) throw conflict(target, target.name, "the UID in the precondition differs");
    if (resourceVersion && resourceVersion !== present.metadata.resourceVersion) throw conflict(target, target.name, "the version differs");
    const finalizers = [...(present.metadata.finalizers ?? [])];
    if (options.propagationPolicy === "Foreground" && !finalizers.includes("foregroundDeletion")) finalizers.push("foregroundDeletion");
    if (options.propagationPolicy === "Orphan" && !finalizers.includes("orphan")) finalizers.push("orphan");
    this.writes.push({ verb: "delete", target, object: present });
    const spec = (present as { spec?: { finalizers?: string[]; terminationGracePeriodSeconds?: number } }).spec;
    const graceful = target.resource === "pods" && options.gracePeriodSeconds !== 0 && (present as { spec?: Json }).spec?.nodeName;
    if (finalizers.length === 0 && !spec?.finalizers?.length && !graceful) return this.#drop(target, present) as T;
    if (present.metadata.deletionTimestamp) return present as T;
    const metadata = {
      ...present.metadata,
      deletionTimestamp: timestamp(this.#clock.now()),
      deletionGracePeriodSeconds: graceful ? (options.gracePeriodSeconds ?? spec?.terminationGracePeriodSeconds ?? 30) : 0,
    };
    return this.#store(target, { ...present, metadata: { ...metadata, ...(finalizers.length ? { finalizers } : {}) } }, "MODIFIED") as T;
  }

  async deleteCollection(target: Target, options: DeleteOptions & ListOptions = {}): Promise<void> {
    const { items } = await this.list<KubeObject>(target, options);
    for (const o of items) await this.delete({ ...target, namespace: o.metadata.namespace, name: o.metadata.name! }, {});
  }

  async *watch<T>(target: Target, options: WatchOptions, signal: AbortSignal): AsyncIterable<WatchEvent<T>> {
    let wake = () => {};
    const since = Number(options.resourceVersion || this.#version);
    const missed = this.#history.filter((h) => h.version > since && concerns(target, h.target, h.event)).map((h) => h.event);
    const watcher: Watcher = { target, queue: missed, wake: () => wake() };
    this.#watchers.add(watcher);
    const abort = () => wake();
    signal.addEventListener("abort", abort);
    try {
      while (!signal.aborted) {
        // A whole batch at a time, each event through the queue of tasks: caches lag.
        while (watcher.queue.length > 0) {
          await new Promise((resolve) => setImmediate(resolve));
          yield watcher.queue.shift() as WatchEvent<T>;
        }
        await new Promise<void>((resolve) => {
          wake = resolve;
          if (watcher.queue.length > 0 || signal.aborted) resolve();
        });
      }
    } finally {
      this.#watchers.delete(watcher);
      signal.removeEventListener("abort", abort);
    }
  }

  async raw(path: string): Promise<unknown> {
    const groups = new Map<string, Json[]>();
    for (const r of this.resources) {
      const key = r.group === "" ? `/api/${r.version}` : `/apis/${r.group}/${r.version}`;
      const verbs = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
      groups.set(key, [...(groups.get(key) ?? []), { name: r.resource, kind: r.kind, namespaced: r.namespaced, verbs }]);
    }
    if (path === "/api") return { versions: ["v1"] };
    if (path === "/apis") {
      const names = [...new Set(this.resources.map((r) => r.group).filter((g) => g !== ""))];
      return { groups: names.map((name) => ({ name, preferredVersion: { groupVersion: `${name}/v1`, version: "v1" } })) };
    }
    const found = groups.get(path);
    if (!found) throw notFound({ resource: "paths" }, path);
    return { resources: found };
  }

  /** Whether every watch has been given all that has happened. */
  get drained(): boolean {
    return [...this.#watchers].every((w) => w.queue.length === 0);
  }

  #find(target: Target & { name: string }): KubeObject {
    const found = this.#objects.get(objectKey(target));
    if (!found) throw notFound(target, target.name);
    return found;
  }

  #write(target: Target & { name: string }, present: KubeObject, given: KubeObject, verb: Verb): KubeObject {
    const next = { ...given } as KubeObject & { status?: unknown; spec?: unknown };
    const before = present as typeof next;
    if (target.subresource === "status") {
      next.spec = before.spec;
    } else if ("status" in before && target.subresource !== "finalize") next.status = before.status;
    const changed = target.subresource !== "status" && !deepEqual(next.spec, before.spec);
    next.metadata = {
      ...given.metadata,
      uid: present.metadata.uid,
      creationTimestamp: present.metadata.creationTimestamp,
      deletionTimestamp: present.metadata.deletionTimestamp,
      deletionGracePeriodSeconds: present.metadata.deletionGracePeriodSeconds,
      generation: (present.metadata.generation ?? 1) + (changed ? 1 : 0),
    };
    const finalizers = next.metadata.finalizers?.length || (next.spec as { finalizers?: string[] } | undefined)?.finalizers?.length;
    if (present.metadata.deletionTimestamp && !finalizers && !present.metadata.deletionGracePeriodSeconds)
      return this.#drop(target, present);
    const same = deepEqual(
      { ...next, metadata: { ...next.metadata, resourceVersion: "" } },
      {
        ...before,
        metadata: { ...before.metadata, resourceVersion: "" },
      },
    );
    if (same) return present;
    const stored = this.#store(target, next, "MODIFIED");
    this.writes.push({ verb, target, object: stored });
    return stored;
  }

  #store(target: Target & { name: string }, object: KubeObject, type: "ADDED" | "MODIFIED"): KubeObject {
    const stored = deepFreeze({ ...object, metadata: { ...object.metadata, resourceVersion: String(++this.#version) } });
    this.#objects.set(objectKey(target), stored);
    this.#tell(target, { type, object: stored });
    return stored;
  }

  #drop(target: Target & { name: string }, object: KubeObject): KubeObject {
    this.#objects.delete(objectKey(target));
    const last = deepFreeze({ ...object, metadata: { ...object.metadata, resourceVersion: String(++this.#version) } });
    this.#tell(target, { type: "DELETED", object: last });
    return last;
  }

  #tell(target: Target, event: WatchEvent): void {
    this.#history.push({ version: this.#version, target, event });
    for (const w of this.#watchers) {
      if (!concerns(w.target, target, event)) continue;
      w.queue.push(event);
      w.wake();
    }
  }
}

const collectionKey = (t: Target) => `${t.group}/${t.resource}/`;
const objectKey = (t: Target) => `${collectionKey(t)}${t.namespace ?? ""}/${t.name}`;

const concerns = (watched: Target, target: Target, event: WatchEvent) =>
  collectionKey(watched) === collectionKey(target) && (!watched.namespace || watched.namespace === event.object.metadata.namespace);

function matchesFields(object: KubeObject, selector: string | undefined): boolean {
  return (selector ?? "")
    .split(",")
    .filter((x) => x !== "")
    .every((term) => {
      const [path = "", value = ""] = term.split(/=+/);
      const found = path.split(".").reduce<unknown>((o, k) => (o as Json | undefined)?.[k], object);
      return String(found ?? "") === value;
    });
}

/** RFC 7386; owner references, and only they, by uid as a strategic merge does. */
function merge(present: Json, patch: Json, strategic: boolean): Json {
  const next: Json = { ...present };
  for (const [k, v] of Object.entries(patch)) {
    if (v === null) delete next[k];
    else if (strategic && k === "ownerReferences") next[k] = mergeOwners((present[k] ?? []) as Json[], v as Json[]);
    else if (typeof v === "object" && !Array.isArray(v)) next[k] = merge((present[k] ?? {}) as Json, v as Json, strategic);
    else next[k] = v;
  }
  return next;
}

function mergeOwners(present: Json[], patch: Json[]): Json[] {
  const gone = new Set(patch.filter((p) => p.$patch === "delete").map((p) => p.uid));
  const added = patch.filter((p) => p.$patch !== "delete");
  return [...present.filter((o) => !gone.has(o.uid) && !added.some((a) => a.uid === o.uid)), ...added];
}
