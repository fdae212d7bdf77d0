// What an object has to fulfil before it is stored, with the errors that
// upstream's validation gives.
import type * as metaV1 from "../gen/meta/v1.ts";
import type { KindInfo } from "../schema.ts";
import type { FieldError } from "../status.ts";
import * as configuration from "./configuration.ts";
import { enums } from "./enums.ts";
import { Errors, type Validator } from "./errors.ts";
import { objectMeta, objectMetaUpdate } from "./meta.ts";
import { pod, podTemplate } from "./pod.ts";
import { endpointSlice, endpoints, service } from "./service.ts";
import * as workloads from "./workloads.ts";

/** By "group/Kind", the core group being "". */
const table: Record<string, Validator> = {
  "/Pod": pod,
  "/PodTemplate": (t: { template?: Parameters<typeof podTemplate>[0] }, errors) => podTemplate(t.template, "template", errors),
  "/Service": service,
  "/Endpoints": endpoints,
  "/ConfigMap": configuration.configMap,
  "/Secret": configuration.secret,
  "/Node": configuration.node,
  "/ReplicationController": workloads.replicationController,
  "discovery.k8s.io/EndpointSlice": endpointSlice,
  "apps/Deployment": workloads.deployment,
  "apps/ReplicaSet": workloads.replicaSet,
  "apps/DaemonSet": workloads.daemonSet,
  "apps/StatefulSet": workloads.statefulSet,
  "batch/Job": workloads.job,
  "batch/CronJob": workloads.cronJob,
  "coordination.k8s.io/Lease": configuration.lease,
  "node.k8s.io/RuntimeClass": configuration.runtimeClass,
  "scheduling.k8s.io/PriorityClass": configuration.priorityClass,
  "rbac.authorization.k8s.io/Role": configuration.role,
  "rbac.authorization.k8s.io/ClusterRole": configuration.clusterRole,
  "rbac.authorization.k8s.io/RoleBinding": configuration.roleBinding,
  "rbac.authorization.k8s.io/ClusterRoleBinding": configuration.clusterRoleBinding,
  "storage.k8s.io/StorageClass": configuration.storageClass,
};

type Checked = Pick<KindInfo, "group" | "kind" | "namespaced" | "message">;

/**
 * Checks a defaulted object before it is created, or against the stored one
 * before it replaces that. Empty when nothing is wrong.
 */
export function validate(kind: Checked, object: { metadata: metaV1.ObjectMeta }, old?: { metadata: metaV1.ObjectMeta }): FieldError[] {
  const errors = new Errors();
  if (old) objectMetaUpdate(object.metadata, old.metadata, errors);
  objectMeta(kind, object.metadata, errors);
  enums(kind.message, object, "", errors);
  table[`${kind.group}/${kind.kind}`]?.(object as never, errors, old as never);
  return errors.list;
}
