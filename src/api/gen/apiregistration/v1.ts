// Generated from proto/ by scripts/generate.ts. Do not edit.
import type * as metaV1 from "../meta/v1.ts";

export type ConditionStatus = "True" | "False" | "Unknown" | (string & {});

export type APIServiceConditionType = "Available" | (string & {});

export interface APIServiceList {
  apiVersion?: string;
  kind?: string;
  metadata: metaV1.ListMeta;
  items: APIService[];
}

export interface ServiceReference {
  namespace?: string;
  name?: string;
  port?: number;
}

export interface APIServiceSpec {
  service?: ServiceReference;
  group?: string;
  version?: string;
  insecureSkipTLSVerify?: boolean;
  caBundle?: string;
  groupPriorityMinimum: number;
  versionPriority: number;
}

export interface APIServiceCondition {
  type: APIServiceConditionType;
  status: ConditionStatus;
  lastTransitionTime?: string;
  reason?: string;
  message?: string;
}

export interface APIServiceStatus {
  conditions?: APIServiceCondition[];
}

export interface APIService {
  apiVersion?: string;
  kind?: string;
  metadata: metaV1.ObjectMeta;
  spec: APIServiceSpec;
  status?: APIServiceStatus;
}
