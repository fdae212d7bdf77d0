// Generated from proto/ by scripts/generate.ts. Do not edit.
import type * as metaV1 from "../meta/v1.ts";

export type StorageVersionConditionType = "AllEncodingVersionsEqual" | (string & {});

export type ConditionStatus = "True" | "False" | "Unknown" | (string & {});

export interface StorageVersion {
  apiVersion?: string;
  kind?: string;
  metadata: metaV1.ObjectMeta;
  spec: StorageVersionSpec;
  status: StorageVersionStatus;
}

export interface StorageVersionStatus {
  storageVersions?: ServerStorageVersion[];
  commonEncodingVersion?: string;
  conditions?: StorageVersionCondition[];
}

export interface ServerStorageVersion {
  apiServerID?: string;
  encodingVersion?: string;
  decodableVersions?: string[];
  servedVersions?: string[];
}

export interface StorageVersionCondition {
  type: StorageVersionConditionType;
  status: ConditionStatus;
  observedGeneration?: number;
  lastTransitionTime?: string;
  reason: string;
  message?: string;
}

export interface StorageVersionList {
  apiVersion?: string;
  kind?: string;
  metadata: metaV1.ListMeta;
  items: StorageVersion[];
}

export interface StorageVersionSpec {
}
