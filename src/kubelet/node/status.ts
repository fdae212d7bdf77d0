// The Node object: labels, capacity, conditions (upstream's
// pkg/kubelet/nodestatus). Pure; the shell gathers the facts.
import { deepEqual } from "../../api/equal.ts";
import type * as coreV1 from "../../api/gen/core/v1.ts";
import { timestamp } from "../../client/clock.ts";
import type { Machine } from "./machine.ts";

export interface NodeInput {
  name: string;
  ips: string[];
  machine: Machine;
  labels: Record<string, string>;
  taints: readonly coreV1.Taint[];
  podCIDR?: string;
  maxPods: number;
  port: number;
  /** Bytes of the root directory's file system. */
  storage: number;
  runtimeVersion: string;
  runtimeHandlers: coreV1.NodeRuntimeHandler[];
  features?: coreV1.NodeFeatures;
  images: coreV1.ContainerImage[];
  /** What keeps the node from being ready. */
  problems: string[];
  pressure: { memory: boolean; disk: boolean; pid: boolean };
  now: number;
}

const Ki = (bytes: number) => `${Math.floor(bytes / 1024)}Ki`;
/** Upstream's default for hard eviction, kept from pods. */
const reservedMemory = 100 * 2 ** 20;
const storageShare = 0.9;

export function capacity(input: Pick<NodeInput, "machine" | "storage" | "maxPods">): Record<string, string> {
  return {
    cpu: String(input.machine.cpus),
    "ephemeral-storage": Ki(input.storage),
    memory: Ki(input.machine.memory),
    pods: String(input.maxPods),
  };
}

export function allocatable(input: Pick<NodeInput, "machine" | "storage" | "maxPods">): Record<string, string> {
  return {
    cpu: String(input.machine.cpus),
    "ephemeral-storage": String(Math.floor(input.storage * storageShare)),
    memory: Ki(Math.max(0, input.machine.memory - reservedMemory)),
    pods: String(input.maxPods),
  };
}

type Draft = Pick<coreV1.NodeCondition, "type" | "status" | "reason" | "message">;

function pressure(type: string, on: boolean, [yes, no]: [string, string], [yesText, noText]: [string, string]): Draft {
  return {
    type: type as coreV1.NodeConditionType,
    status: on ? "True" : "False",
    reason: on ? yes : no,
    message: `kubelet has ${on ? yesText : noText}`,
  };
}

export function conditions(input: NodeInput, before: readonly coreV1.NodeCondition[]): coreV1.NodeCondition[] {
  const { memory, disk, pid } = input.pressure;
  const ready = input.problems.length === 0;
  const drafts: Draft[] = [
    pressure(
      "MemoryPressure",
      memory,
      ["KubeletHasInsufficientMemory", "KubeletHasSufficientMemory"],
      ["insufficient memory available", "sufficient memory available"],
    ),
    pressure("DiskPressure", disk, ["KubeletHasDiskPressure", "KubeletHasNoDiskPressure"], ["disk pressure", "no disk pressure"]),
    pressure(
      "PIDPressure",
      pid,
      ["KubeletHasInsufficientPID", "KubeletHasSufficientPID"],
      ["insufficient PID available", "sufficient PID available"],
    ),
    {
      type: "Ready",
      status: ready ? "True" : "False",
      reason: ready ? "KubeletReady" : "KubeletNotReady",
      message: ready ? "kubelet is posting ready status" : input.problems.join(", "),
    },
  ];
  const now = timestamp(input.now);
  const own = drafts.map((d) => {
    const old = before.find((c) => c.type === d.type);
    return {
      ...d,
      lastHeartbeatTime: now,
      lastTransitionTime: old?.status === d.status && old.lastTransitionTime ? old.lastTransitionTime : now,
    };
  });
  return [...own, ...before.filter((c) => !own.some((o) => o.type === c.type))];
}

export function nodeStatus(input: NodeInput, before: coreV1.NodeStatus = {}): coreV1.NodeStatus {
  return {
    ...before,
    capacity: capacity(input),
    allocatable: allocatable(input),
    conditions: conditions(input, before.conditions ?? []),
    addresses: [
      ...input.ips.map((address) => ({ type: "InternalIP" as const, address })),
      { type: "Hostname" as const, address: input.name },
    ],
    daemonEndpoints: { kubeletEndpoint: { Port: input.port } },
    nodeInfo: { ...input.machine.info, containerRuntimeVersion: input.runtimeVersion },
    images: input.images,
    ...(input.runtimeHandlers.length > 0 ? { runtimeHandlers: input.runtimeHandlers } : {}),
    ...(input.features ? { features: input.features } : {}),
  };
}

export function nodeLabels(input: Pick<NodeInput, "name" | "machine" | "labels">): Record<string, string> {
  const { operatingSystem, architecture } = input.machine.info;
  return {
    "beta.kubernetes.io/arch": architecture,
    "beta.kubernetes.io/os": operatingSystem,
    "kubernetes.io/arch": architecture,
    "kubernetes.io/hostname": input.name,
    "kubernetes.io/os": operatingSystem,
    ...input.labels,
  };
}

export function nodeObject(input: NodeInput): coreV1.Node {
  return {
    apiVersion: "v1",
    kind: "Node",
    metadata: {
      name: input.name,
      labels: nodeLabels(input),
      annotations: { "volumes.kubernetes.io/controller-managed-attach-detach": "true" },
    },
    spec: {
      ...(input.taints.length > 0 ? { taints: [...input.taints] } : {}),
      ...(input.podCIDR ? { podCIDR: input.podCIDR, podCIDRs: [input.podCIDR] } : {}),
    },
    status: nodeStatus(input),
  };
}

/** Whether two statuses differ in more than their heartbeats and the order of their conditions. */
export function statusChanged(a: coreV1.NodeStatus, b: coreV1.NodeStatus): boolean {
  const strip = (s: coreV1.NodeStatus) => ({
    ...s,
    conditions: Object.fromEntries((s.conditions ?? []).map(({ lastHeartbeatTime: _, ...c }) => [c.type, c])),
  });
  return !deepEqual(strip(a), strip(b));
}
