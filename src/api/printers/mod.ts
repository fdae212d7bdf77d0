// What `kubectl get` shows: a table's columns and an object's cells, by kind.
import type * as metaV1 from "../gen/meta/v1.ts";
import type { KindInfo } from "../schema.ts";
import * as cluster from "./cluster.ts";
import { AGE, age, type Cell, type Column, NAME, name, type Printer } from "./column.ts";
import * as core from "./core.ts";
import { pod } from "./pod.ts";
import * as workloads from "./workloads.ts";

export type { Cell, Column } from "./column.ts";

/** By "group/Kind", the core group being "". */
const table: Record<string, Printer> = {
  "/Pod": pod,
  "/Node": core.node,
  "/Service": core.service,
  "/Endpoints": core.endpoints,
  "/ConfigMap": core.configMap,
  "/Secret": core.secret,
  "/ServiceAccount": core.serviceAccount,
  "/Namespace": core.namespace,
  "/Event": core.event,
  "/PersistentVolume": core.persistentVolume,
  "/PersistentVolumeClaim": core.persistentVolumeClaim,
  "/ReplicationController": core.replicationController,
  "/PodTemplate": core.podTemplate,
  "/ComponentStatus": core.componentStatus,
  "/ResourceQuota": core.resourceQuota,
  "/LimitRange": core.limitRange,
  "events.k8s.io/Event": { columns: core.event.columns, cells: (e: never) => core.event.cells(asCoreEvent(e)) },
  "discovery.k8s.io/EndpointSlice": core.endpointSlice,
  "apps/Deployment": workloads.deployment,
  "apps/ReplicaSet": workloads.replicaSet,
  "apps/StatefulSet": workloads.statefulSet,
  "apps/DaemonSet": workloads.daemonSet,
  "apps/ControllerRevision": workloads.controllerRevision,
  "batch/Job": workloads.job,
  "batch/CronJob": workloads.cronJob,
  "autoscaling/HorizontalPodAutoscaler": workloads.horizontalPodAutoscaler,
  "policy/PodDisruptionBudget": workloads.podDisruptionBudget,
  "rbac.authorization.k8s.io/Role": cluster.role,
  "rbac.authorization.k8s.io/ClusterRole": cluster.role,
  "rbac.authorization.k8s.io/RoleBinding": cluster.roleBinding,
  "rbac.authorization.k8s.io/ClusterRoleBinding": cluster.roleBinding,
  "coordination.k8s.io/Lease": cluster.lease,
  "node.k8s.io/RuntimeClass": cluster.runtimeClass,
  "scheduling.k8s.io/PriorityClass": cluster.priorityClass,
  "storage.k8s.io/StorageClass": cluster.storageClass,
  "storage.k8s.io/CSIDriver": cluster.csiDriver,
  "storage.k8s.io/CSINode": cluster.csiNode,
  "storage.k8s.io/VolumeAttachment": cluster.volumeAttachment,
  "networking.k8s.io/NetworkPolicy": cluster.networkPolicy,
  "networking.k8s.io/Ingress": cluster.ingress,
  "networking.k8s.io/IngressClass": cluster.ingressClass,
  "networking.k8s.io/IPAddress": cluster.ipAddress,
  "networking.k8s.io/ServiceCIDR": cluster.serviceCidr,
  "certificates.k8s.io/CertificateSigningRequest": cluster.certificateSigningRequest,
  "admissionregistration.k8s.io/ValidatingWebhookConfiguration": cluster.webhooks,
  "admissionregistration.k8s.io/MutatingWebhookConfiguration": cluster.webhooks,
  "apiregistration.k8s.io/APIService": cluster.apiService,
};

/** The events.k8s.io form has other names for the same fields. */
function asCoreEvent(e: never): never {
  const {
    regarding,
    note,
    deprecatedSource,
    deprecatedFirstTimestamp,
    deprecatedLastTimestamp,
    deprecatedCount,
    reportingController,
    ...rest
  } = e as Record<string, unknown>;
  return {
    ...rest,
    involvedObject: regarding,
    message: note,
    source: deprecatedSource,
    firstTimestamp: deprecatedFirstTimestamp,
    lastTimestamp: deprecatedLastTimestamp,
    count: deprecatedCount,
    reportingComponent: reportingController,
  } as never;
}

const generic: Printer<{ metadata: metaV1.ObjectMeta }> = { columns: [NAME, AGE], cells: (o) => [name(o), age(o)] };

const printer = (kind: Pick<KindInfo, "group" | "kind">): Printer => table[`${kind.group}/${kind.kind}`] ?? generic;

/** The columns of a kind's table; those with priority 1 are for `-o wide`. */
export const tableColumns = (kind: Pick<KindInfo, "group" | "kind">): readonly Column[] => printer(kind).columns;

export interface RowCells {
  /** One for each column. */
  cells: Cell[];
  conditions?: metaV1.TableRowCondition[];
}

/** An object's row. Ages are as of now. */
export function tableRow(kind: Pick<KindInfo, "group" | "kind">, object: object): RowCells {
  const p = printer(kind);
  const conditions = p.conditions?.(object as never);
  return { cells: p.cells(object as never), ...(conditions ? { conditions } : {}) };
}
