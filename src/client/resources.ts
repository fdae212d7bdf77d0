// Typed sugar over ApiTransport: which collection holds which kind, and the
// verbs on one collection.
import type * as appsV1 from "../api/gen/apps/v1.ts";
import type * as batchV1 from "../api/gen/batch/v1.ts";
import type * as coordinationV1 from "../api/gen/coordination/v1.ts";
import type * as coreV1 from "../api/gen/core/v1.ts";
import type * as discoveryV1 from "../api/gen/discovery/v1.ts";
import type * as eventsV1 from "../api/gen/events/v1.ts";
import type * as networkingV1 from "../api/gen/networking/v1.ts";
import type * as nodeV1 from "../api/gen/node/v1.ts";
import type * as policyV1 from "../api/gen/policy/v1.ts";
import type * as schedulingV1 from "../api/gen/scheduling/v1.ts";
import type { GroupVersionResource, KubeList, KubeObject } from "../api/object.ts";
import type { ApiTransport, DeleteOptions, ListOptions, PatchType, WatchEvent, WatchOptions, WriteOptions } from "./transport.ts";

/** A collection whose items are of type T. */
export interface Collection<T = KubeObject> extends GroupVersionResource {
  readonly kind: string;
  readonly namespaced: boolean;
  /** Carries the type only; never set. */
  readonly item?: T;
}

/** Describes a collection. `scope` is "Namespaced" or "Cluster". */
export function collection<T = KubeObject>(
  group: string,
  version: string,
  resource: string,
  kind: string,
  scope: "Namespaced" | "Cluster" = "Namespaced",
): Collection<T> {
  return { group, version, resource, kind, namespaced: scope === "Namespaced" };
}

export const pods = collection<coreV1.Pod>("", "v1", "pods", "Pod");
export const services = collection<coreV1.Service>("", "v1", "services", "Service");
export const endpoints = collection<coreV1.Endpoints>("", "v1", "endpoints", "Endpoints");
export const configMaps = collection<coreV1.ConfigMap>("", "v1", "configmaps", "ConfigMap");
export const secrets = collection<coreV1.Secret>("", "v1", "secrets", "Secret");
export const serviceAccounts = collection<coreV1.ServiceAccount>("", "v1", "serviceaccounts", "ServiceAccount");
export const coreEvents = collection<coreV1.Event>("", "v1", "events", "Event");
export const replicationControllers = collection<coreV1.ReplicationController>("", "v1", "replicationcontrollers", "ReplicationController");
export const persistentVolumeClaims = collection<coreV1.PersistentVolumeClaim>("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim");
export const resourceQuotas = collection<coreV1.ResourceQuota>("", "v1", "resourcequotas", "ResourceQuota");
export const nodes = collection<coreV1.Node>("", "v1", "nodes", "Node", "Cluster");
export const namespaces = collection<coreV1.Namespace>("", "v1", "namespaces", "Namespace", "Cluster");
export const deployments = collection<appsV1.Deployment>("apps", "v1", "deployments", "Deployment");
export const replicaSets = collection<appsV1.ReplicaSet>("apps", "v1", "replicasets", "ReplicaSet");
export const daemonSets = collection<appsV1.DaemonSet>("apps", "v1", "daemonsets", "DaemonSet");
export const statefulSets = collection<appsV1.StatefulSet>("apps", "v1", "statefulsets", "StatefulSet");
export const controllerRevisions = collection<appsV1.ControllerRevision>("apps", "v1", "controllerrevisions", "ControllerRevision");
export const jobs = collection<batchV1.Job>("batch", "v1", "jobs", "Job");
export const cronJobs = collection<batchV1.CronJob>("batch", "v1", "cronjobs", "CronJob");
export const endpointSlices = collection<discoveryV1.EndpointSlice>("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice");
export const leases = collection<coordinationV1.Lease>("coordination.k8s.io", "v1", "leases", "Lease");
export const events = collection<eventsV1.Event>("events.k8s.io", "v1", "events", "Event");
export const networkPolicies = collection<networkingV1.NetworkPolicy>("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy");
export const runtimeClasses = collection<nodeV1.RuntimeClass>("node.k8s.io", "v1", "runtimeclasses", "RuntimeClass", "Cluster");
export const podDisruptionBudgets = collection<policyV1.PodDisruptionBudget>("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget");
export const priorityClasses = collection<schedulingV1.PriorityClass>(
  "scheduling.k8s.io",
  "v1",
  "priorityclasses",
  "PriorityClass",
  "Cluster",
);

/** The verbs on one collection, in one namespace or over all. Every method throws StatusError when refused. */
export class Resource<T = KubeObject> {
  readonly #transport: ApiTransport;
  readonly #target: GroupVersionResource & { namespace?: string };

  constructor(transport: ApiTransport, of: GroupVersionResource & { item?: T }, namespace?: string) {
    this.#transport = transport;
    this.#target = { group: of.group, version: of.version, resource: of.resource, ...(namespace === undefined ? {} : { namespace }) };
  }

  get(name: string): Promise<T> {
    return this.#transport.get<T>({ ...this.#target, name });
  }
  list(options?: ListOptions): Promise<KubeList<T>> {
    return this.#transport.list<T>(this.#target, options);
  }
  create(object: T & object, options?: WriteOptions): Promise<T> {
    return this.#transport.create<T>(this.#target, object, options);
  }
  update(object: T & KubeObject, options?: WriteOptions): Promise<T> {
    return this.#transport.update<T>({ ...this.#target, name: object.metadata.name ?? "" }, object, options);
  }
  updateStatus(object: T & KubeObject, options?: WriteOptions): Promise<T> {
    return this.#transport.update<T>({ ...this.#target, name: object.metadata.name ?? "", subresource: "status" }, object, options);
  }
  patch(name: string, type: PatchType, patch: unknown, options?: WriteOptions & { subresource?: string }): Promise<T> {
    const { subresource, ...rest } = options ?? {};
    return this.#transport.patch<T>({ ...this.#target, name, ...(subresource ? { subresource } : {}) }, type, patch, rest);
  }
  delete(name: string, options?: DeleteOptions): Promise<T> {
    return this.#transport.delete<T>({ ...this.#target, name }, options);
  }
  watch(options: WatchOptions, signal: AbortSignal): AsyncIterable<WatchEvent<T>> {
    return this.#transport.watch<T>(this.#target, options, signal);
  }
}

/** `resource(transport, pods, "default").get("web-0")`. */
export function resource<T>(transport: ApiTransport, of: GroupVersionResource & { item?: T }, namespace?: string): Resource<T> {
  return new Resource<T>(transport, of, namespace);
}

/** "default/web-0", or the name alone of a cluster-scoped object: how caches and queues name an object. */
export function keyOf(object: KubeObject): string {
  const { namespace, name } = object.metadata;
  return namespace ? `${namespace}/${name}` : (name ?? "");
}

/** The inverse of keyOf. */
export function splitKey(key: string): { namespace?: string; name: string } {
  const at = key.indexOf("/");
  return at < 0 ? { name: key } : { namespace: key.slice(0, at), name: key.slice(at + 1) };
}
