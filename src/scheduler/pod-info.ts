// What scheduling needs to know of a pod, worked out once for each version of it.
import type * as coreV1 from "../api/gen/core/v1.ts";
import type { Columns, Usage } from "./columns.ts";
import { type HostPort, hostPorts, podRequests } from "./requests.ts";

export interface PodInfo {
  readonly pod: coreV1.Pod;
  /** "namespace/name" */
  readonly key: string;
  readonly priority: number;
  readonly usage: Usage;
  /** Requests neither cpu nor memory. */
  readonly bestEffort: boolean;
  readonly ports: readonly HostPort[];
}

export const podKey = (pod: coreV1.Pod) => `${pod.metadata.namespace}/${pod.metadata.name}`;

export function podInfo(pod: coreV1.Pod, columns: Columns): PodInfo {
  const requests = podRequests(pod.spec);
  requests.set("pods", 1);
  const slots: [number, number][] = [];
  const others: [string, number][] = [];
  for (const [name, amount] of requests) {
    if (amount === 0) continue;
    const slot = columns.slot(name);
    if (slot === undefined) others.push([name, amount]);
    else slots.push([slot, amount]);
  }
  const floors = podRequests(pod.spec, true);
  return {
    pod,
    key: podKey(pod),
    priority: pod.spec.priority ?? 0,
    usage: { slots, others, nonzeroCpu: floors.get("cpu") ?? 0, nonzeroMemory: floors.get("memory") ?? 0 },
    bestEffort: !requests.get("cpu") && !requests.get("memory"),
    ports: hostPorts(pod.spec),
  };
}

/** A pod that has ended holds nothing of its node. */
export const hasEnded = (pod: coreV1.Pod) => pod.status?.phase === "Succeeded" || pod.status?.phase === "Failed";
