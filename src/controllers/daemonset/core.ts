// What a DaemonSet should do about its pods (k8s.io/kubernetes/pkg/controller/daemon).
import type * as appsV1 from "../../api/gen/apps/v1.ts";
import type * as coreV1 from "../../api/gen/core/v1.ts";
import { daemonSets } from "../../client/resources.ts";
import { scaled } from "../deployment/numbers.ts";
import { revisionLabel } from "../framework/history.ts";
import { isAvailable, isReady, podFromTemplate } from "../framework/pods.ts";
import { bindToNode, nodeOf, placement } from "./placement.ts";

export interface DaemonInput {
  set: appsV1.DaemonSet;
  pods: readonly coreV1.Pod[];
  nodes: readonly coreV1.Node[];
  /** The hash of the present template. */
  hash: string;
  now: number;
  /** Whether a failed pod on this node may be replaced yet. */
  mayReplace(node: string): boolean;
}

export interface DaemonPlan {
  create: coreV1.Pod[];
  remove: coreV1.Pod[];
  /** Among `remove`: those that failed, for an event each. */
  failed: coreV1.Pod[];
  status: appsV1.DaemonSetStatus;
}

interface Seat {
  node: coreV1.Node;
  run: boolean;
  pods: coreV1.Pod[];
}

export function reconcileDaemonSet(input: DaemonInput): DaemonPlan {
  const { set, now } = input;
  const seats = new Map<string, Seat>();
  const plan: DaemonPlan = { create: [], remove: [], failed: [], status: emptyStatus(set) };
  const deleting = !!set.metadata.deletionTimestamp;
  for (const node of input.nodes) seats.set(node.metadata.name ?? "", { node, run: placement(set.spec.template, node).run, pods: [] });
  for (const pod of input.pods) {
    const seat = seats.get(nodeOf(pod) ?? "");
    // A node that is gone takes its pods with it; the garbage collector of pods sees to the rest.
    if (seat) seat.pods.push(pod);
  }
  const minReady = set.spec.minReadySeconds ?? 0;
  const isNew = (p: coreV1.Pod) => p.metadata.labels?.[revisionLabel] === input.hash;
  const wanted = [...seats.values()].filter((s) => s.run).length;
  const surge =
    set.spec.updateStrategy?.type === "OnDelete" ? 0 : scaled(set.spec.updateStrategy?.rollingUpdate?.maxSurge ?? 0, wanted, true);

  for (const { node, pods } of seats.values()) {
    const { run, stay } = placement(set.spec.template, node);
    const name = node.metadata.name ?? "";
    if (!stay) {
      plan.remove.push(...pods.filter((p) => !p.metadata.deletionTimestamp));
      continue;
    }
    const alive: coreV1.Pod[] = [];
    for (const pod of pods) {
      if (pod.metadata.deletionTimestamp) continue;
      if (pod.status?.phase === "Failed" || pod.status?.phase === "Succeeded") {
        if (!input.mayReplace(name)) continue;
        plan.remove.push(pod);
        plan.failed.push(pod);
      } else alive.push(pod);
    }
    const leaving = pods.some((p) => p.metadata.deletionTimestamp);
    if (run && alive.length === 0 && !leaving && !pods.some((p) => p.status?.phase === "Failed" || p.status?.phase === "Succeeded"))
      plan.create.push(newPod(set, name, input.hash));
    // One too many: the oldest stays, and while one surges, its successor too.
    if (alive.length > 1) {
      const fresh = alive.filter(isNew).sort(byCreation);
      const old = alive.filter((p) => !isNew(p)).sort(byCreation);
      if (surge > 0 && fresh.length > 0 && old.length > 0) {
        plan.remove.push(...fresh.slice(1), ...old.slice(1));
        if (isAvailable(fresh[0]!, minReady, now)) plan.remove.push(old[0]!);
      } else plan.remove.push(...[...alive].sort(byCreation).slice(1));
    }
  }
  if (deleting) return { ...plan, create: [], remove: [], failed: [], status: statusOf(input, [...seats.values()], isNew) };
  if (set.spec.updateStrategy?.type !== "OnDelete") roll(input, [...seats.values()], plan, isNew, wanted, surge);
  plan.status = statusOf(input, [...seats.values()], isNew);
  return plan;
}

