// Preemption by priority: which pods would have to leave which node so that a
// pod fits (upstream's DefaultPreemption).
import type { Cache, NodeInfo } from "./cache.ts";
import { unavailable, usedOther } from "./diagnosis.ts";
import type { PodInfo } from "./pod-info.ts";
import { portsConflict } from "./requests.ts";

export interface Candidate {
  at: NodeInfo;
  victims: PodInfo[];
}

/** More important first: higher priority, then longer running. */
function importance(a: PodInfo, b: PodInfo): number {
  if (a.priority !== b.priority) return b.priority - a.priority;
  return startOf(a).localeCompare(startOf(b));
}
const startOf = (info: PodInfo) => info.pod.status?.startTime ?? info.pod.metadata.creationTimestamp ?? "9999";

/** Whether the pod fits on the node when these pods are gone from it. */
function fitsWithout(info: PodInfo, at: NodeInfo, cache: Cache, gone: ReadonlySet<PodInfo>): boolean {
  const { columns } = cache;
  for (const [slot, wanted] of info.usage.slots) {
    let free = columns.allocatable(at.row, slot) - columns.used(at.row, slot);
    for (const other of gone) for (const [s, amount] of other.usage.slots) if (s === slot) free += amount;
    if (free < wanted) return false;
  }
  for (const [name, wanted] of info.usage.others) {
    let free = (at.others.get(name) ?? 0) - usedOther(at, name);
    for (const other of gone) for (const [n, amount] of other.usage.others) if (n === name) free += amount;
    if (free < wanted) return false;
  }
  for (const other of at.pods.values())
    if (!gone.has(other) && info.ports.some((a) => other.ports.some((b) => portsConflict(a, b)))) return false;
  return true;
}

/** The fewest and least important pods that have to leave; undefined when even all of lower priority do not suffice. */
function victimsOn(info: PodInfo, at: NodeInfo, cache: Cache): PodInfo[] | undefined {
  const lower = [...at.pods.values()].filter((p) => p.priority < info.priority).sort(importance);
  const gone = new Set(lower);
  if (lower.length === 0 || !fitsWithout(info, at, cache, gone)) return undefined;
  for (const pod of lower) {
    gone.delete(pod);
    if (!fitsWithout(info, at, cache, gone)) gone.add(pod);
  }
  return lower.filter((p) => gone.has(p));
}

const highest = (c: Candidate) => c.victims[0]?.priority ?? Number.NEGATIVE_INFINITY;
const total = (c: Candidate) => c.victims.reduce((sum, v) => sum + v.priority + 2 ** 31, 0);
/** The latest start among the most important victims' earliest: later is better. */
const earliestStart = (c: Candidate) =>
  c.victims
    .filter((v) => v.priority === highest(c))
    .map(startOf)
    .sort()[0] ?? "";

function better(a: Candidate, b: Candidate): boolean {
  if (highest(a) !== highest(b)) return highest(a) < highest(b);
  if (total(a) !== total(b)) return total(a) < total(b);
  if (a.victims.length !== b.victims.length) return a.victims.length < b.victims.length;
  return earliestStart(a) > earliestStart(b);
}

/** The node where preemption costs least, or why there is none, in upstream's words. */
export function preempt(info: PodInfo, candidates: readonly NodeInfo[], cache: Cache): Candidate | string {
  const { spec, status } = info.pod;
  if (spec.preemptionPolicy === "Never") return "preemption: not eligible due to preemptionPolicy=Never.";
  const nominated = status?.nominatedNodeName ? cache.node(status.nominatedNodeName) : undefined;
  for (const pod of nominated?.pods.values() ?? [])
    if (pod.priority < info.priority && pod.pod.metadata.deletionTimestamp)
      return "preemption: not eligible due to a terminating pod on the nominated node.";

  let best: Candidate | undefined;
  for (const at of candidates) {
    const victims = victimsOn(info, at, cache);
    if (!victims) continue;
    const candidate = { at, victims };
    if (!best || better(candidate, best)) best = candidate;
  }
  if (best) return best;
  const reasons = new Map<string, number>();
  if (candidates.length > 0) reasons.set("No preemption victims found for incoming pod", candidates.length);
  if (candidates.length < cache.size) reasons.set("Preemption is not helpful for scheduling", cache.size - candidates.length);
  return `preemption: ${unavailable(cache.size, reasons)}`;
}
