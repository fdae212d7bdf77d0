// Generated from proto/ by scripts/generate.ts. Do not edit.
import type * as coreV1 from "../core/v1.ts";
import type * as metaV1 from "../meta/v1.ts";

export type PodManagementPolicyType = "OrderedReady" | "Parallel";

export type StatefulSetUpdateStrategyType = "RollingUpdate" | "OnDelete";

export type PersistentVolumeClaimRetentionPolicyType = "Retain" | "Delete" | (string & {});

export type DeploymentStrategyType = "Recreate" | "RollingUpdate";

export type DeploymentConditionType = "Available" | "Progressing" | "ReplicaFailure" | (string & {});

export type DaemonSetUpdateStrategyType = "RollingUpdate" | "OnDelete";

export type ReplicaSetConditionType = "ReplicaFailure" | (string & {});

export interface StatefulSet {
  apiVersion?: string;
  kind?: string;
  metadata: metaV1.ObjectMeta;
  spec: StatefulSetSpec;
  status?: StatefulSetStatus;
}

export interface StatefulSetUpdateStrategy {
  type?: StatefulSetUpdateStrategyType;
  rollingUpdate?: RollingUpdateStatefulSetStrategy;
}

export interface RollingUpdateStatefulSetStrategy {
  partition?: number;
  maxUnavailable?: (number | string);
}

export interface StatefulSetPersistentVolumeClaimRetentionPolicy {
  whenDeleted?: PersistentVolumeClaimRetentionPolicyType;
  whenScaled?: PersistentVolumeClaimRetentionPolicyType;
}

export interface StatefulSetOrdinals {
  start?: number;
}

export interface StatefulSetSpec {
  replicas?: number;
  selector: metaV1.LabelSelector;
  template: coreV1.PodTemplateSpec;
  volumeClaimTemplates?: coreV1.PersistentVolumeClaim[];
  serviceName?: string;
  podManagementPolicy?: PodManagementPolicyType;
  updateStrategy?: StatefulSetUpdateStrategy;
  revisionHistoryLimit?: number;
  minReadySeconds?: number;
  persistentVolumeClaimRetentionPolicy?: StatefulSetPersistentVolumeClaimRetentionPolicy;
  ordinals?: StatefulSetOrdinals;
}

export interface StatefulSetStatus {
  observedGeneration?: number;
  replicas: number;
  readyReplicas?: number;
  currentReplicas?: number;
  updatedReplicas?: number;
  currentRevision?: string;
  updateRevision?: string;
  collisionCount?: number;
  conditions?: StatefulSetCondition[];
  availableReplicas?: number;
}

export interface StatefulSetCondition {
  type: string;
  status: coreV1.ConditionStatus;
  lastTransitionTime?: string;
  reason?: string;
  message?: string;
}

export interface StatefulSetList {
  apiVersion?: string;
  kind?: string;
  metadata: metaV1.ListMeta;
  items: StatefulSet[];
}

export interface Deployment {
  apiVersion?: string;
  kind?: string;
  metadata: metaV1.ObjectMeta;
  spec: DeploymentSpec;
  status?: DeploymentStatus;
}

export interface DeploymentSpec {
  replicas?: number;
  selector: metaV1.LabelSelector;
  template: coreV1.PodTemplateSpec;
  strategy?: DeploymentStrategy;
  minReadySeconds?: number;
  revisionHistoryLimit?: number;
  paused?: boolean;
  progressDeadlineSeconds?: number;
}

export interface DeploymentStrategy {
  type?: DeploymentStrategyType;
  rollingUpdate?: RollingUpdateDeployment;
}

export interface RollingUpdateDeployment {
  maxUnavailable?: (number | string);
  maxSurge?: (number | string);
}

export interface DeploymentStatus {
  observedGeneration?: number;
  replicas?: number;
  updatedReplicas?: number;
  readyReplicas?: number;
  availableReplicas?: number;
  unavailableReplicas?: number;
  terminatingReplicas?: number;
  conditions?: DeploymentCondition[];
  collisionCount?: number;
}

export interface DeploymentCondition {
  type: DeploymentConditionType;
  status: coreV1.ConditionStatus;
  lastUpdateTime?: string;
  lastTransitionTime?: string;
  reason?: string;
  message?: string;
}

export interface DeploymentList {
  apiVersion?: string;
  kind?: string;
  metadata: metaV1.ListMeta;
  items: Deployment[];
}

export interface DaemonSetUpdateStrategy {
  type?: DaemonSetUpdateStrategyType;
  rollingUpdate?: RollingUpdateDaemonSet;
}

export interface RollingUpdateDaemonSet {
  maxUnavailable?: (number | string);
  maxSurge?: (number | string);
}

export interface DaemonSetSpec {
  selector: metaV1.LabelSelector;
  template: coreV1.PodTemplateSpec;
  updateStrategy?: DaemonSetUpdateStrategy;
  minReadySeconds?: number;
  revisionHistoryLimit?: number;
}

export interface DaemonSetStatus {
  currentNumberScheduled: number;
  numberMisscheduled: number;
  desiredNumberScheduled: number;
  numberReady: number;
  observedGeneration?: number;
  updatedNumberScheduled?: number;
  numberAvailable?: number;
  numberUnavailable?: number;
  collisionCount?: number;
  conditions?: DaemonSetCondition[];
}

export interface DaemonSetCondition {
  type: string;
  status: coreV1.ConditionStatus;
  lastTransitionTime?: string;
  reason?: string;
  message?: string;
}

export interface DaemonSet {
  apiVersion?: string;
  kind?: string;
  metadata: metaV1.ObjectMeta;
  spec: DaemonSetSpec;
  status?: DaemonSetStatus;
}

export interface DaemonSetList {
  apiVersion?: string;
  kind?: string;
  metadata: metaV1.ListMeta;
  items: DaemonSet[];
}

export interface ReplicaSet {
  apiVersion?: string;
  kind?: string;
  metadata: metaV1.ObjectMeta;
  spec: ReplicaSetSpec;
  status?: ReplicaSetStatus;
}

export interface ReplicaSetList {
  apiVersion?: string;
  kind?: string;
  metadata: metaV1.ListMeta;
  items: ReplicaSet[];
}

export interface ReplicaSetSpec {
  replicas?: number;
  minReadySeconds?: number;
  selector: metaV1.LabelSelector;
  template?: coreV1.PodTemplateSpec;
}

export interface ReplicaSetStatus {
  replicas: number;
  fullyLabeledReplicas?: number;
  readyReplicas?: number;
  availableReplicas?: number;
  terminatingReplicas?: number;
  observedGeneration?: number;
  conditions?: ReplicaSetCondition[];
}

export interface ReplicaSetCondition {
  type: ReplicaSetConditionType;
  status: coreV1.ConditionStatus;
  lastTransitionTime?: string;
  reason?: string;
  message?: string;
}

export interface ControllerRevision {
  apiVersion?: string;
  kind?: string;
  metadata: metaV1.ObjectMeta;
  data?: unknown;
  revision: number;
}

export interface ControllerRevisionList {
  apiVersion?: string;
  kind?: string;
  metadata: metaV1.ListMeta;
  items: ControllerRevision[];
}
