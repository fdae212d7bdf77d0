// Which pods nobody will look after any more (k8s.io/kubernetes/pkg/controller/podgc).
import type * as coreV1 from "../../api/gen/core/v1.ts";
import { isTerminal } from "../framework/pods.ts";

export interface PodGcInput {
  pods: readonly coreV1.Pod[];
  nodes: readonly coreV1.Node[];
  /** Finished pods to keep; 0 keeps all. */
  threshold: number;
  /** Nodes that pods name and that do not exist, each since when in milliseconds. Updated. */
  missing: Map<string, number>;
  now: number;
}

/** A node must be gone for this many milliseconds before its pods are given up. */
export const quarantine = 40_000;
const outOfService = "node.kubernetes.io/out-of-service";

export interface Doomed {
  pod: coreV1.Pod;
  reason: "orphaned" | "terminated" | "unscheduled" | "out-of-service";
}

/** The pods to delete. `check` lists nodes whose absence the apiserver itself must confirm. */
export function collect(input: PodGcInput): { doomed: Doomed[]; check: string[] } {
  const doomed = new Map<coreV1.Pod, Doomed>();
  const nodes = new Map(input.nodes.map((n) => [n.metadata.name ?? "", n]));
  const check = new Set<string>();
  const named = new Set<string>();
  const finished: coreV1.Pod[] = [];
  for (const pod of input.pods) {
    const nodeName = pod.spec.nodeName;
    if (isTerminal(pod) && !pod.metadata.deletionTimestamp) finished.push(pod);
    if (!nodeName) {
      if (pod.metadata.deletionTimestamp) doomed.set(pod, { pod, reason: "unscheduled" });
      continue;
    }
    const node = nodes.get(nodeName);
    if (!node) {
      named.add(nodeName);
      const since = input.missing.get(nodeName);
      if (since === undefined) input.missing.set(nodeName, input.now);
      else if (input.now - since >= quarantine) {
        check.add(nodeName);
        doomed.set(pod, { pod, reason: "orphaned" });
      }
    } else if (pod.metadata.deletionTimestamp && !nodeReady(node) && node.spec?.taints?.some((t) => t.key === outOfService)) {
      doomed.set(pod, { pod, reason: "out-of-service" });
    }
  }
  for (const name of [...input.missing.keys()]) if (!named.has(name)) input.missing.delete(name);
  const excess = input.threshold > 0 ? finished.length - input.threshold : 0;
  if (excess > 0) {
    const age = (p: coreV1.Pod) => Date.parse(p.metadata.creationTimestamp ?? "") || 0;
    const evicted = (p: coreV1.Pod) => (p.status?.reason === "Evicted" ? 0 : 1);
    finished.sort((a, b) => evicted(a) - evicted(b) || age(a) - age(b) || ((a.metadata.name ?? "") < (b.metadata.name ?? "") ? -1 : 1));
    for (const pod of finished.slice(0, excess)) if (!doomed.has(pod)) doomed.set(pod, { pod, reason: "terminated" });
  }
  return { doomed: [...doomed.values()], check: [...check] };
}

const nodeReady = (node: coreV1.Node) => node.status?.conditions?.find((c) => c.type === "Ready")?.status === "True";
