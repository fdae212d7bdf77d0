// Judges nodes by what they last said (k8s.io/kubernetes/pkg/controller/nodelifecycle).

import { deepEqual } from "../../api/equal.ts";
import type * as coreV1 from "../../api/gen/core/v1.ts";
import { timestamp } from "../../client/clock.ts";

type Node = coreV1.Node;
type Taint = coreV1.Taint;
type Condition = coreV1.NodeCondition;

export const taints = {
  notReady: "node.kubernetes.io/not-ready",
  unreachable: "node.kubernetes.io/unreachable",
  unschedulable: "node.kubernetes.io/unschedulable",
  memory: "node.kubernetes.io/memory-pressure",
  disk: "node.kubernetes.io/disk-pressure",
  pid: "node.kubernetes.io/pid-pressure",
  network: "node.kubernetes.io/network-unavailable",
} as const;

/** Condition and status by which a NoSchedule taint is there. */
const byCondition: readonly [type: string, status: string, key: string][] = [
  ["Ready", "False", taints.notReady],
  ["Ready", "Unknown", taints.unreachable],
  ["MemoryPressure", "True", taints.memory],
  ["DiskPressure", "True", taints.disk],
  ["NetworkUnavailable", "True", taints.network],
  ["PIDPressure", "True", taints.pid],
];
const owned: ReadonlySet<string> = new Set(Object.values(taints));

export const conditionOf = (node: Node, type: string): Condition | undefined => node.status?.conditions?.find((c) => c.type === type);
export const readiness = (node: Node): "True" | "False" | "Unknown" =>
  (conditionOf(node, "Ready")?.status as "True" | "False" | undefined) ?? "Unknown";

/** When this controller last heard of a node, by its own clock. */
export interface Heard {
  at: number;
  /** What was heard; a change of it is a sign of life. */
  status: string;
  lease: string;
}

/** What the node said last: the heartbeat and status of its Ready condition, its lease's renewal. */
export function hear(before: Heard | undefined, node: Node, renewTime: string | undefined, now: number): Heard {
  const ready = conditionOf(node, "Ready");
  const status = ready ? `${ready.status} ${ready.lastHeartbeatTime} ${ready.lastTransitionTime}` : "";
  const lease = renewTime ?? "";
  if (!before) {
    // A node that has never said anything counts from its creation.
    const at = ready || lease ? now : Date.parse(node.metadata.creationTimestamp ?? "") || now;
    return { at, status, lease };
  }
  // A condition that this controller itself set to Unknown is no sign of life.
  const spoke = lease !== before.lease || (status !== before.status && ready?.status !== "Unknown");
  return { at: spoke ? now : before.at, status, lease };
}

export const hasSpoken = (h: Heard) => h.status !== "" || h.lease !== "";

const watched = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];

/** The conditions of a node that has gone silent; undefined when they say so already. */
export function silenced(node: Node, now: number): Condition[] | undefined {
  const time = timestamp(now);
  let changed = false;
  const next = [...(node.status?.conditions ?? [])];
  for (const type of watched) {
    const at = next.findIndex((c) => c.type === type);
    const present = next[at];
    if (!present) {
      next.push({
        type: type as Condition["type"],
        status: "Unknown",
        reason: "NodeStatusNeverUpdated",
        message: "Kubelet never posted node status.",
        lastHeartbeatTime: node.metadata.creationTimestamp,
        lastTransitionTime: time,
      });
      changed = true;
    } else if (present.status !== "Unknown") {
      next[at] = {
        ...present,
        status: "Unknown",
        reason: "NodeStatusUnknown",
        message: "Kubelet stopped posting node status.",
        lastTransitionTime: time,
      };
      changed = true;
    }
  }
  return changed ? next : undefined;
}

/**
 * The taints that the node should have; undefined when it has them.
 * @param evict Whether the NoExecute taint of a node that is not ready may be set now.
 */
export function nextTaints(node: Node, evict: boolean, now: number): Taint[] | undefined {
  const present = node.spec?.taints ?? [];
  const wanted: Taint[] = [];
  for (const [type, status, key] of byCondition) if (conditionOf(node, type)?.status === status) wanted.push({ key, effect: "NoSchedule" });
  if (node.spec?.unschedulable) wanted.push({ key: taints.unschedulable, effect: "NoSchedule" });
  const ready = conditionOf(node, "Ready")?.status;
  const key = ready === "False" ? taints.notReady : ready === "Unknown" ? taints.unreachable : undefined;
  if (key) {
    const other = key === taints.notReady ? taints.unreachable : taints.notReady;
    const marked = present.some((t) => t.effect === "NoExecute" && (t.key === key || t.key === other));
    if (evict || marked) wanted.push({ key, effect: "NoExecute" });
  }
  const managed = (t: Taint) => owned.has(t.key) && (t.effect === "NoSchedule" || (t.effect === "NoExecute" && isReadiness(t.key)));
  const kept = present.filter((t) => {
    if (!managed(t)) return true;
    // Before the first word of a node its taint stands: it was put there at its registration.
    if (ready === undefined && t.key === taints.notReady) return true;
    return wanted.some((w) => w.key === t.key && w.effect === t.effect);
  });
  const added = wanted
    .filter((w) => !present.some((t) => t.key === w.key && t.effect === w.effect))
    .map((w): Taint => ({ ...w, timeAdded: timestamp(now) }));
  const next = [...kept, ...added];
  return deepEqual(next, present) ? undefined : next;
}

const isReadiness = (key: string) => key === taints.notReady || key === taints.unreachable;

export type ZoneState = "Normal" | "PartialDisruption" | "FullDisruption";

/** How bad a zone is: many nodes lost at once are rather the network's fault than theirs. */
export function zoneState(ready: number, notReady: number, unhealthyThreshold = 0.55): ZoneState {
  if (ready === 0 && notReady > 0) return "FullDisruption";
  return notReady > 2 && notReady / (notReady + ready) >= unhealthyThreshold ? "PartialDisruption" : "Normal";
}

/** Nodes a second to evict from, by the zone's state. */
export function evictionRate(state: ZoneState, size: number, allDisrupted: boolean, rate = 0.1, secondary = 0.01, large = 50): number {
  if (allDisrupted) return 0;
  if (state === "PartialDisruption") return size > large ? secondary : 0;
  return rate;
}

/** "region:zone" of a node. */
export function zoneOf(node: Node): string {
  const l = node.metadata.labels ?? {};
  const region = l["topology.kubernetes.io/region"] ?? "";
  const zone = l["topology.kubernetes.io/zone"] ?? "";
  return region === "" && zone === "" ? "" : `${region}:\u0000:${zone}`;
}
