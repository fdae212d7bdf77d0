// What a StatefulSet should do about its pods
// (k8s.io/kubernetes/pkg/controller/statefulset, stateful_set_control.go).
import type * as appsV1 from "../../api/gen/apps/v1.ts";
import type * as coreV1 from "../../api/gen/core/v1.ts";
import { statefulSets } from "../../client/resources.ts";
import { revisionLabel } from "../framework/history.ts";
import { controllerReference } from "../framework/owners.ts";
import { isAvailable, isReady, podFromTemplate } from "../framework/pods.ts";

type StatefulSet = appsV1.StatefulSet;

export interface StatefulInput {
  set: StatefulSet;
  pods: readonly coreV1.Pod[];
  /** The revision that pods had before, and the one they are to have. */
  current: { name: string; template: coreV1.PodTemplateSpec };
  update: { name: string; template: coreV1.PodTemplateSpec };
  now: number;
}

export interface StatefulPlan {
  create: { pod: coreV1.Pod; claims: coreV1.PersistentVolumeClaim[] }[];
  remove: coreV1.Pod[];
  status: appsV1.StatefulSetStatus;
}

/** The number at the end of a pod's name; undefined when it is not a pod of this set. */
export function ordinalOf(set: StatefulSet, pod: coreV1.Pod): number | undefined {
  const match = /^(.*)-(\d+)$/.exec(pod.metadata.name ?? "");
  return match && match[1] === set.metadata.name ? Number(match[2]) : undefined;
}

export function reconcileStatefulSet(input: StatefulInput): StatefulPlan {
  const { set, now } = input;
  const first = set.spec.ordinals?.start ?? 0;
  const count = set.spec.replicas ?? 1;
  const seats: (coreV1.Pod | undefined)[] = Array.from({ length: count });
  const condemned: coreV1.Pod[] = [];
  for (const pod of input.pods) {
    const ordinal = ordinalOf(set, pod);
    if (ordinal === undefined) continue;
    if (ordinal >= first && ordinal < first + count) seats[ordinal - first] = pod;
    else condemned.push(pod);
  }
  condemned.sort((a, b) => ordinalOf(set, b)! - ordinalOf(set, a)!);
  const plan: StatefulPlan = { create: [], remove: [], status: statusOf(input, seats, condemned) };
  if (!set.metadata.deletionTimestamp) steps(input, seats, condemned, first, plan);
  finishUpdate(set, input.update.name, plan.status);
  return plan;

  function steps(i: StatefulInput, slots: (coreV1.Pod | undefined)[], extra: coreV1.Pod[], start: number, p: StatefulPlan): void {
    const ordered = i.set.spec.podManagementPolicy !== "Parallel";
    const healthy = (pod: coreV1.Pod) => isRunning(pod) && isReady(pod) && isAvailable(pod, i.set.spec.minReadySeconds ?? 0, now);
    for (let n = 0; n < slots.length; n++) {
      const pod = slots[n];
      if (pod?.metadata.deletionTimestamp) {
        if (ordered) return;
        continue;
      }
      if (!pod) {
        p.create.push(newPod(i, start + n));
        if (ordered) return;
        continue;
      }
      if (pod.status?.phase === "Failed" || pod.status?.phase === "Succeeded") {
        p.remove.push(pod);
        if (ordered) return;
        continue;
      }
      if (ordered && !healthy(pod)) return;
    }
    // Highest first; in order, one at a time and only while the others are well.
    const unhealthy = extra.find((pod) => !healthy(pod));
    for (const pod of extra) {
      if (pod.metadata.deletionTimestamp) {
        if (ordered) return;
        continue;
      }
      if (ordered && !healthy(pod) && pod !== unhealthy) return;
      p.remove.push(pod);
      if (ordered) return;
    }
    if (i.set.spec.updateStrategy?.type === "OnDelete") return;
    const partition = i.set.spec.updateStrategy?.rollingUpdate?.partition ?? 0;
    for (let n = slots.length - 1; n >= Math.max(0, partition - start); n--) {
      const pod = slots[n];
      if (!pod) return;
      if (pod.metadata.labels?.[revisionLabel] !== i.update.name) {
        if (!pod.metadata.deletionTimestamp) p.remove.push(pod);
        return;
      }
      if (pod.metadata.deletionTimestamp || !healthy(pod)) return;
    }
  }
}

