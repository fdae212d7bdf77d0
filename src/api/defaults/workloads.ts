// Defaults of apps, batch and autoscaling.
import type * as apps from "../gen/apps/v1.ts";
import type * as autoscaling from "../gen/autoscaling/v2.ts";
import type * as batch from "../gen/batch/v1.ts";
import { persistentVolumeClaim } from "./core.ts";
import { podTemplate } from "./pod.ts";

export function deployment(d: apps.Deployment): void {
  const spec = d.spec;
  spec.replicas ??= 1;
  spec.strategy ??= {};
  spec.strategy.type ||= "RollingUpdate";
  if (spec.strategy.type === "RollingUpdate") {
    spec.strategy.rollingUpdate ??= {};
    spec.strategy.rollingUpdate.maxUnavailable ??= "25%";
    spec.strategy.rollingUpdate.maxSurge ??= "25%";
  }
  spec.revisionHistoryLimit ??= 10;
  spec.progressDeadlineSeconds ??= 600;
  podTemplate(spec.template);
}

export function replicaSet(r: apps.ReplicaSet): void {
  r.spec.replicas ??= 1;
  podTemplate(r.spec.template);
}

export function daemonSet(d: apps.DaemonSet): void {
  d.spec.updateStrategy ??= {};
  d.spec.updateStrategy.type ||= "RollingUpdate";
  if (d.spec.updateStrategy.type === "RollingUpdate") {
    d.spec.updateStrategy.rollingUpdate ??= {};
    d.spec.updateStrategy.rollingUpdate.maxUnavailable ??= 1;
    d.spec.updateStrategy.rollingUpdate.maxSurge ??= 0;
  }
  d.spec.revisionHistoryLimit ??= 10;
  podTemplate(d.spec.template);
}

export function statefulSet(s: apps.StatefulSet): void {
  const spec = s.spec;
  spec.podManagementPolicy ||= "OrderedReady";
  spec.updateStrategy ??= {};
  spec.updateStrategy.type ||= "RollingUpdate";
  if (spec.updateStrategy.type === "RollingUpdate") {
    spec.updateStrategy.rollingUpdate ??= {};
    spec.updateStrategy.rollingUpdate.partition ??= 0;
  }
  spec.persistentVolumeClaimRetentionPolicy ??= {};
  spec.persistentVolumeClaimRetentionPolicy.whenDeleted ||= "Retain";
  spec.persistentVolumeClaimRetentionPolicy.whenScaled ||= "Retain";
  spec.replicas ??= 1;
  spec.revisionHistoryLimit ??= 10;
  podTemplate(spec.template);
  spec.volumeClaimTemplates?.forEach(persistentVolumeClaim);
}

function jobSpec(spec: batch.JobSpec): void {
  if (spec.completions === undefined && spec.parallelism === undefined) spec.completions = 1;
  spec.parallelism ??= 1;
  spec.backoffLimit ??= spec.backoffLimitPerIndex !== undefined ? 2 ** 31 - 1 : 6;
  spec.completionMode ??= "NonIndexed";
  spec.suspend ??= false;
  spec.manualSelector ??= false;
  spec.podReplacementPolicy ??= spec.podFailurePolicy ? "Failed" : "TerminatingOrFailed";
  for (const rule of spec.podFailurePolicy?.rules ?? []) for (const p of rule.onPodConditions ?? []) p.status ||= "True";
  podTemplate(spec.template);
}

export function job(j: batch.Job): void {
  const labels = j.spec.template?.metadata?.labels;
  if (labels && (!j.metadata.labels || Object.keys(j.metadata.labels).length === 0)) j.metadata.labels = labels;
  jobSpec(j.spec);
}

export function cronJob(c: batch.CronJob): void {
  c.spec.concurrencyPolicy ||= "Allow";
  c.spec.suspend ??= false;
  c.spec.successfulJobsHistoryLimit ??= 3;
  c.spec.failedJobsHistoryLimit ??= 1;
  // The Job's own defaults come when it is created; only its pod template is defaulted here.
  podTemplate(c.spec.jobTemplate?.spec?.template);
}

const SCALE_UP: autoscaling.HPAScalingPolicy[] = [
  { type: "Pods", value: 4, periodSeconds: 15 },
  { type: "Percent", value: 100, periodSeconds: 15 },
];
const SCALE_DOWN: autoscaling.HPAScalingPolicy[] = [{ type: "Percent", value: 100, periodSeconds: 15 }];

export function horizontalPodAutoscaler(h: autoscaling.HorizontalPodAutoscaler): void {
  h.spec.minReplicas ??= 1;
  if (!h.spec.metrics?.length) {
    h.spec.metrics = [{ type: "Resource", resource: { name: "cpu", target: { type: "Utilization", averageUtilization: 80 } } }];
  }
  const behavior = h.spec.behavior;
  if (!behavior) return;
  behavior.scaleUp = { stabilizationWindowSeconds: 0, selectPolicy: "Max", policies: SCALE_UP, ...behavior.scaleUp };
  behavior.scaleDown = { selectPolicy: "Max", policies: SCALE_DOWN, ...behavior.scaleDown };
}
