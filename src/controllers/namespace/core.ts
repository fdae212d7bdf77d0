// The words and conditions of a namespace on its way out
// (k8s.io/kubernetes/pkg/controller/namespace/deletion).
import type * as coreV1 from "../../api/gen/core/v1.ts";
import { timestamp } from "../../client/clock.ts";

/** What a sweep of the namespace found still there. */
export interface Sweep {
  discoveryFailures: string[];
  deletionFailures: string[];
  /** "pods." or "deployments.apps", with how many of it are left. */
  remaining: Map<string, number>;
  /** By finalizer, on how many objects. */
  finalizers: Map<string, number>;
}

type Condition = coreV1.NamespaceCondition;

const rows = [
  {
    type: "NamespaceDeletionDiscoveryFailure",
    bad: "DiscoveryFailed",
    good: ["ResourcesDiscovered", "All resources successfully discovered"],
    message: (s: Sweep) =>
      s.discoveryFailures.length > 0
        ? `Discovery failed for some groups, ${s.discoveryFailures.length} failing: ${s.discoveryFailures.join(", ")}`
        : undefined,
  },
  {
    type: "NamespaceDeletionGroupVersionParsingFailure",
    bad: "GroupVersionParsingFailed",
    good: ["ParsedGroupVersions", "All legacy kube types successfully parsed"],
    message: () => undefined,
  },
  {
    type: "NamespaceDeletionContentFailure",
    bad: "ContentDeletionFailed",
    good: ["ContentDeleted", "All content successfully deleted, may be waiting on finalization"],
    message: (s: Sweep) =>
      s.deletionFailures.length > 0
        ? `Failed to delete all resource types, ${s.deletionFailures.length} remaining: ${[...s.deletionFailures].sort().join(", ")}`
        : undefined,
  },
  {
    type: "NamespaceContentRemaining",
    bad: "SomeResourcesRemain",
    good: ["ContentRemoved", "All content successfully removed"],
    message: (s: Sweep) =>
      s.remaining.size > 0 ? `Some resources are remaining: ${list(s.remaining, (k, n) => `${k} has ${n} resource instances`)}` : undefined,
  },
  {
    type: "NamespaceFinalizersRemaining",
    bad: "SomeFinalizersRemain",
    good: ["ContentHasNoFinalizers", "All content-preserving finalizers finished"],
    message: (s: Sweep) =>
      s.finalizers.size > 0
        ? `Some content in the namespace has finalizers remaining: ${list(s.finalizers, (k, n) => `${k} in ${n} resource instances`)}`
        : undefined,
  },
] as const;

function list(entries: Map<string, number>, text: (key: string, n: number) => string): string {
  return [...entries]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([k, n]) => text(k, n))
    .join(", ");
}

/** The namespace's conditions after a sweep; the same array when nothing changes. */
export function nextConditions(present: readonly Condition[] | undefined, sweep: Sweep, now: number): readonly Condition[] {
  let changed = false;
  const kept = [...(present ?? [])];
  for (const row of rows) {
    const message = row.message(sweep);
    const at = kept.findIndex((c) => c.type === row.type);
    const next: Condition = {
      type: row.type,
      status: message === undefined ? "False" : "True",
      lastTransitionTime: timestamp(now),
      reason: message === undefined ? row.good[0] : row.bad,
      message: message ?? row.good[1],
    };
    const before = kept[at];
    if (before && before.status === next.status && before.reason === next.reason && before.message === next.message) continue;
    if (before && before.status === next.status) next.lastTransitionTime = before.lastTransitionTime;
    if (before) kept[at] = next;
    else kept.push(next);
    changed = true;
  }
  return changed || !present ? kept : present;
}