const isRunning = (pod: coreV1.Pod) => pod.status?.phase === "Running";

function statusOf(
  input: StatefulInput,
  seats: readonly (coreV1.Pod | undefined)[],
  condemned: readonly coreV1.Pod[],
): appsV1.StatefulSetStatus {
  const { set, now } = input;
  const s = { replicas: 0, ready: 0, available: 0, current: 0, updated: 0 };
  for (const pod of [...seats, ...condemned]) {
    if (!pod) continue;
    s.replicas++;
    if (isRunning(pod) && isReady(pod)) {
      s.ready++;
      if (isAvailable(pod, set.spec.minReadySeconds ?? 0, now)) s.available++;
    }
    if (pod.metadata.deletionTimestamp) continue;
    const revision = pod.metadata.labels?.[revisionLabel];
    if (revision === input.current.name) s.current++;
    if (revision === input.update.name) s.updated++;
  }
  return {
    observedGeneration: set.metadata.generation,
    replicas: s.replicas,
    ...(s.ready ? { readyReplicas: s.ready } : {}),
    ...(s.current ? { currentReplicas: s.current } : {}),
    ...(s.updated ? { updatedReplicas: s.updated } : {}),
    currentRevision: input.current.name,
    updateRevision: input.update.name,
    collisionCount: set.status?.collisionCount ?? 0,
    availableReplicas: s.available,
    ...(set.status?.conditions ? { conditions: set.status.conditions } : {}),
  };
}

/** Once every pod is of the new revision and ready, it is the current one. */
function finishUpdate(set: StatefulSet, update: string, status: appsV1.StatefulSetStatus): void {
  if (set.spec.updateStrategy?.type === "OnDelete") return;
  if (status.updatedReplicas !== status.replicas || (status.readyReplicas ?? 0) !== status.replicas || status.replicas === 0) return;
  status.currentReplicas = status.updatedReplicas;
  status.currentRevision = update;
}

function newPod(input: StatefulInput, ordinal: number): { pod: coreV1.Pod; claims: coreV1.PersistentVolumeClaim[] } {
  const { set } = input;
  const rolling = set.spec.updateStrategy?.rollingUpdate;
  const start = set.spec.ordinals?.start ?? 0;
  const kept = rolling ? (rolling.partition ?? 0) : start + (set.status?.currentReplicas ?? 0);
  const old = set.spec.updateStrategy?.type !== "OnDelete" && ordinal < kept;
  const revision = old ? input.current : input.update;
  const name = `${set.metadata.name}-${ordinal}`;
  const bare = podFromTemplate(statefulSets, set, revision.template);
  const { generateName: _, ...metadata } = bare.metadata;
  const templates = set.spec.volumeClaimTemplates ?? [];
  const claimName = (t: coreV1.PersistentVolumeClaim) => `${t.metadata.name}-${name}`;
  const volumes = [
    ...templates.map((t): coreV1.Volume => ({ name: t.metadata.name ?? "", persistentVolumeClaim: { claimName: claimName(t) } })),
    ...(bare.spec.volumes ?? []).filter((v) => !templates.some((t) => t.metadata.name === v.name)),
  ];
  const pod: coreV1.Pod = {
    ...bare,
    metadata: {
      ...metadata,
      name,
      labels: {
        ...metadata.labels,
        "statefulset.kubernetes.io/pod-name": name,
        "apps.kubernetes.io/pod-index": String(ordinal),
        [revisionLabel]: revision.name,
      },
      ownerReferences: [controllerReference(statefulSets, set)],
    },
    spec: {
      ...bare.spec,
      hostname: name,
      ...(set.spec.serviceName ? { subdomain: set.spec.serviceName } : {}),
      ...(volumes.length > 0 ? { volumes } : {}),
    },
  };
  const claims = templates.map(
    (t): coreV1.PersistentVolumeClaim => ({
      ...t,
      apiVersion: "v1",
      kind: "PersistentVolumeClaim",
      metadata: {
        ...t.metadata,
        name: claimName(t),
        namespace: set.metadata.namespace,
        labels: { ...t.metadata.labels, ...set.spec.selector.matchLabels },
      },
      status: undefined,
    }),
  );
  return { pod, claims };
}
