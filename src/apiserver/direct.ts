// ApiTransport without sockets and bytes: the same verbs behind the same
// authorization and admission, on frozen objects.
import { deepFreeze } from "../api/equal.ts";
import { apiVersion, type KubeList, type KubeObject } from "../api/object.ts";
import { gone, StatusError } from "../api/status.ts";
import type {
  ApiTransport,
  DeleteOptions,
  ListOptions,
  PatchType,
  Target,
  WatchEvent,
  WatchOptions,
  WriteOptions,
} from "../client/transport.ts";
import type { Api } from "./api.ts";
import type { WatchItem } from "./registry/watch.ts";
import type { RequestContext, UserInfo } from "./request.ts";

type Named = Target & { name: string };

export class DirectTransport implements ApiTransport {
  readonly #api: Api;
  readonly #user: UserInfo;
  /** Owner of the fields it sets, where a call names none. */
  readonly #manager: string;
  readonly #raw: (path: string, user: UserInfo) => Promise<unknown>;

  constructor(api: Api, user: UserInfo, raw: (path: string, user: UserInfo) => Promise<unknown>) {
    this.#api = api;
    this.#user = user;
    this.#manager = user.name.replace(/^system:/, "").replace(/^node:.*/, "kubelet");
    this.#raw = raw;
  }

  #context(options: WriteOptions = {}): RequestContext {
    const { fieldManager = this.#manager, dryRun, force } = options;
    return { user: this.#user, fieldManager, fieldValidation: "Ignore", ...(dryRun ? { dryRun } : {}), ...(force ? { force } : {}) };
  }

  async get<T = KubeObject>(target: Named, options: { resourceVersion?: string } = {}): Promise<T> {
    return (await this.#api.get(this.#context(), target, options.resourceVersion)).object as T;
  }

  async list<T = KubeObject>(target: Target, options: ListOptions = {}): Promise<KubeList<T>> {
    const found = await this.#api.list(this.#context(), target, options);
    const { listKind } = this.#api.resource(target).info;
    return Object.freeze({
      kind: listKind,
      apiVersion: apiVersion(target),
      metadata: {
        resourceVersion: found.resourceVersion,
        ...(found.continue ? { continue: found.continue } : {}),
        ...(found.remainingItemCount === undefined ? {} : { remainingItemCount: found.remainingItemCount }),
      },
      items: found.entries.map((e) => e.object as T),
    });
  }

  async create<T = KubeObject>(target: Target, object: object, options?: WriteOptions): Promise<T> {
    return deepFreeze((await this.#api.create(this.#context(options), target, { value: object })).entry.object) as T;
  }

  async update<T = KubeObject>(target: Named, object: object, options?: WriteOptions): Promise<T> {
    return deepFreeze((await this.#api.update(this.#context(options), target, { value: object })).entry.object) as T;
  }

  async patch<T = KubeObject>(target: Named, type: PatchType, patch: unknown, options?: WriteOptions): Promise<T> {
    return deepFreeze((await this.#api.patch(this.#context(options), target, type, { value: patch })).entry.object) as T;
  }

  async delete<T = KubeObject>(target: Named, options: DeleteOptions = {}): Promise<T> {
    return (await this.#api.delete(this.#context(), target, options)).entry.object as T;
  }

  async deleteCollection(target: Target, options: DeleteOptions & ListOptions = {}): Promise<void> {
    await this.#api.deleteCollection(this.#context(), target, options, options);
  }

  async *watch<T = KubeObject>(target: Target, options: WatchOptions, signal: AbortSignal): AsyncIterable<WatchEvent<T>> {
    if (signal.aborted) return;
    const watcher = await this.#api.watch(this.#context(), target, options);
    const stop = () => watcher.close();
    signal.addEventListener("abort", stop, { once: true });
    const timer = options.timeoutSeconds ? setTimeout(stop, options.timeoutSeconds * 1000) : undefined;
    const { info } = this.#api.resource(target);
    try {
      if (signal.aborted) return;
      options.opened?.();
      for (let batch = await watcher.next(); batch; batch = await watcher.next()) {
        for (const item of batch) {
          if (signal.aborted) return;
          yield event<T>(item, info.kind, apiVersion(info));
        }
      }
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", stop);
      watcher.close();
    }
  }

  raw(path: string): Promise<unknown> {
    return this.#raw(path, this.#user);
  }
}

function event<T>(item: WatchItem, kind: string, version: string): WatchEvent<T> {
  if (item.type === "ERROR") throw item.status.code === 410 ? gone(item.status.message ?? "") : new StatusError(item.status);
  if (item.type !== "BOOKMARK") return { type: item.type, object: item.entry.object as T };
  return { type: "BOOKMARK", object: bookmark(kind, version, item.resourceVersion, item.initialEventsEnd) };
}

/** The object of a BOOKMARK event. */
export function bookmark(kind: string, version: string, resourceVersion: string, initialEventsEnd = false): KubeObject {
  return {
    kind,
    apiVersion: version,
    metadata: { resourceVersion, ...(initialEventsEnd ? { annotations: { "k8s.io/initial-events-end": "true" } } : {}) },
  };
}
