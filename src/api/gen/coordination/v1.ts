// Generated from proto/ by scripts/generate.ts. Do not edit.
import type * as metaV1 from "../meta/v1.ts";

export type CoordinatedLeaseStrategy = "OldestEmulationVersion" | (string & {});

export interface Lease {
  apiVersion?: string;
  kind?: string;
  metadata: metaV1.ObjectMeta;
  spec: LeaseSpec;
}

export interface LeaseSpec {
  holderIdentity?: string;
  leaseDurationSeconds?: number;
  acquireTime?: string;
  renewTime?: string;
  leaseTransitions?: number;
  strategy?: CoordinatedLeaseStrategy;
  preferredHolder?: string;
}

export interface LeaseList {
  apiVersion?: string;
  kind?: string;
  metadata: metaV1.ListMeta;
  items: Lease[];
}
