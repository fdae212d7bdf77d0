// Fills in what a client left out, in the versioned form, as upstream's
// defaulting functions do.
import type { KindInfo } from "../schema.ts";
import * as cluster from "./cluster.ts";
import * as core from "./core.ts";
import * as pods from "./pod.ts";
import * as workloads from "./workloads.ts";

type Defaulter = (object: never) => void;

/** By "group/Kind", the core group being "". */
const table: Record<string, Defaulter> = {
  "/Pod": pods.pod,
  "/PodTemplate": (t: { template?: Parameters<typeof pods.podTemplate>[0] }) => pods.podTemplate(t.template),
  "/Service": core.service,
  "/Namespace": core.namespace,
  "/Secret": core.secret,
  "/PersistentVolume": core.persistentVolume,
  "/PersistentVolumeClaim": core.persistentVolumeClaim,
  "/Endpoints": core.endpoints,
  "/ReplicationController": core.replicationController,
  "/LimitRange": core.limitRange,
  "discovery.k8s.io/EndpointSlice": core.endpointSlice,
  "apps/Deployment": workloads.deployment,
  "apps/ReplicaSet": workloads.replicaSet,
  "apps/DaemonSet": workloads.daemonSet,
  "apps/StatefulSet": workloads.statefulSet,
  "batch/Job": workloads.job,
  "batch/CronJob": workloads.cronJob,
  "autoscaling/HorizontalPodAutoscaler": workloads.horizontalPodAutoscaler,
  "rbac.authorization.k8s.io/RoleBinding": cluster.roleBinding,
  "rbac.authorization.k8s.io/ClusterRoleBinding": cluster.roleBinding,
  "scheduling.k8s.io/PriorityClass": cluster.priorityClass,
  "networking.k8s.io/NetworkPolicy": cluster.networkPolicy,
  "networking.k8s.io/IngressClass": cluster.ingressClass,
  "storage.k8s.io/StorageClass": cluster.storageClass,
  "storage.k8s.io/CSIDriver": cluster.csiDriver,
  "admissionregistration.k8s.io/ValidatingWebhookConfiguration": cluster.validatingWebhooks,
  "admissionregistration.k8s.io/MutatingWebhookConfiguration": cluster.mutatingWebhooks,
};

/**
 * Sets defaults in place. The object is a fresh one that only the caller has,
 * as a codec returns it.
 */
export function applyDefaults(kind: Pick<KindInfo, "group" | "kind">, object: object): void {
  table[`${kind.group}/${kind.kind}`]?.(object as never);
}
