// How a system reaches the apiserver. Two implementations give the same
// answers: HttpTransport (src/client/http.ts) over the REST API, and the
// apiserver's DirectTransport, which runs the same chain (identity,
// authorization, admission, registry) on frozen objects without bytes.
import type { GroupVersionResource, KubeList, KubeObject } from "../api/object.ts";

export type PatchType = "json" | "merge" | "strategic" | "apply";

export interface Target extends GroupVersionResource {
  /** Absent for cluster-scoped resources, and for a list over all namespaces. */
  namespace?: string;
  name?: string;
  subresource?: string;
}

export interface ListOptions {
  labelSelector?: string;
  fieldSelector?: string;
  resourceVersion?: string;
  resourceVersionMatch?: "Exact" | "NotOlderThan";
  limit?: number;
  continue?: string;
}

export interface WatchOptions {
  labelSelector?: string;
  fieldSelector?: string;
  resourceVersion?: string;
  allowWatchBookmarks?: boolean;
  sendInitialEvents?: boolean;
  resourceVersionMatch?: "NotOlderThan";
  timeoutSeconds?: number;
  /** Called when the server has taken the watch, which may be long before the first event. */
  opened?: () => void;
}

export interface WriteOptions {
  fieldManager?: string;
  /** Apply only. */
  force?: boolean;
  dryRun?: boolean;
}

export interface DeleteOptions {
  gracePeriodSeconds?: number;
  propagationPolicy?: "Orphan" | "Background" | "Foreground";
  preconditions?: { uid?: string; resourceVersion?: string };
}

export type WatchEvent<T = KubeObject> =
  | { type: "ADDED" | "MODIFIED" | "DELETED"; object: T }
  /** Only metadata.resourceVersion and annotations hold. */
  | { type: "BOOKMARK"; object: KubeObject };

/** Every method throws StatusError (src/api/status.ts) when the apiserver refuses. */
export interface ApiTransport {
  get<T = KubeObject>(target: Target & { name: string }, options?: { resourceVersion?: string }): Promise<T>;
  list<T = KubeObject>(target: Target, options?: ListOptions): Promise<KubeList<T>>;
  create<T = KubeObject>(target: Target, object: object, options?: WriteOptions): Promise<T>;
  update<T = KubeObject>(target: Target & { name: string }, object: object, options?: WriteOptions): Promise<T>;
  patch<T = KubeObject>(target: Target & { name: string }, type: PatchType, patch: unknown, options?: WriteOptions): Promise<T>;
  delete<T = KubeObject>(target: Target & { name: string }, options?: DeleteOptions): Promise<T>;
  deleteCollection(target: Target, options?: DeleteOptions & ListOptions): Promise<void>;
  /** Ends when the signal aborts or the server closes; throws StatusError 410 when the version is gone. */
  watch<T = KubeObject>(target: Target, options: WatchOptions, signal: AbortSignal): AsyncIterable<WatchEvent<T>>;
  /** GET of a path outside the resources, such as /version; the parsed JSON, or text. */
  raw(path: string): Promise<unknown>;
}
