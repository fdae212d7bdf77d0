// The kinds that make pods.
import { deepEqual } from "../equal.ts";
import type * as apps from "../gen/apps/v1.ts";
import type * as batch from "../gen/batch/v1.ts";
import type * as core from "../gen/core/v1.ts";
import type * as metaV1 from "../gen/meta/v1.ts";
import { labelSelectorAsSelector, selectorFromSet } from "../selectors.ts";
import { type Errors, IMMUTABLE, type Validator } from "./errors.ts";
import { labelSelector } from "./meta.ts";
import { podTemplate } from "./pod.ts";

interface Workload {
  spec: {
    selector?: metaV1.LabelSelector;
    template?: core.PodTemplateSpec;
    replicas?: number;
    minReadySeconds?: number;
    revisionHistoryLimit?: number;
  };
}

/** Selector and template, which all of them have, and which have to fit each other. */
function shared(w: Workload, old: Workload | undefined, errors: Errors): void {
  const { selector, template } = w.spec;
  errors.nonNegative("spec.replicas", w.spec.replicas);
  errors.nonNegative("spec.minReadySeconds", w.spec.minReadySeconds);
  errors.nonNegative("spec.revisionHistoryLimit", w.spec.revisionHistoryLimit);
  const empty = !selector || (!Object.keys(selector.matchLabels ?? {}).length && !selector.matchExpressions?.length);
  if (!selector) errors.required("spec.selector");
  else if (empty) errors.invalid("spec.selector", selector, "empty selector is invalid for deployment");
  labelSelector(selector, "spec.selector", errors);
  if (old && !deepEqual(selector, old.spec.selector)) errors.invalid("spec.selector", selector, IMMUTABLE);
  podTemplate(template, "spec.template", errors);
  if (empty || errors.list.length > 0) return;
  if (!labelSelectorAsSelector(selector).matches(template?.metadata?.labels)) {
    errors.invalid("spec.template.metadata.labels", template?.metadata?.labels ?? {}, "`selector` does not match template `labels`");
  }
}

function restartAlways(template: core.PodTemplateSpec | undefined, errors: Errors): void {
  const policy = template?.spec?.restartPolicy;
  if (policy && policy !== "Always") errors.notSupported("spec.template.spec.restartPolicy", policy, ["Always"]);
  if (template?.spec?.activeDeadlineSeconds !== undefined)
    errors.forbidden("spec.template.spec.activeDeadlineSeconds", "activeDeadlineSeconds in ReplicaSet is not Supported");
}

/** A count, or a percentage such as "25%"; undefined when it is neither. */
function share(value: number | string | undefined, field: string, errors: Errors): number | undefined {
  if (value === undefined) return undefined;
  if (typeof value === "number") {
    errors.nonNegative(field, value);
    return value;
  }
  const percent = /^(\d+)%$/.exec(value);
  if (!percent)
    errors.invalid(
      field,
      value,
      "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')",
    );
  return percent ? Number(percent[1]) : undefined;
}

export const deployment: Validator<apps.Deployment> = (d, errors, old) => {
  shared(d, old, errors);
  restartAlways(d.spec.template, errors);
  const strategy = d.spec.strategy;
  if (strategy?.type === "Recreate" && strategy.rollingUpdate) {
    errors.forbidden("spec.strategy.rollingUpdate", "may not be specified when strategy `type` is 'Recreate'");
  }
  if (strategy?.type === "RollingUpdate") {
    const at = "spec.strategy.rollingUpdate";
    const unavailable = share(strategy.rollingUpdate?.maxUnavailable, `${at}.maxUnavailable`, errors);
    const surge = share(strategy.rollingUpdate?.maxSurge, `${at}.maxSurge`, errors);
    if (unavailable === 0 && surge === 0)
      errors.invalid(`${at}.maxUnavailable`, strategy.rollingUpdate?.maxUnavailable, "may not be 0 when `maxSurge` is 0");
    if (typeof strategy.rollingUpdate?.maxUnavailable === "string" && (unavailable ?? 0) > 100)
      errors.invalid(`${at}.maxUnavailable`, strategy.rollingUpdate.maxUnavailable, "must not be greater than 100%");
  }
  const deadline = d.spec.progressDeadlineSeconds;
  errors.nonNegative("spec.progressDeadlineSeconds", deadline);
  if (deadline !== undefined && deadline <= (d.spec.minReadySeconds ?? 0)) {
    errors.invalid("spec.progressDeadlineSeconds", deadline, "must be greater than minReadySeconds");
  }
};

