// Which events of the cluster may help a pod that a plugin turned away
// (KEP-4247, queueing hints).
import type * as coreV1 from "../api/gen/core/v1.ts";
import { matchesRequired } from "./node-affinity.ts";
import { amount, hostPorts, podRequests } from "./requests.ts";
import { toleratesUnschedulable, untolerated } from "./taints.ts";

export type Plugin = "NodeUnschedulable" | "NodeName" | "TaintToleration" | "NodeAffinity" | "NodePorts" | "NodeResourcesFit";

export type ClusterEvent =
  | { resource: "node"; change: "added"; node: coreV1.Node }
  | { resource: "node"; change: "allocatable" | "labels" | "taints"; node: coreV1.Node; before: coreV1.Node }
  | { resource: "pod"; change: "removed" | "resized"; pod: coreV1.Pod }
  /** Anything may have changed. */
  | { resource: "*" };

type Hint = (pod: coreV1.Pod, event: ClusterEvent) => boolean;

const onNode =
  (changes: readonly string[], helps: (pod: coreV1.Pod, node: coreV1.Node) => boolean): Hint =>
  (pod, event) =>
    event.resource === "node" && changes.includes(event.change) && helps(pod, event.node);

/** An empty node of this size would take the pod. */
function couldFit(pod: coreV1.Pod, node: coreV1.Node): boolean {
  for (const [name, wanted] of podRequests(pod.spec))
    if (wanted > 0 && amount(name, node.status?.allocatable?.[name] ?? "0") < wanted) return false;
  return true;
}

const any = () => true;

const hints: Record<Plugin, Hint> = {
  NodeUnschedulable: onNode(
    ["added", "taints"],
    (pod, node) => !node.spec?.unschedulable || toleratesUnschedulable(pod.spec.tolerations ?? []),
  ),
  NodeName: onNode(["added"], (pod, node) => pod.spec.nodeName === node.metadata.name),
  TaintToleration: onNode(["added", "taints"], (pod, node) => !untolerated(node.spec?.taints ?? [], pod.spec.tolerations ?? [])),
  NodeAffinity: onNode(["added", "labels"], (pod, node) => matchesRequired(pod.spec, node)),
  NodePorts: (pod, event) =>
    onNode(["added"], any)(pod, event) || (event.resource === "pod" && event.change === "removed" && hostPorts(event.pod.spec).length > 0),
  NodeResourcesFit: (pod, event) => onNode(["added", "allocatable"], couldFit)(pod, event) || event.resource === "pod",
};

/** Whether a pod that these plugins turned away is worth another try after the event. */
export function helps(pod: coreV1.Pod, plugins: ReadonlySet<Plugin>, event: ClusterEvent): boolean {
  if (event.resource === "*" || plugins.size === 0) return true;
  for (const plugin of plugins) if (hints[plugin](pod, event)) return true;
  return false;
}

const same = (a: unknown, b: unknown) => JSON.stringify(a ?? null) === JSON.stringify(b ?? null);

/** What an update of a node may mean to pods that wait. */
export function nodeEvents(before: coreV1.Node, node: coreV1.Node): ClusterEvent[] {
  const events: ClusterEvent[] = [];
  const changed = (change: "allocatable" | "labels" | "taints") => events.push({ resource: "node", change, node, before });
  if (!same(before.status?.allocatable, node.status?.allocatable)) changed("allocatable");
  if (!same(before.metadata.labels, node.metadata.labels)) changed("labels");
  if (!same(before.spec?.taints, node.spec?.taints) || (before.spec?.unschedulable ?? false) !== (node.spec?.unschedulable ?? false))
    changed("taints");
  return events;
}
