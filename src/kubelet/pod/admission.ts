// Whether the node has room for a pod that was bound to it. The scheduler has
// looked already, but static pods, pods that name their node and two schedulers
// meet only here (upstream's pkg/kubelet/lifecycle predicate handler).
import type * as coreV1 from "../../api/gen/core/v1.ts";
import { toBytes, toMilli } from "../../api/quantity.ts";
import { isSidecar } from "./actions.ts";

/** What pods may use, as in the node's status. */
export interface Room {
  pods: number;
  cpu: string;
  memory: string;
  "ephemeral-storage": string;
}

/** Why a pod is refused, as its status and its event say it. */
export interface Refusal {
  reason: string;
  message: string;
}

/** A resource, and its amounts as messages give them: CPUs in thousandths, the rest in bytes. */
const resources = [
  ["cpu", toMilli],
  ["memory", toBytes],
  ["ephemeral-storage", toBytes],
] as const;
type ResourceName = (typeof resources)[number][0];

/** What a pod asks for: its containers and sidecars together, or an init container with the sidecars before it if that is more. */
export function requested(spec: coreV1.PodSpec, name: ResourceName, amount: (text: string) => number): number {
  const of = (list: coreV1.ResourceRequirements | undefined) => {
    const text = list?.requests?.[name] ?? list?.limits?.[name];
    return text === undefined ? 0 : amount(text);
  };
  let sidecars = 0;
  let init = 0;
  for (const c of spec.initContainers ?? []) {
    if (isSidecar(c)) sidecars += of(c.resources);
    init = Math.max(init, isSidecar(c) ? sidecars : sidecars + of(c.resources));
  }
  const together = spec.containers.reduce((sum, c) => sum + of(c.resources), sidecars);
  const whole = name === "ephemeral-storage" ? 0 : of(spec.resources);
  const overhead = spec.overhead?.[name];
  return (whole || Math.max(together, init)) + (overhead === undefined ? 0 : amount(overhead));
}

const anyAddress = (ip: string | undefined) => !ip || ip === "0.0.0.0" || ip === "::";

function hostPorts(spec: coreV1.PodSpec): coreV1.ContainerPort[] {
  const all = [...(spec.initContainers ?? []).filter(isSidecar), ...spec.containers].flatMap((c) => c.ports ?? []);
  return all.flatMap((p) => (p.hostPort || spec.hostNetwork ? [{ ...p, hostPort: p.hostPort || p.containerPort }] : []));
}

const collide = (a: coreV1.ContainerPort, b: coreV1.ContainerPort): boolean =>
  a.hostPort === b.hostPort &&
  (a.protocol ?? "TCP") === (b.protocol ?? "TCP") &&
  (anyAddress(a.hostIP) || anyAddress(b.hostIP) || a.hostIP === b.hostIP);

const outOf = (resource: string, want: number, used: number, capacity: number): Refusal => ({
  reason: `OutOf${resource}`,
  message: `Node didn't have enough resource: ${resource}, requested: ${want}, used: ${used}, capacity: ${capacity}`,
});

/** Why a pod can't be on a node beside those that are; undefined when it can. */
export function refusal(pod: coreV1.Pod, others: readonly coreV1.Pod[], room: Room): Refusal | undefined {
  if (others.length + 1 > room.pods) return outOf("pods", 1, others.length, room.pods);
  for (const [name, amount] of resources) {
    const want = requested(pod.spec, name, amount);
    if (want === 0) continue;
    const used = others.reduce((sum, p) => sum + requested(p.spec, name, amount), 0);
    const capacity = amount(room[name]);
    if (want > capacity - used) return outOf(name, want, used, capacity);
  }
  const ports = hostPorts(pod.spec);
  if (ports.length > 0 && others.some((p) => hostPorts(p.spec).some((theirs) => ports.some((ours) => collide(ours, theirs)))))
    return { reason: "NodePorts", message: "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports" };
  return undefined;
}
