// What `status` is told: the components of every process, and the nodes as the
// apiserver knows them.
import type * as core from "../../api/gen/core/v1.ts";
import type { ApiTransport } from "../../client/transport.ts";
import type { Component } from "../../platform/component.ts";
import { type ClusterStatus, type ComponentStatus, componentRows, type NodeStatus } from "./control.ts";

export interface StatusSources {
  id: string;
  server: string;
  /** As an administrator. */
  api: ApiTransport;
  controlPlane: readonly Component[];
  /** Components of the node in this process. */
  node: { name: string; components: readonly Component[] } | undefined;
  /** Components of other processes. */
  further: () => Promise<ComponentStatus[]>;
}

export const isReady = (node: core.Node): boolean =>
  node.status?.conditions?.some((c) => c.type === "Ready" && c.status === "True") ?? false;

/** Answered without the store, of which status has to tell when it is away. */
const FROM_CACHE = { resourceVersion: "0" };

async function nodeRows(api: ApiTransport): Promise<NodeStatus[]> {
  const [nodes, pods] = await Promise.all([
    api.list<core.Node>({ group: "", version: "v1", resource: "nodes" }, FROM_CACHE),
    api.list<core.Pod>({ group: "", version: "v1", resource: "pods" }, FROM_CACHE),
  ]);
  const count = new Map<string | undefined, number>();
  for (const pod of pods.items) count.set(pod.spec.nodeName, (count.get(pod.spec.nodeName) ?? 0) + 1);
  return nodes.items.map((n) => ({
    name: n.metadata.name!,
    ready: isReady(n),
    address: n.status?.addresses?.find((a) => a.type === "InternalIP")?.address ?? "",
    version: n.status?.nodeInfo?.kubeletVersion ?? "",
    runtime: n.status?.nodeInfo?.containerRuntimeVersion ?? "",
    pods: count.get(n.metadata.name) ?? 0,
  }));
}

export async function clusterStatus(s: StatusSources): Promise<ClusterStatus> {
  const [nodes, further] = await Promise.all([nodeRows(s.api), s.further(), ...s.controlPlane.map((c) => c.refresh?.())]);
  const components = [...componentRows(s.controlPlane, ""), ...(s.node ? componentRows(s.node.components, s.node.name) : []), ...further];
  return {
    id: s.id,
    ready: components.every((c) => c.healthy) && nodes.every((n) => n.ready),
    server: s.server,
    components,
    nodes,
  };
}
