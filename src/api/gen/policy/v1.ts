// Generated from proto/ by scripts/generate.ts. Do not edit.
import type * as metaV1 from "../meta/v1.ts";

export type UnhealthyPodEvictionPolicyType = "IfHealthyBudget" | "AlwaysAllow";

export interface PodDisruptionBudgetSpec {
  minAvailable?: (number | string);
  selector?: metaV1.LabelSelector;
  maxUnavailable?: (number | string);
  unhealthyPodEvictionPolicy?: UnhealthyPodEvictionPolicyType;
}

export interface PodDisruptionBudgetStatus {
  observedGeneration?: number;
  disruptedPods?: Record<string, string>;
  disruptionsAllowed: number;
  currentHealthy: number;
  desiredHealthy: number;
  expectedPods: number;
  conditions?: metaV1.Condition[];
}

export interface PodDisruptionBudget {
  apiVersion?: string;
  kind?: string;
  metadata: metaV1.ObjectMeta;
  spec: PodDisruptionBudgetSpec;
  status?: PodDisruptionBudgetStatus;
}

export interface PodDisruptionBudgetList {
  apiVersion?: string;
  kind?: string;
  metadata: metaV1.ListMeta;
  items: PodDisruptionBudget[];
}

export interface Eviction {
  apiVersion?: string;
  kind?: string;
  metadata: metaV1.ObjectMeta;
  deleteOptions?: metaV1.DeleteOptions;
}
