// What a ReplicaSet, or a ReplicationController, should do about its pods.
import type * as appsV1 from "../../api/gen/apps/v1.ts";
import type * as coreV1 from "../../api/gen/core/v1.ts";
import { timestamp } from "../../client/clock.ts";
import { isActive, isAvailable, isReady, untilAvailable } from "../framework/pods.ts";
import { podsToDelete } from "./ranking.ts";

/** Most pods made or deleted in one go. */
export const burstReplicas = 500;

/** What both kinds have in common. */
export interface ReplicaSpec {
  replicas: number;
  minReadySeconds: number;
  templateLabels: Record<string, string>;
  deleting: boolean;
}

export type Management = { create: number } | { remove: coreV1.Pod[] } | undefined;

/** How many pods to make, or which to delete. `owned` are all pods it controls, `related` those of its whole family. */
export function manage(spec: ReplicaSpec, owned: readonly coreV1.Pod[], related: () => readonly coreV1.Pod[], now: number): Management {
  if (spec.deleting) return undefined;
  const active = owned.filter(isActive);
  const missing = spec.replicas - active.length;
  if (missing > 0) return { create: Math.min(missing, burstReplicas) };
  if (missing < 0) return { remove: podsToDelete(active, related(), Math.min(-missing, burstReplicas), now) };
  return undefined;
}

export interface ReplicaStatus {
  replicas: number;
  fullyLabeledReplicas?: number;
  readyReplicas?: number;
  availableReplicas?: number;
  observedGeneration?: number;
  conditions?: appsV1.ReplicaSetCondition[];
}

/** Why the last try to make or delete pods did not work. */
export interface Failure {
  reason: "FailedCreate" | "FailedDelete";
  message: string;
}

/** The status to write; undefined when the present one says it all. */
export function nextStatus(
  spec: ReplicaSpec,
  generation: number | undefined,
  present: ReplicaStatus | undefined,
  owned: readonly coreV1.Pod[],
  failure: Failure | undefined,
  now: number,
): ReplicaStatus | undefined {
  const labels = Object.entries(spec.templateLabels);
  let replicas = 0;
  let labeled = 0;
  let ready = 0;
  let available = 0;
  for (const pod of owned) {
    if (!isActive(pod)) continue;
    replicas++;
    if (labels.every(([k, v]) => pod.metadata.labels?.[k] === v)) labeled++;
    if (!isReady(pod)) continue;
    ready++;
    if (isAvailable(pod, spec.minReadySeconds, now)) available++;
  }
  const conditions = failureCondition(present?.conditions, failure, now);
  if (
    present &&
    present.replicas === replicas &&
    (present.fullyLabeledReplicas ?? 0) === labeled &&
    (present.readyReplicas ?? 0) === ready &&
    (present.availableReplicas ?? 0) === available &&
    present.observedGeneration === generation &&
    conditions === present.conditions
  )
    return undefined;
  return {
    replicas,
    ...(labeled ? { fullyLabeledReplicas: labeled } : {}),
    ...(ready ? { readyReplicas: ready } : {}),
    ...(available ? { availableReplicas: available } : {}),
    ...(generation === undefined ? {} : { observedGeneration: generation }),
    ...(conditions && conditions.length > 0 ? { conditions } : {}),
  };
}

/** The conditions with ReplicaFailure set or gone; the same array when nothing changes. */
function failureCondition(
  present: appsV1.ReplicaSetCondition[] | undefined,
  failure: Failure | undefined,
  now: number,
): appsV1.ReplicaSetCondition[] | undefined {
  const before = present?.find((c) => c.type === "ReplicaFailure");
  if (!failure) return before ? present?.filter((c) => c !== before) : present;
  if (before) return present; // As upstream: the first failure stands until it is over.
  return [
    ...(present ?? []),
    { type: "ReplicaFailure", status: "True", lastTransitionTime: timestamp(now), reason: failure.reason, message: failure.message },
  ];
}

/** When a ready pod will have been ready for minReadySeconds, in milliseconds from now. */
export function nextLook(spec: ReplicaSpec, owned: readonly coreV1.Pod[], now: number): number | undefined {
  return untilAvailable(owned.filter(isActive), spec.minReadySeconds, now);
}
