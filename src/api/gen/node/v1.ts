// Generated from proto/ by scripts/generate.ts. Do not edit.
import type * as coreV1 from "../core/v1.ts";
import type * as metaV1 from "../meta/v1.ts";

export interface RuntimeClass {
  apiVersion?: string;
  kind?: string;
  metadata: metaV1.ObjectMeta;
  handler: string;
  overhead?: Overhead;
  scheduling?: Scheduling;
}

export interface Overhead {
  podFixed?: Record<string, string>;
}

export interface Scheduling {
  nodeSelector?: Record<string, string>;
  tolerations?: coreV1.Toleration[];
}

export interface RuntimeClassList {
  apiVersion?: string;
  kind?: string;
  metadata: metaV1.ListMeta;
  items: RuntimeClass[];
}
