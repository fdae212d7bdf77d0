// Revisions of a template as ControllerRevisions, by which DaemonSets and
// StatefulSets go back (k8s.io/kubernetes/pkg/controller/history).
import { deepEqual } from "../../api/equal.ts";
import type * as appsV1 from "../../api/gen/apps/v1.ts";
import type * as coreV1 from "../../api/gen/core/v1.ts";
import type { KubeObject } from "../../api/object.ts";
import { type Collection, controllerRevisions } from "../../client/resources.ts";
import { templateHash } from "../deployment/hash.ts";
import { controllerReference } from "./owners.ts";
import { create, remove, update, type Write } from "./write.ts";

type Revision = appsV1.ControllerRevision;

/** What a revision stores: a strategic merge patch that puts the template back. */
export const revisionData = (template: coreV1.PodTemplateSpec) => ({ spec: { template: { ...template, $patch: "replace" } } });

export const byRevision = (a: Revision, b: Revision): number =>
  a.revision - b.revision ||
  Date.parse(a.metadata.creationTimestamp ?? "") - Date.parse(b.metadata.creationTimestamp ?? "") ||
  ((a.metadata.name ?? "") < (b.metadata.name ?? "") ? -1 : 1);

export interface HistoryInput<T extends KubeObject> {
  of: Collection<T>;
  owner: T;
  template: coreV1.PodTemplateSpec;
  /** Labels that the owner's selector matches, for the revision itself. */
  labels: Record<string, string> | undefined;
  collisions: number | undefined;
  revisions: readonly Revision[];
}

export interface History {
  /** The revision of the present template; made or moved to the top by `writes`. */
  current: Revision;
  /** All others, oldest first. */
  old: Revision[];
  writes: Write[];
}

/** The label by which pods tell their revision. */
export const revisionLabel = "controller-revision-hash";

export function hashOf(revision: Revision): string {
  return revision.metadata.labels?.[revisionLabel] ?? "";
}

/** Finds the revision of the present template, or makes one. */
export function syncHistory<T extends KubeObject>(input: HistoryInput<T>): History {
  const sorted = [...input.revisions].sort(byRevision);
  const data = revisionData(input.template);
  const next = (sorted.at(-1)?.revision ?? 0) + 1;
  const equal = sorted.filter((r) => deepEqual(r.data, data));
  const found = equal.at(-1);
  if (found) {
    const old = sorted.filter((r) => r !== found);
    if (found === sorted.at(-1)) return { current: found, old, writes: [] };
    const moved = { ...found, revision: next };
    return { current: moved, old, writes: [update(controllerRevisions, moved)] };
  }
  const hash = templateHash(input.template, input.collisions);
  const made: Revision = {
    apiVersion: "apps/v1",
    kind: "ControllerRevision",
    metadata: {
      name: `${input.owner.metadata.name}-${hash}`,
      namespace: input.owner.metadata.namespace,
      labels: { ...input.labels, [revisionLabel]: hash },
      ...(input.owner.metadata.annotations ? { annotations: ownAnnotations(input.owner.metadata.annotations) } : {}),
      ownerReferences: [controllerReference(input.of, input.owner)],
    },
    data,
    revision: next,
  };
  return { current: made, old: sorted, writes: [create(controllerRevisions, made)] };
}

function ownAnnotations(all: Record<string, string>): Record<string, string> {
  const { "kubectl.kubernetes.io/last-applied-configuration": _, ...rest } = all;
  return rest;
}

/** Deletes the oldest revisions that no pod is of, down to the limit. */
export function truncateHistory(old: readonly Revision[], live: ReadonlySet<string>, limit: number): Write[] {
  const dead = old.filter((r) => !live.has(r.metadata.name ?? "") && !live.has(hashOf(r)));
  return dead.slice(0, Math.max(0, dead.length - limit)).map((r) => remove(controllerRevisions, r));
}
