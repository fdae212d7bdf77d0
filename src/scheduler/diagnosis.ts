// Why a pod fits nowhere, in upstream's words.
import {
  RESOURCE_PODS,
  VERDICT_ABSENT,
  VERDICT_MASK_SHIFT,
  VERDICT_NODE_NAME,
  VERDICT_TAINT,
  VERDICT_UNSCHEDULABLE,
} from "../../wasm/scheduler/layout.ts";
import type { Cache, NodeInfo } from "./cache.ts";
import type { Plugin } from "./hints.ts";
import type { PodInfo } from "./pod-info.ts";
import { untolerated } from "./taints.ts";

/** Bits of a pod's mask byte: what the kernel does not look at itself. */
export const MASK_AFFINITY = 1;
export const MASK_PORTS = 2;
/** A resource that has no column. */
export const MASK_RESOURCES = 4;

export interface Refusal {
  plugin: Plugin;
  reasons: string[];
  /** Whether the node could take the pod if other pods left it. */
  resolvable: boolean;
}

export interface Diagnosis {
  nodes: number;
  plugins: ReadonlySet<Plugin>;
  /** "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) were unschedulable." */
  message: string;
  /** Nodes where preemption may help. */
  candidates: NodeInfo[];
}

/** Reads the verdict that the kernel left on the node's row for this pod. The first plugin that refuses speaks. */
export function refusal(info: PodInfo, at: NodeInfo, cache: Cache): Refusal | undefined {
  const verdict = cache.columns.verdict(at.row);
  const mask = verdict >>> VERDICT_MASK_SHIFT;
  const never = (plugin: Plugin, reason: string): Refusal => ({ plugin, reasons: [reason], resolvable: false });
  if (verdict & VERDICT_UNSCHEDULABLE) return never("NodeUnschedulable", "node(s) were unschedulable");
  if (verdict & VERDICT_NODE_NAME) return never("NodeName", "node(s) didn't match the requested node name");
  if (verdict & VERDICT_TAINT) {
    const taint = untolerated(at.node?.spec?.taints ?? [], info.pod.spec.tolerations ?? []);
    return never("TaintToleration", `node(s) had untolerated taint {${taint?.key}: ${taint?.value ?? ""}}`);
  }
  if (mask & MASK_AFFINITY) return never("NodeAffinity", "node(s) didn't match Pod's node affinity/selector");
  if (mask & MASK_PORTS)
    return { plugin: "NodePorts", reasons: ["node(s) didn't have free ports for the requested pod ports"], resolvable: true };
  const short = lacking(info, at, cache, verdict);
  if (short.length === 0) return undefined;
  return {
    plugin: "NodeResourcesFit",
    reasons: short.map((s) => (s.name === "pods" ? "Too many pods" : `Insufficient ${s.name}`)),
    resolvable: short.every((s) => s.wanted <= s.allocatable),
  };
}

function lacking(info: PodInfo, at: NodeInfo, cache: Cache, verdict: number) {
  const { columns } = cache;
  const names = columns.resources;
  const found: { name: string; wanted: number; allocatable: number }[] = [];
  // The pods resource speaks first, as upstream's does.
  const slots = [...info.usage.slots].sort((a, b) => Number(b[0] === RESOURCE_PODS) - Number(a[0] === RESOURCE_PODS) || a[0] - b[0]);
  for (const [slot, wanted] of slots)
    if (verdict & (1 << slot)) found.push({ name: names[slot]!, wanted, allocatable: columns.allocatable(at.row, slot) });
  for (const [name, wanted] of info.usage.others) {
    const allocatable = at.others.get(name) ?? 0;
    if (allocatable - usedOther(at, name) < wanted) found.push({ name, wanted, allocatable });
  }
  return found;
}

/** What the node's pods request of a resource that has no column. */
export function usedOther(at: NodeInfo, name: string): number {
  let used = 0;
  for (const pod of at.pods.values()) for (const [other, amount] of pod.usage.others) if (other === name) used += amount;
  return used;
}

/** "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) were unschedulable." */
export function unavailable(nodes: number, reasons: ReadonlyMap<string, number>): string {
  const texts = [...reasons].map(([reason, n]) => `${n} ${reason}`).sort();
  return `0/${nodes} nodes are available: ${texts.join(", ")}.`;
}

/** Reads the verdicts of the last run, which was for this pod alone. */
export function diagnose(info: PodInfo, cache: Cache): Diagnosis {
  const plugins = new Set<Plugin>();
  const counts = new Map<string, number>();
  const candidates: NodeInfo[] = [];
  for (const at of cache.nodes()) {
    if (cache.columns.verdict(at.row) & VERDICT_ABSENT) continue;
    const found = refusal(info, at, cache);
    if (!found) continue;
    plugins.add(found.plugin);
    for (const reason of found.reasons) counts.set(reason, (counts.get(reason) ?? 0) + 1);
    if (found.resolvable) candidates.push(at);
  }
  if (cache.size === 0) return { nodes: 0, plugins, message: "no nodes available to schedule pods", candidates };
  return { nodes: cache.size, plugins, message: unavailable(cache.size, counts), candidates };
}