/** Replaces pods of older templates as far as maxUnavailable, or with maxSurge ahead of them, allows. */
function roll(input: DaemonInput, seats: Seat[], plan: DaemonPlan, isNew: (p: coreV1.Pod) => boolean, wanted: number, surge: number): void {
  const { set, now } = input;
  const minReady = set.spec.minReadySeconds ?? 0;
  const gone = new Set(plan.remove);
  const unavailableLimit = surge > 0 ? 0 : Math.max(1, scaled(set.spec.updateStrategy?.rollingUpdate?.maxUnavailable ?? 1, wanted, true));
  let unavailable = 0;
  let surging = 0;
  const candidates: coreV1.Pod[] = [];
  const toSurge: string[] = [];
  for (const { node, pods, run } of seats) {
    if (!run) continue;
    const alive = pods.filter((p) => !p.metadata.deletionTimestamp && !gone.has(p));
    const fresh = alive.find(isNew);
    const old = alive.find((p) => !isNew(p));
    const oldAvailable = !!old && isAvailable(old, minReady, now);
    if (surge > 0) {
      if (fresh && old) surging++;
      else if (old && !fresh) {
        if (oldAvailable) toSurge.push(node.metadata.name ?? "");
        else plan.remove.push(old);
      }
      continue;
    }
    const available = !!(fresh && isAvailable(fresh, minReady, now)) || oldAvailable;
    if (!available) unavailable++;
    if (old && !fresh) {
      // One that serves nobody costs nothing to replace.
      if (!oldAvailable) plan.remove.push(old);
      else candidates.push(old);
    }
  }
  if (surge > 0) for (const node of toSurge.slice(0, Math.max(0, surge - surging))) plan.create.push(newPod(set, node, input.hash));
  else plan.remove.push(...candidates.slice(0, Math.max(0, unavailableLimit - unavailable)));
}

const byCreation = (a: coreV1.Pod, b: coreV1.Pod) =>
  Number(!!b.spec.nodeName) - Number(!!a.spec.nodeName) ||
  Date.parse(a.metadata.creationTimestamp ?? "") - Date.parse(b.metadata.creationTimestamp ?? "") ||
  ((a.metadata.name ?? "") < (b.metadata.name ?? "") ? -1 : 1);

function newPod(set: appsV1.DaemonSet, node: string, hash: string): coreV1.Pod {
  const pod = podFromTemplate(daemonSets, set, set.spec.template);
  return {
    ...pod,
    metadata: {
      ...pod.metadata,
      labels: { ...pod.metadata.labels, [revisionLabel]: hash, "pod-template-generation": String(set.metadata.generation ?? 1) },
    },
    spec: bindToNode(pod.spec, node),
  };
}

const emptyStatus = (set: appsV1.DaemonSet): appsV1.DaemonSetStatus => ({
  currentNumberScheduled: 0,
  numberMisscheduled: 0,
  desiredNumberScheduled: 0,
  numberReady: 0,
  observedGeneration: set.metadata.generation,
});

function statusOf(input: DaemonInput, seats: Seat[], isNew: (p: coreV1.Pod) => boolean): appsV1.DaemonSetStatus {
  const { set, now } = input;
  const s = { current: 0, misscheduled: 0, desired: 0, ready: 0, updated: 0, available: 0 };
  for (const { pods, run } of seats) {
    if (!run) {
      if (pods.length > 0) s.misscheduled++;
      continue;
    }
    s.desired++;
    const pod = [...pods].sort(byCreation).find((p) => !p.metadata.deletionTimestamp) ?? pods[0];
    if (!pod) continue;
    s.current++;
    if (pods.some((p) => isReady(p))) {
      s.ready++;
      if (pods.some((p) => isAvailable(p, set.spec.minReadySeconds ?? 0, now))) s.available++;
    }
    if (pods.some((p) => isNew(p) && !p.metadata.deletionTimestamp)) s.updated++;
  }
  const unavailable = s.desired - s.available;
  return {
    currentNumberScheduled: s.current,
    numberMisscheduled: s.misscheduled,
    desiredNumberScheduled: s.desired,
    numberReady: s.ready,
    observedGeneration: set.metadata.generation,
    ...(s.updated ? { updatedNumberScheduled: s.updated } : {}),
    ...(s.available ? { numberAvailable: s.available } : {}),
    ...(unavailable ? { numberUnavailable: unavailable } : {}),
    ...(set.status?.collisionCount === undefined ? {} : { collisionCount: set.status.collisionCount }),
  };
}
