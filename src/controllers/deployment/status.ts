// A Deployment's status and conditions, in upstream's reasons and words, which
// `kubectl rollout status` goes by.
import type * as appsV1 from "../../api/gen/apps/v1.ts";
import { timestamp } from "../../client/clock.ts";
import {
  actualPods,
  availablePods,
  type Deployment,
  hasProgressDeadline,
  maxUnavailable,
  type ReplicaSet,
  readyPods,
  replicasOf,
  wantedPods,
} from "./numbers.ts";

export type Condition = appsV1.DeploymentCondition;
export type DeploymentStatus = appsV1.DeploymentStatus;

export const reasons = {
  newSetAvailable: "NewReplicaSetAvailable",
  newSetCreated: "NewReplicaSetCreated",
  foundNewSet: "FoundNewReplicaSet",
  createError: "ReplicaSetCreateError",
  updated: "ReplicaSetUpdated",
  timedOut: "ProgressDeadlineExceeded",
  paused: "DeploymentPaused",
  resumed: "DeploymentResumed",
} as const;

export function newCondition(
  type: Condition["type"],
  status: Condition["status"],
  reason: string,
  message: string,
  now: number,
): Condition {
  const time = timestamp(now);
  return { type, status, lastUpdateTime: time, lastTransitionTime: time, reason, message };
}

export const conditionOf = (conditions: readonly Condition[] | undefined, type: string) => conditions?.find((c) => c.type === type);
export const without = (conditions: readonly Condition[], type: string) => conditions.filter((c) => c.type !== type);

/** Nothing changes while status and reason stay; the transition time stays with the status. */
export function withCondition(conditions: readonly Condition[], next: Condition): Condition[] {
  const present = conditionOf(conditions, next.type);
  if (present && present.status === next.status && present.reason === next.reason) return [...conditions];
  const kept = present && present.status === next.status ? { ...next, lastTransitionTime: present.lastTransitionTime } : next;
  return [...without(conditions, next.type), kept];
}

/** The counts, and the Available condition. */
export function calculate(
  d: Deployment,
  all: readonly ReplicaSet[],
  newSet: ReplicaSet | undefined,
  conditions: readonly Condition[],
  collisionCount: number | undefined,
  now: number,
): DeploymentStatus {
  const available = availablePods(all);
  const unavailable = Math.max(0, wantedPods(all) - available);
  const counts = {
    replicas: actualPods(all),
    updatedReplicas: newSet ? actualPods([newSet]) : 0,
    readyReplicas: readyPods(all),
    availableReplicas: available,
    unavailableReplicas: unavailable,
  };
  const enough = available >= replicasOf(d) - maxUnavailable(d);
  return {
    ...(d.metadata.generation === undefined ? {} : { observedGeneration: d.metadata.generation }),
    ...Object.fromEntries(Object.entries(counts).filter(([, n]) => n !== 0)),
    conditions: withCondition(
      conditions,
      enough
        ? newCondition("Available", "True", "MinimumReplicasAvailable", "Deployment has minimum availability.", now)
        : newCondition("Available", "False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.", now),
    ),
    ...(collisionCount === undefined ? {} : { collisionCount }),
  };
}

/** Every pod is of the new template and available, and no other is left. */
export function isComplete(d: Deployment, status: DeploymentStatus): boolean {
  const wanted = replicasOf(d);
  return (
    (status.updatedReplicas ?? 0) === wanted &&
    (status.replicas ?? 0) === wanted &&
    (status.availableReplicas ?? 0) === wanted &&
    (status.observedGeneration ?? 0) >= (d.metadata.generation ?? 0)
  );
}

function isProgressing(before: DeploymentStatus, after: DeploymentStatus): boolean {
  const old = (s: DeploymentStatus) => (s.replicas ?? 0) - (s.updatedReplicas ?? 0);
  return (
    (after.updatedReplicas ?? 0) > (before.updatedReplicas ?? 0) ||
    old(after) < old(before) ||
    (after.readyReplicas ?? 0) > (before.readyReplicas ?? 0) ||
    (after.availableReplicas ?? 0) > (before.availableReplicas ?? 0)
  );
}

function deadline(d: Deployment, progressing: Condition): number {
  return Date.parse(progressing.lastUpdateTime ?? progressing.lastTransitionTime ?? "") + (d.spec.progressDeadlineSeconds ?? 0) * 1000;
}

function isTimedOut(d: Deployment, status: DeploymentStatus, now: number): boolean {
  const progressing = conditionOf(status.conditions, "Progressing");
  if (!progressing || progressing.reason === reasons.newSetAvailable) return false;
  return progressing.reason === reasons.timedOut || deadline(d, progressing) < now;
}

/** The status of a rollout under way: counts, Available, Progressing, ReplicaFailure. */
export function rolloutStatus(
  d: Deployment,
  all: readonly ReplicaSet[],
  newSet: ReplicaSet | undefined,
  conditions: readonly Condition[],
  collisionCount: number | undefined,
  now: number,
): DeploymentStatus {
  const status = calculate(d, all, newSet, conditions, collisionCount, now);
  if (!hasProgressDeadline(d)) status.conditions = without(status.conditions!, "Progressing");
  const current = conditionOf(conditions, "Progressing");
  const complete = (status.replicas ?? 0) === (status.updatedReplicas ?? 0) && current?.reason === reasons.newSetAvailable;
  if (hasProgressDeadline(d) && !complete) {
    const what = newSet ? `ReplicaSet ${JSON.stringify(newSet.metadata.name)}` : `Deployment ${JSON.stringify(d.metadata.name)}`;
    if (isComplete(d, status)) {
      const next = newCondition("Progressing", "True", reasons.newSetAvailable, `${what} has successfully progressed.`, now);
      status.conditions = withCondition(status.conditions!, next);
    } else if (isProgressing(d.status ?? {}, status)) {
      const next = newCondition("Progressing", "True", reasons.updated, `${what} is progressing.`, now);
      // Its update time moves on with each step, which is what the deadline counts from.
      if (current?.status === "True") next.lastTransitionTime = current.lastTransitionTime;
      status.conditions = [...without(status.conditions!, "Progressing"), next];
    } else if (isTimedOut(d, status, now)) {
      const next = newCondition("Progressing", "False", reasons.timedOut, `${what} has timed out progressing.`, now);
      status.conditions = withCondition(status.conditions!, next);
    }
  }
  const failure = replicaFailure(all, newSet);
  status.conditions = failure ? withCondition(status.conditions!, failure) : without(status.conditions!, "ReplicaFailure");
  return status;
}

/** The new set's failure comes first, as it tells why the rollout is stuck. */
function replicaFailure(all: readonly ReplicaSet[], newSet: ReplicaSet | undefined): Condition | undefined {
  for (const rs of newSet ? [newSet, ...all] : all) {
    const c = rs.status?.conditions?.find((x) => x.type === "ReplicaFailure");
    if (c) {
      const { type, status, lastTransitionTime, reason, message } = c;
      return { type, status, lastUpdateTime: lastTransitionTime, lastTransitionTime, reason, message };
    }
  }
  return undefined;
}

/** Milliseconds until the deadline must be looked at; undefined when nothing is due. */
export function untilStuck(d: Deployment, status: DeploymentStatus, now: number): number | undefined {
  const progressing = conditionOf(d.status?.conditions, "Progressing");
  if (!hasProgressDeadline(d) || !progressing) return undefined;
  if (isComplete(d, status) || progressing.reason === reasons.timedOut) return undefined;
  // A second more, as the condition's time is in whole seconds.
  return Math.max(0, deadline(d, progressing) - now) + 1000;
}
