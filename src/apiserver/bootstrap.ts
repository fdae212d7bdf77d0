// What a new cluster's store has to hold before anybody asks.
import { deepFreeze } from "../api/equal.ts";
import type { KubeObject } from "../api/object.ts";
import { bootstrapRbac } from "./auth/bootstrap-roles.ts";
import { reconciled } from "./auth/reconcile.ts";
import { timestamp } from "./registry/registry.ts";
import type { Resources } from "./registry/resources.ts";
import type { Fresh } from "./registry/strategy.ts";
import { loopback } from "./request.ts";
import { objectKey } from "./storage/keys.ts";

const namespaces = ["default", "kube-system", "kube-public", "kube-node-lease"];

const priorityClasses: [name: string, value: number, description: string][] = [
  [
    "system-cluster-critical",
    2_000_000_000,
    "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
  ],
  ["system-node-critical", 2_000_001_000, "Used for system critical pods that must not be moved from their current node."],
];

function objects(): KubeObject[] {
  return [
    ...namespaces.map((name) => ({ kind: "Namespace", apiVersion: "v1", metadata: { name } })),
    ...priorityClasses.map(([name, value, description]) => ({
      kind: "PriorityClass",
      apiVersion: "scheduling.k8s.io/v1",
      metadata: { name },
      value,
      description,
      preemptionPolicy: "PreemptLowerPriority",
    })),
    ...bootstrapRbac(),
  ];
}

const plurals: Record<string, [group: string, version: string, plural: string]> = {
  Namespace: ["", "v1", "namespaces"],
  PriorityClass: ["scheduling.k8s.io", "v1", "priorityclasses"],
  ClusterRole: ["rbac.authorization.k8s.io", "v1", "clusterroles"],
  ClusterRoleBinding: ["rbac.authorization.k8s.io", "v1", "clusterrolebindings"],
  Role: ["rbac.authorization.k8s.io", "v1", "roles"],
  RoleBinding: ["rbac.authorization.k8s.io", "v1", "rolebindings"],
};

/** Creates what is missing, all in one transaction, and adds to roles what they lack. The cache is loaded. */
export async function bootstrap(resources: Resources, now: number): Promise<void> {
  const creationTimestamp = timestamp(now);
  const all = objects();
  await updateRoles(resources, all);
  const missing = all.flatMap((o) => {
    const resource = resources.need(...plurals[o.kind!]!);
    const key = objectKey(o.metadata.namespace, o.metadata.name!);
    if (resource.bucket.get(key)) return [];
    const { kind, apiVersion, metadata, ...rest } = o;
    const object = { kind, apiVersion, metadata: { ...metadata, uid: crypto.randomUUID(), creationTimestamp }, ...rest } as Fresh;
    resource.strategy.prepareCreate?.(object, { user: loopback });
    return [{ storage: resource.storage, bucket: resource.bucket, key, object: deepFreeze(object) }];
  });
  for (const [storage, part] of Map.groupBy(missing, (o) => o.storage)) await storage.createAll(part);
}

async function updateRoles(resources: Resources, wanted: readonly KubeObject[]): Promise<void> {
  for (const o of wanted) {
    const { storage, bucket } = resources.need(...plurals[o.kind!]!);
    const key = objectKey(o.metadata.namespace, o.metadata.name!);
    const live = bucket.get(key);
    if (!live || !reconciled(live.object, o)) continue;
    await storage.update(bucket, key, (current) => {
      const put = current && reconciled(current.object, o);
      return put ? { put } : { keep: true };
    });
  }
}
