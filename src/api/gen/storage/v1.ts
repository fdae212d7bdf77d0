// Generated from proto/ by scripts/generate.ts. Do not edit.
import type * as coreV1 from "../core/v1.ts";
import type * as metaV1 from "../meta/v1.ts";

export type VolumeBindingMode = "Immediate" | "WaitForFirstConsumer";

export type FSGroupPolicy = "ReadWriteOnceWithFSType" | "File" | "None" | (string & {});

export type VolumeLifecycleMode = "Persistent" | "Ephemeral" | (string & {});

export interface StorageClass {
  apiVersion?: string;
  kind?: string;
  metadata: metaV1.ObjectMeta;
  provisioner: string;
  parameters?: Record<string, string>;
  reclaimPolicy?: coreV1.PersistentVolumeReclaimPolicy;
  mountOptions?: string[];
  allowVolumeExpansion?: boolean;
  volumeBindingMode?: VolumeBindingMode;
  allowedTopologies?: coreV1.TopologySelectorTerm[];
}

export interface StorageClassList {
  apiVersion?: string;
  kind?: string;
  metadata: metaV1.ListMeta;
  items: StorageClass[];
}

export interface VolumeAttachment {
  apiVersion?: string;
  kind?: string;
  metadata: metaV1.ObjectMeta;
  spec: VolumeAttachmentSpec;
  status?: VolumeAttachmentStatus;
}

export interface VolumeAttachmentList {
  apiVersion?: string;
  kind?: string;
  metadata: metaV1.ListMeta;
  items: VolumeAttachment[];
}

export interface VolumeAttachmentSpec {
  attacher: string;
  source: VolumeAttachmentSource;
  nodeName: string;
}

export interface VolumeAttachmentSource {
  persistentVolumeName?: string;
  inlineVolumeSpec?: coreV1.PersistentVolumeSpec;
}

export interface VolumeAttachmentStatus {
  attached: boolean;
  attachmentMetadata?: Record<string, string>;
  attachError?: VolumeError;
  detachError?: VolumeError;
}

export interface VolumeError {
  time?: string;
  message?: string;
  errorCode?: number;
}

export interface CSIDriver {
  apiVersion?: string;
  kind?: string;
  metadata: metaV1.ObjectMeta;
  spec: CSIDriverSpec;
}

export interface CSIDriverList {
  apiVersion?: string;
  kind?: string;
  metadata: metaV1.ListMeta;
  items: CSIDriver[];
}

export interface CSIDriverSpec {
  attachRequired?: boolean;
  podInfoOnMount?: boolean;
  volumeLifecycleModes?: VolumeLifecycleMode[];
  storageCapacity?: boolean;
  fsGroupPolicy?: FSGroupPolicy;
  tokenRequests?: TokenRequest[];
  requiresRepublish?: boolean;
  seLinuxMount?: boolean;
  nodeAllocatableUpdatePeriodSeconds?: number;
  serviceAccountTokenInSecrets?: boolean;
}

export interface TokenRequest {
  audience: string;
  expirationSeconds?: number;
}

export interface CSINode {
  apiVersion?: string;
  kind?: string;
  metadata: metaV1.ObjectMeta;
  spec: CSINodeSpec;
}

export interface CSINodeSpec {
  drivers: CSINodeDriver[] | null;
}

export interface CSINodeDriver {
  name: string;
  nodeID: string;
  topologyKeys?: string[] | null;
  allocatable?: VolumeNodeResources;
}

export interface VolumeNodeResources {
  count?: number;
}

export interface CSINodeList {
  apiVersion?: string;
  kind?: string;
  metadata: metaV1.ListMeta;
  items: CSINode[];
}

export interface CSIStorageCapacity {
  apiVersion?: string;
  kind?: string;
  metadata: metaV1.ObjectMeta;
  nodeTopology?: metaV1.LabelSelector;
  storageClassName: string;
  capacity?: string;
  maximumVolumeSize?: string;
}

export interface CSIStorageCapacityList {
  apiVersion?: string;
  kind?: string;
  metadata: metaV1.ListMeta;
  items: CSIStorageCapacity[];
}

export interface VolumeAttributesClass {
  apiVersion?: string;
  kind?: string;
  metadata: metaV1.ObjectMeta;
  driverName: string;
  parameters?: Record<string, string>;
}

export interface VolumeAttributesClassList {
  apiVersion?: string;
  kind?: string;
  metadata: metaV1.ListMeta;
  items: VolumeAttributesClass[];
}
