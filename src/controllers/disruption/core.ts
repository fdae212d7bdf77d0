// How many pods of a PodDisruptionBudget may be evicted
// (k8s.io/kubernetes/pkg/controller/disruption).
import type * as coreV1 from "../../api/gen/core/v1.ts";
import type * as metaV1 from "../../api/gen/meta/v1.ts";
import type * as policyV1 from "../../api/gen/policy/v1.ts";
import { timestamp } from "../../client/clock.ts";
import { scaled } from "../deployment/numbers.ts";
import { isReady, isTerminal } from "../framework/pods.ts";

type Budget = policyV1.PodDisruptionBudget;

/** An eviction that was allowed must show as a deletion within this many milliseconds, or it counts no more. */
const deletionTimeout = 120_000;

export interface DisruptionInput {
  budget: Budget;
  /** Pods that the selector matches. */
  pods: readonly coreV1.Pod[];
  /**
   * The wanted number of pods of all their controllers together. An Error when a pod has none that is known,
   * and the budget is not a plain minAvailable.
   */
  scale: number | Error;
  now: number;
}

export function reconcileBudget(input: DisruptionInput): { status: policyV1.PodDisruptionBudgetStatus; requeueAfter?: number } {
  const { budget, now } = input;
  const pods = input.pods.filter((p) => !isTerminal(p));
  const { minAvailable, maxUnavailable } = budget.spec;
  const plain = maxUnavailable === undefined && typeof minAvailable !== "string";
  if (!plain && input.scale instanceof Error) return { status: failed(budget, input.scale.message, now) };
  const expected = plain ? pods.length : (input.scale as number);
  const desired =
    maxUnavailable !== undefined
      ? Math.max(0, expected - scaled(maxUnavailable, expected, true))
      : typeof minAvailable === "string"
        ? scaled(minAvailable, expected, true)
        : (minAvailable ?? 1);

  const disrupted: Record<string, string> = {};
  let requeueAfter: number | undefined;
  for (const pod of pods) {
    const name = pod.metadata.name ?? "";
    const since = budget.status?.disruptedPods?.[name];
    if (since === undefined || pod.metadata.deletionTimestamp) continue;
    const left = Date.parse(since) + deletionTimeout - now;
    if (left <= 0) continue;
    disrupted[name] = since;
    requeueAfter = Math.min(requeueAfter ?? left, left);
  }
  const healthy = pods.filter((p) => !p.metadata.deletionTimestamp && !(p.metadata.name! in disrupted) && isReady(p)).length;
  const allowed = expected <= 0 ? 0 : Math.max(0, healthy - desired);
  const status: policyV1.PodDisruptionBudgetStatus = {
    ...(budget.metadata.generation === undefined ? {} : { observedGeneration: budget.metadata.generation }),
    ...(Object.keys(disrupted).length > 0 ? { disruptedPods: disrupted } : {}),
    disruptionsAllowed: allowed,
    currentHealthy: healthy,
    desiredHealthy: desired,
    expectedPods: expected,
    conditions: withAllowed(budget, allowed > 0 ? "True" : "False", allowed > 0 ? "SufficientPods" : "InsufficientPods", "", now),
  };
  return requeueAfter === undefined ? { status } : { status, requeueAfter };
}

/** Where the numbers are not known, nothing may be evicted. */
function failed(budget: Budget, message: string, now: number): policyV1.PodDisruptionBudgetStatus {
  const present = budget.status ?? { currentHealthy: 0, desiredHealthy: 0, expectedPods: 0 };
  return { ...present, disruptionsAllowed: 0, conditions: withAllowed(budget, "False", "SyncFailed", message, now) };
}

function withAllowed(budget: Budget, status: "True" | "False", reason: string, message: string, now: number): metaV1.Condition[] {
  const present = budget.status?.conditions ?? [];
  const before = present.find((c) => c.type === "DisruptionAllowed");
  const next: metaV1.Condition = {
    type: "DisruptionAllowed",
    status,
    reason,
    message,
    lastTransitionTime: before?.status === status ? before.lastTransitionTime : timestamp(now),
    ...(budget.metadata.generation === undefined ? {} : { observedGeneration: budget.metadata.generation }),
  };
  return [...present.filter((c) => c !== before), next];
}
