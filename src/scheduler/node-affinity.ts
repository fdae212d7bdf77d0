// Node selectors and node affinity (k8s.io/component-helpers/scheduling/corev1/nodeaffinity).
import type * as coreV1 from "../api/gen/core/v1.ts";

type Requirement = coreV1.NodeSelectorRequirement;

const integer = (text: string | undefined) => (text !== undefined && /^[+-]?\d+$/.test(text) ? BigInt(text) : undefined);

function compare(value: string | undefined, bound: string | undefined, greater: boolean): boolean {
  const [v, b] = [integer(value), integer(bound)];
  return v !== undefined && b !== undefined && (greater ? v > b : v < b);
}

function matchesRequirement(r: Requirement, value: string | undefined): boolean {
  switch (r.operator) {
    case "In":
      return value !== undefined && (r.values ?? []).includes(value);
    case "NotIn":
      return value === undefined || !(r.values ?? []).includes(value);
    case "Exists":
      return value !== undefined;
    case "DoesNotExist":
      return value === undefined;
    case "Gt":
      return compare(value, r.values?.[0], true);
    case "Lt":
      return compare(value, r.values?.[0], false);
    default:
      return false;
  }
}

/** All requirements of a term hold. An empty term matches nothing. */
export function matchesTerm(term: coreV1.NodeSelectorTerm, node: coreV1.Node): boolean {
  const labels = term.matchExpressions ?? [];
  const fields = term.matchFields ?? [];
  if (labels.length === 0 && fields.length === 0) return false;
  return (
    labels.every((r) => matchesRequirement(r, node.metadata.labels?.[r.key])) &&
    fields.every((r) => matchesRequirement(r, r.key === "metadata.name" ? node.metadata.name : undefined))
  );
}

/** The node has the labels of spec.nodeSelector, and one of the required terms matches. */
export function matchesRequired(spec: coreV1.PodSpec, node: coreV1.Node): boolean {
  for (const [key, value] of Object.entries(spec.nodeSelector ?? {})) if (node.metadata.labels?.[key] !== value) return false;
  const required = spec.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution;
  return !required || required.nodeSelectorTerms.some((term) => matchesTerm(term, node));
}

/** Sum of the weights of the preferred terms that match. */
export function preference(spec: coreV1.PodSpec, node: coreV1.Node): number {
  let sum = 0;
  for (const { weight, preference } of spec.affinity?.nodeAffinity?.preferredDuringSchedulingIgnoredDuringExecution ?? []) {
    const empty = !preference.matchExpressions?.length && !preference.matchFields?.length;
    if (weight !== 0 && (empty || matchesTerm(preference, node))) sum += weight;
  }
  return sum;
}

/** Names what selects nodes, so that pods of one template share the answer; undefined when nothing does. */
export function requiredKey(spec: coreV1.PodSpec): string | undefined {
  const required = spec.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution;
  const selects = required || (spec.nodeSelector && Object.keys(spec.nodeSelector).length > 0);
  return selects ? JSON.stringify([spec.nodeSelector, required]) : undefined;
}

export function preferredKey(spec: coreV1.PodSpec): string | undefined {
  const preferred = spec.affinity?.nodeAffinity?.preferredDuringSchedulingIgnoredDuringExecution;
  return preferred?.length ? JSON.stringify(preferred) : undefined;
}
