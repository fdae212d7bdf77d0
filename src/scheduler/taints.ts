// Taints and tolerations (k8s.io/component-helpers/scheduling/corev1).
import type * as coreV1 from "../api/gen/core/v1.ts";

export const unschedulableTaint: coreV1.Taint = { key: "node.kubernetes.io/unschedulable", effect: "NoSchedule" };

export function tolerates(toleration: coreV1.Toleration, taint: coreV1.Taint): boolean {
  if (toleration.effect && toleration.effect !== taint.effect) return false;
  if (toleration.key && toleration.key !== taint.key) return false;
  switch (toleration.operator || "Equal") {
    case "Equal":
      return (toleration.value ?? "") === (taint.value ?? "");
    case "Exists":
      return true;
    case "Lt":
    case "Gt":
      return numeric(toleration, taint);
    default:
      return false;
  }
}

/** KEP-5471: "Gt" tolerates taints whose value is greater than the toleration's. */
function numeric(toleration: coreV1.Toleration, taint: coreV1.Taint): boolean {
  const [ours, theirs] = [toleration.value ?? "", taint.value ?? ""];
  if (!/^-?\d+$/.test(ours) || !/^-?\d+$/.test(theirs)) return false;
  return toleration.operator === "Gt" ? BigInt(theirs) > BigInt(ours) : BigInt(theirs) < BigInt(ours);
}

const tolerated = (tolerations: readonly coreV1.Toleration[], taint: coreV1.Taint) => tolerations.some((t) => tolerates(t, taint));

/** The first taint that keeps the pod off the node. */
export function untolerated(taints: readonly coreV1.Taint[], tolerations: readonly coreV1.Toleration[]): coreV1.Taint | undefined {
  return taints.find((t) => (t.effect === "NoSchedule" || t.effect === "NoExecute") && !tolerated(tolerations, t));
}

/** How many PreferNoSchedule taints the pod does not tolerate. */
export function disliked(taints: readonly coreV1.Taint[], tolerations: readonly coreV1.Toleration[]): number {
  const soft = tolerations.filter((t) => !t.effect || t.effect === "PreferNoSchedule");
  return taints.filter((t) => t.effect === "PreferNoSchedule" && !tolerated(soft, t)).length;
}

export const toleratesUnschedulable = (tolerations: readonly coreV1.Toleration[]) => tolerated(tolerations, unschedulableTaint);
