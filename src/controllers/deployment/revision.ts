// Which ReplicaSet is the deployment's new one, and what its annotations say
// of revisions: what `kubectl rollout history` and `undo` read.
import type * as metaV1 from "../../api/gen/meta/v1.ts";
import { deployments } from "../../client/resources.ts";
import { controllerReference } from "../framework/owners.ts";
import { sameTemplate, templateHash, templateHashLabel } from "./hash.ts";
import { annotations, byCreation, type Deployment, maxSurge, newSetReplicas, type ReplicaSet, replicasOf, revisionOf } from "./numbers.ts";

/** Annotations of a Deployment that its ReplicaSets do not take over. */
const ownAnnotations: ReadonlySet<string> = new Set([
  "kubectl.kubernetes.io/last-applied-configuration",
  "deprecated.deployment.rollback.to",
  ...Object.values(annotations),
]);

/** Longest revision history, in characters. */
const historyLimit = 2000;

/** The set whose template is the deployment's; the oldest, should there be several. */
export function findNewSet(d: Deployment, sets: readonly ReplicaSet[]): ReplicaSet | undefined {
  return [...sets].sort(byCreation).find((rs) => sameTemplate(rs.spec.template, d.spec.template));
}

export const maxRevision = (sets: readonly ReplicaSet[]): number => sets.reduce((n, rs) => Math.max(n, revisionOf(rs)), 0);

export interface SizeAnnotations {
  desired: number;
  max: number;
}

/** The set with the sizes of its deployment noted; the same object when they are already. */
export function withSizes(rs: ReplicaSet, d: Deployment): ReplicaSet {
  const next = {
    ...rs.metadata.annotations,
    [annotations.desired]: String(replicasOf(d)),
    [annotations.max]: String(replicasOf(d) + maxSurge(d)),
  };
  return withAnnotations(rs, next);
}

/** The set with the deployment's annotations and revision; the same object when nothing changes. */
export function withRevision(rs: ReplicaSet, d: Deployment, revision: number): ReplicaSet {
  const next: Record<string, string> = { ...rs.metadata.annotations };
  for (const [k, v] of Object.entries(d.metadata.annotations ?? {})) if (!ownAnnotations.has(k)) next[k] = v;
  const present = rs.metadata.annotations?.[annotations.revision];
  if (revisionOf(rs) < revision) {
    next[annotations.revision] = String(revision);
    // Going back to an older template: its former numbers stay in the history.
    if (present !== undefined) {
      const history = extendHistory(next[annotations.revisionHistory], present);
      if (history !== undefined) next[annotations.revisionHistory] = history;
    }
  }
  return withAnnotations(rs, next);
}

function extendHistory(history: string | undefined, revision: string): string | undefined {
  if (!history) return revision;
  const entries = history.split(",");
  while (entries.length > 0 && [...entries, revision].join(",").length > historyLimit) entries.shift();
  return [...entries, revision].join(",");
}

function withAnnotations(rs: ReplicaSet, next: Record<string, string>): ReplicaSet {
  const present = rs.metadata.annotations ?? {};
  const keys = Object.keys(next);
  if (keys.length === Object.keys(present).length && keys.every((k) => present[k] === next[k])) return rs;
  return { ...rs, metadata: { ...rs.metadata, annotations: next } };
}

/** The ReplicaSet of a template that has none yet, at the size that the surge allows. */
export function makeNewSet(d: Deployment, old: readonly ReplicaSet[], revision: number): ReplicaSet {
  const hash = templateHash(d.spec.template, d.status?.collisionCount);
  const labels = { ...d.spec.template.metadata?.labels, [templateHashLabel]: hash };
  const selector: metaV1.LabelSelector = {
    ...d.spec.selector,
    matchLabels: { ...d.spec.selector.matchLabels, [templateHashLabel]: hash },
  };
  const bare: ReplicaSet = {
    apiVersion: "apps/v1",
    kind: "ReplicaSet",
    metadata: {
      name: `${d.metadata.name}-${hash}`,
      namespace: d.metadata.namespace,
      labels,
      ownerReferences: [controllerReference(deployments, d)],
    },
    spec: {
      replicas: 0,
      selector,
      template: { ...d.spec.template, metadata: { ...d.spec.template.metadata, labels } },
      ...(d.spec.minReadySeconds ? { minReadySeconds: d.spec.minReadySeconds } : {}),
    },
  };
  const sized = { ...bare, spec: { ...bare.spec, replicas: newSetReplicas(d, [...old, bare], bare) } };
  return withSizes(withRevision(sized, d, revision), d);
}