export const replicaSet: Validator<apps.ReplicaSet> = (r, errors, old) => {
  shared(r, old, errors);
  restartAlways(r.spec.template, errors);
};

export const daemonSet: Validator<apps.DaemonSet> = (d, errors, old) => {
  shared(d, old, errors);
  restartAlways(d.spec.template, errors);
};

const STATEFUL_MUTABLE = [
  "replicas",
  "ordinals",
  "template",
  "updateStrategy",
  "revisionHistoryLimit",
  "persistentVolumeClaimRetentionPolicy",
  "minReadySeconds",
] as const;

export const statefulSet: Validator<apps.StatefulSet> = (s, errors, old) => {
  shared(s, undefined, errors);
  restartAlways(s.spec.template, errors);
  if (!old) return;
  const fixed = (spec: apps.StatefulSetSpec) =>
    Object.fromEntries(Object.entries(spec).filter(([k]) => !(STATEFUL_MUTABLE as readonly string[]).includes(k)));
  if (!deepEqual(fixed(s.spec), fixed(old.spec))) {
    errors.forbidden(
      "spec",
      "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden",
    );
  }
};

export const replicationController: Validator<core.ReplicationController> = (r, errors) => {
  errors.nonNegative("spec.replicas", r.spec.replicas);
  if (!Object.keys(r.spec.selector ?? {}).length) errors.required("spec.selector");
  if (!r.spec.template) errors.required("spec.template");
  podTemplate(r.spec.template, "spec.template", errors);
  if (errors.list.length === 0 && !selectorFromSet(r.spec.selector).matches(r.spec.template?.metadata?.labels)) {
    errors.invalid("spec.template.metadata.labels", r.spec.template?.metadata?.labels ?? {}, "`selector` does not match template `labels`");
  }
};

function jobSpec(spec: batch.JobSpec, field: string, errors: Errors): void {
  for (const key of ["parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished"] as const)
    errors.nonNegative(`${field}.${key}`, spec[key]);
  podTemplate(spec.template, `${field}.template`, errors);
  const policy = spec.template?.spec?.restartPolicy;
  if (policy !== "OnFailure" && policy !== "Never") {
    if (policy === "Always") errors.required(`${field}.template.spec.restartPolicy`, 'valid values: "OnFailure", "Never"');
    else errors.notSupported(`${field}.template.spec.restartPolicy`, policy ?? "", ["OnFailure", "Never"]);
  }
  if (spec.completionMode === "Indexed" && spec.completions === undefined)
    errors.required(`${field}.completions`, "when completion mode is Indexed");
}

export const job: Validator<batch.Job> = (j, errors, old) => {
  jobSpec(j.spec, "spec", errors);
  if (!old) return;
  if (j.spec.completions !== old.spec.completions && j.spec.completionMode !== "Indexed")
    errors.invalid("spec.completions", j.spec.completions, IMMUTABLE);
  if (!deepEqual(j.spec.selector, old.spec.selector)) errors.invalid("spec.selector", j.spec.selector, IMMUTABLE);
  if (!deepEqual(j.spec.template, old.spec.template) && !old.spec.suspend) errors.invalid("spec.template", j.spec.template, IMMUTABLE);
};

export const cronJob: Validator<batch.CronJob> = (c, errors) => {
  if (!c.spec.schedule) errors.required("spec.schedule");
  else if (!c.spec.schedule.startsWith("@") && c.spec.schedule.trim().split(/\s+/).length !== 5) {
    errors.invalid(
      "spec.schedule",
      c.spec.schedule,
      `expected exactly 5 fields, found ${c.spec.schedule.trim().split(/\s+/).length}: [${c.spec.schedule.trim().split(/\s+/).join(" ")}]`,
    );
  }
  if (c.metadata.name && c.metadata.name.length > 52)
    errors.invalid("metadata.name", c.metadata.name, "must be no more than 52 characters");
  if (c.spec.jobTemplate?.spec) jobSpec(c.spec.jobTemplate.spec, "spec.jobTemplate.spec", errors);
  else errors.required("spec.jobTemplate.spec");
};
