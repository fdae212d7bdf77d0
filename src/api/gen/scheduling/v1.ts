// Generated from proto/ by scripts/generate.ts. Do not edit.
import type * as coreV1 from "../core/v1.ts";
import type * as metaV1 from "../meta/v1.ts";

export interface PriorityClass {
  apiVersion?: string;
  kind?: string;
  metadata: metaV1.ObjectMeta;
  value: number;
  globalDefault?: boolean;
  description?: string;
  preemptionPolicy?: coreV1.PreemptionPolicy;
}

export interface PriorityClassList {
  apiVersion?: string;
  kind?: string;
  metadata: metaV1.ListMeta;
  items: PriorityClass[];
}
