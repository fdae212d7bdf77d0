// Which nodes a DaemonSet's pods belong on
// (https://kubernetes.io/docs/concepts/workloads/controllers/daemonset/#how-daemon-pods-are-scheduled).
import type * as coreV1 from "../../api/gen/core/v1.ts";
import { tolerates } from "../nodelifecycle/eviction.ts";

/** Every daemon pod tolerates these; network-unavailable only with the host's network. */
export const daemonTolerations: readonly coreV1.Toleration[] = [
  { key: "node.kubernetes.io/not-ready", operator: "Exists", effect: "NoExecute" },
  { key: "node.kubernetes.io/unreachable", operator: "Exists", effect: "NoExecute" },
  { key: "node.kubernetes.io/disk-pressure", operator: "Exists", effect: "NoSchedule" },
  { key: "node.kubernetes.io/memory-pressure", operator: "Exists", effect: "NoSchedule" },
  { key: "node.kubernetes.io/pid-pressure", operator: "Exists", effect: "NoSchedule" },
  { key: "node.kubernetes.io/unschedulable", operator: "Exists", effect: "NoSchedule" },
];
const hostNetworkToleration: coreV1.Toleration = {
  key: "node.kubernetes.io/network-unavailable",
  operator: "Exists",
  effect: "NoSchedule",
};

export function tolerationsFor(spec: coreV1.PodSpec): coreV1.Toleration[] {
  const added = spec.hostNetwork ? [...daemonTolerations, hostNetworkToleration] : daemonTolerations;
  const present = spec.tolerations ?? [];
  return [...present, ...added.filter((a) => !present.some((p) => p.key === a.key && p.effect === a.effect && p.operator === a.operator))];
}

function matchesRequirement(value: string | undefined, r: coreV1.NodeSelectorRequirement): boolean {
  const values = r.values ?? [];
  switch (r.operator) {
    case "In":
      return value !== undefined && values.includes(value);
    case "NotIn":
      return value === undefined || !values.includes(value);
    case "Exists":
      return value !== undefined;
    case "DoesNotExist":
      return value === undefined;
    case "Gt":
      return value !== undefined && Number(value) > Number(values[0]);
    case "Lt":
      return value !== undefined && Number(value) < Number(values[0]);
    default:
      return false;
  }
}

/** Whether the pod's node selector and required node affinity allow the node. */
export function allowsNode(spec: coreV1.PodSpec, node: coreV1.Node): boolean {
  const labels = node.metadata.labels ?? {};
  for (const [k, v] of Object.entries(spec.nodeSelector ?? {})) if (labels[k] !== v) return false;
  const required = spec.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution;
  if (!required) return true;
  return required.nodeSelectorTerms.some((term) => {
    const expressions = term.matchExpressions ?? [];
    const fields = term.matchFields ?? [];
    if (expressions.length === 0 && fields.length === 0) return false;
    return (
      expressions.every((r) => matchesRequirement(labels[r.key], r)) &&
      fields.every((r) => r.key === "metadata.name" && matchesRequirement(node.metadata.name, r))
    );
  });
}

/** Whether a pod should be put on the node, and whether one that is there may stay. */
export function placement(template: coreV1.PodTemplateSpec, node: coreV1.Node): { run: boolean; stay: boolean } {
  const spec = template.spec;
  if (!spec || (spec.nodeName && spec.nodeName !== node.metadata.name) || !allowsNode(spec, node)) return { run: false, stay: false };
  const tolerations = tolerationsFor(spec);
  const hurting = (node.spec?.taints ?? []).filter((t) => t.effect !== "PreferNoSchedule" && !tolerations.some((x) => tolerates(x, t)));
  if (hurting.length === 0) return { run: true, stay: true };
  return { run: false, stay: !hurting.some((t) => t.effect === "NoExecute") };
}

/** The template's spec, tied to one node in a way that the scheduler still decides. */
export function bindToNode(spec: coreV1.PodSpec, node: string): coreV1.PodSpec {
  const field: coreV1.NodeSelectorRequirement = { key: "metadata.name", operator: "In", values: [node] };
  const terms = spec.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution?.nodeSelectorTerms ?? [];
  const nodeSelectorTerms = terms.length > 0 ? terms.map((t) => ({ ...t, matchFields: [field] })) : [{ matchFields: [field] }];
  return {
    ...spec,
    affinity: {
      ...spec.affinity,
      nodeAffinity: { ...spec.affinity?.nodeAffinity, requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms } },
    },
    tolerations: tolerationsFor(spec),
  };
}

/** The node that a daemon pod is on, or is meant for. */
export function nodeOf(pod: coreV1.Pod): string | undefined {
  if (pod.spec.nodeName) return pod.spec.nodeName;
  const terms = pod.spec.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution?.nodeSelectorTerms ?? [];
  for (const t of terms) for (const f of t.matchFields ?? []) if (f.key === "metadata.name" && f.operator === "In") return f.values?.[0];
  return undefined;
}
