// What controllers ask of a pod (k8s.io/kubernetes/pkg/api/v1/pod).
import type * as coreV1 from "../../api/gen/core/v1.ts";
import { apiVersion, type KubeObject } from "../../api/object.ts";
import type { Collection } from "../../client/resources.ts";
import { controllerReference } from "./owners.ts";

/** Neither finished nor being deleted. */
export function isActive(pod: coreV1.Pod): boolean {
  return !isTerminal(pod) && !pod.metadata.deletionTimestamp;
}

export function isTerminal(pod: coreV1.Pod): boolean {
  const phase = pod.status?.phase;
  return phase === "Succeeded" || phase === "Failed";
}

export function condition(pod: coreV1.Pod, type: string): coreV1.PodCondition | undefined {
  return pod.status?.conditions?.find((c) => c.type === type);
}

export function isReady(pod: coreV1.Pod): boolean {
  return condition(pod, "Ready")?.status === "True";
}

/** When the Ready condition last changed, in milliseconds since the epoch; undefined when not ready or not known. */
export function readySince(pod: coreV1.Pod): number | undefined {
  const ready = condition(pod, "Ready");
  return ready?.status === "True" && ready.lastTransitionTime ? Date.parse(ready.lastTransitionTime) : undefined;
}

/** Ready for at least so many seconds. */
export function isAvailable(pod: coreV1.Pod, minReadySeconds: number, now: number): boolean {
  if (!isReady(pod)) return false;
  if (minReadySeconds === 0) return true;
  const since = readySince(pod);
  return since !== undefined && since + minReadySeconds * 1000 <= now;
}

/** Milliseconds until the first of the ready pods becomes available; undefined when none is on the way. */
export function untilAvailable(pods: Iterable<coreV1.Pod>, minReadySeconds: number, now: number): number | undefined {
  if (minReadySeconds === 0) return undefined;
  let soonest: number | undefined;
  for (const pod of pods) {
    const since = readySince(pod);
    if (since === undefined) continue;
    const left = since + minReadySeconds * 1000 - now;
    if (left > 0 && (soonest === undefined || left < soonest)) soonest = left;
  }
  return soonest;
}

export function restarts(pod: coreV1.Pod): number {
  let n = 0;
  for (const s of pod.status?.containerStatuses ?? []) n = Math.max(n, s.restartCount ?? 0);
  return n;
}

/** A new pod from a controller's template; the apiserver completes its name. */
export function podFromTemplate<T extends KubeObject>(of: Collection<T>, owner: T, template: coreV1.PodTemplateSpec): coreV1.Pod {
  const m = template.metadata;
  return {
    apiVersion: apiVersion({ group: "", version: "v1" }),
    kind: "Pod",
    metadata: {
      generateName: `${owner.metadata.name}-`,
      namespace: owner.metadata.namespace,
      ...(m?.labels ? { labels: m.labels } : {}),
      ...(m?.annotations ? { annotations: m.annotations } : {}),
      ...(m?.finalizers ? { finalizers: m.finalizers } : {}),
      ownerReferences: [controllerReference(of, owner)],
    },
    spec: template.spec!,
  };
}
