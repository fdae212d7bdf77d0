// Which pods go first when there are too many
// (https://kubernetes.io/docs/concepts/workloads/controllers/replicaset/#scaling-a-replicaset).
import type * as coreV1 from "../../api/gen/core/v1.ts";
import { isActive, isReady, readySince, restarts } from "../framework/pods.ts";

const phases: Record<string, number> = { Pending: 0, Unknown: 1, Running: 2 };
const costAnnotation = "controller.kubernetes.io/pod-deletion-cost";

interface Ranked {
  pod: coreV1.Pod;
  /** Active pods of the same family on its node. */
  crowd: number;
  cost: number;
}

/**
 * The `count` pods to delete. `related` are the pods that count for spreading,
 * the candidates among them; `now` is in milliseconds.
 */
export function podsToDelete(pods: readonly coreV1.Pod[], related: readonly coreV1.Pod[], count: number, now: number): coreV1.Pod[] {
  if (count >= pods.length) return [...pods];
  const perNode = new Map<string, number>();
  for (const pod of related) {
    const node = pod.spec.nodeName;
    if (node && isActive(pod)) perNode.set(node, (perNode.get(node) ?? 0) + 1);
  }
  const ranked: Ranked[] = pods.map((pod) => ({
    pod,
    crowd: perNode.get(pod.spec.nodeName ?? "") ?? 0,
    cost: deletionCost(pod),
  }));
  ranked.sort((a, b) => compare(a, b, now));
  return ranked.slice(0, count).map((r) => r.pod);
}

function deletionCost(pod: coreV1.Pod): number {
  const text = pod.metadata.annotations?.[costAnnotation];
  return text !== undefined && /^(0|-?[1-9]\d*)$/.test(text) ? Number(text) : 0;
}

/** Negative when `a` should be deleted before `b`. */
function compare(a: Ranked, b: Ranked, now: number): number {
  const assigned = Number(!!a.pod.spec.nodeName) - Number(!!b.pod.spec.nodeName);
  if (assigned !== 0) return assigned;
  const phase = (phases[a.pod.status?.phase ?? ""] ?? 0) - (phases[b.pod.status?.phase ?? ""] ?? 0);
  if (phase !== 0) return phase;
  const ready = Number(isReady(a.pod)) - Number(isReady(b.pod));
  if (ready !== 0) return ready;
  if (a.cost !== b.cost) return a.cost - b.cost;
  if (a.crowd !== b.crowd) return b.crowd - a.crowd;
  if (isReady(a.pod)) {
    const byReady = youngerFirst(readySince(a.pod), readySince(b.pod), now, a.pod, b.pod);
    if (byReady !== 0) return byReady;
  }
  const byRestarts = restarts(b.pod) - restarts(a.pod);
  if (byRestarts !== 0) return byRestarts;
  return youngerFirst(created(a.pod), created(b.pod), now, a.pod, b.pod);
}

const created = (pod: coreV1.Pod) => (pod.metadata.creationTimestamp ? Date.parse(pod.metadata.creationTimestamp) : undefined);

/** Ages compare by their logarithm, and equal ones by uid, so that not always the newest of a batch go. */
function youngerFirst(a: number | undefined, b: number | undefined, now: number, podA: coreV1.Pod, podB: coreV1.Pod): number {
  if (a === b) return 0;
  if (a === undefined) return -1;
  if (b === undefined) return 1;
  const diff = ageRank(a, now) - ageRank(b, now);
  if (diff !== 0) return diff;
  return (podA.metadata.uid ?? "") < (podB.metadata.uid ?? "") ? -1 : 1;
}

function ageRank(at: number, now: number): number {
  const age = (now - at) * 1e6;
  return age > 0 ? Math.floor(Math.log2(age)) : -1;
}
