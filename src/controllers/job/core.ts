// What a Job should do about its pods (k8s.io/kubernetes/pkg/controller/job).
// Finished pods are counted exactly once: a pod's finalizer holds it until the
// status has taken note of its uid.
import type * as batchV1 from "../../api/gen/batch/v1.ts";
import type * as coreV1 from "../../api/gen/core/v1.ts";
import { timestamp } from "../../client/clock.ts";
import { jobs } from "../../client/resources.ts";
import { isReady, podFromTemplate } from "../framework/pods.ts";

type Job = batchV1.Job;
type Condition = batchV1.JobCondition;

export const trackingFinalizer = "batch.kubernetes.io/job-tracking";
export const indexKey = "batch.kubernetes.io/job-completion-index";

export interface JobInput {
  job: Job;
  pods: readonly coreV1.Pod[];
  now: number;
}

export interface JobPlan {
  create: coreV1.Pod[];
  remove: coreV1.Pod[];
  /** Pods that the present status has noted, whose finalizer may go. */
  release: coreV1.Pod[];
  status: batchV1.JobStatus;
  /** What just came to an end, for an event. */
  finished?: Condition;
  suspended?: boolean;
  requeueAfter?: number;
}

export const finishedCondition = (job: Job): Condition | undefined =>
  job.status?.conditions?.find((c) => (c.type === "Complete" || c.type === "Failed") && c.status === "True");

const indexOf = (pod: coreV1.Pod): number => Number(pod.metadata.annotations?.[indexKey] ?? pod.metadata.labels?.[indexKey] ?? Number.NaN);
const tracked = (pod: coreV1.Pod) => pod.metadata.finalizers?.includes(trackingFinalizer) ?? false;

/** "1,3-5,7" as numbers. Throws a RangeError on anything else. */
export function parseIndexes(text: string | undefined): number[] {
  const out: number[] = [];
  for (const part of (text ?? "").split(",").filter((p) => p !== "")) {
    const match = /^(\d+)(?:-(\d+))?$/.exec(part);
    if (!match) throw new RangeError(`invalid completed indexes: ${text}`);
    for (let i = Number(match[1]); i <= Number(match[2] ?? match[1]); i++) out.push(i);
  }
  return out;
}

/** The inverse of parseIndexes; ranges of three and more are shortened. */
export function formatIndexes(indexes: Iterable<number>): string {
  const sorted = [...new Set(indexes)].sort((a, b) => a - b);
  const parts: string[] = [];
  for (let i = 0; i < sorted.length; ) {
    let j = i;
    while (j + 1 < sorted.length && sorted[j + 1] === sorted[j]! + 1) j++;
    if (j - i >= 2) parts.push(`${sorted[i]}-${sorted[j]}`);
    else for (let k = i; k <= j; k++) parts.push(String(sorted[k]));
    i = j + 1;
  }
  return parts.join(",");
}

/** A failed pod's successor waits 10 s, doubling up to 10 minutes. */
const backoffBase = 10_000;
const backoffMax = 600_000;

export function reconcileJob(input: JobInput): JobPlan {
  const { job, pods, now } = input;
  const present = job.status ?? {};
  const plan: JobPlan = { create: [], remove: [], release: [], status: { ...present } };
  if (finishedCondition(job)) {
    // Whatever ends later only has to be let go.
    plan.release = pods.filter(tracked);
    return plan;
  }
  const indexed = job.spec.completionMode === "Indexed";
  const counts = count(job, pods, indexed, plan);
  const active = pods.filter((p) => !isOver(p) && !p.metadata.deletionTimestamp);
  const terminating = pods.filter((p) => !isOver(p) && p.metadata.deletionTimestamp).length;
  let conditions = present.conditions ?? [];
  let startTime = present.startTime;
  if (!startTime && !job.spec.suspend) startTime = timestamp(now);

  const deadline = job.spec.activeDeadlineSeconds;
  const overdue = !!startTime && deadline !== undefined && !job.spec.suspend && now >= Date.parse(startTime) + deadline * 1000;
  const failing =
    conditions.find((c) => c.type === "FailureTarget" && c.status === "True") ??
    (counts.failed > (job.spec.backoffLimit ?? 6)
      ? condition("FailureTarget", "BackoffLimitExceeded", "Job has reached the specified backoff limit", now)
      : overdue
        ? condition("FailureTarget", "DeadlineExceeded", "Job was active longer than specified deadline", now)
        : undefined);
  const wanted = job.spec.completions;
  const complete = !failing && (wanted === undefined ? counts.succeeded > 0 && active.length === 0 : counts.succeeded >= wanted);

  let stillActive = active.length;
  if (failing || complete) {
    plan.remove = active;
    stillActive = 0;
    const target = failing ?? condition("SuccessCriteriaMet", "CompletionsReached", "Reached expected number of succeeded pods", now);
    conditions = withCondition(conditions, target);
    // The end is told only when every pod is, and is counted.
    const open = plan.status.uncountedTerminatedPods;
    const uncounted = (open?.succeeded?.length ?? 0) + (open?.failed?.length ?? 0);
    if (active.length === 0 && terminating === 0 && uncounted === 0) {
      plan.finished = condition(failing ? "Failed" : "Complete", target.reason ?? "", target.message ?? "", now);
      conditions = withCondition(conditions, plan.finished);
      if (!failing) plan.status.completionTime = timestamp(now);
    }
  } else if (job.spec.suspend) {
    plan.remove = active;
    stillActive = 0;
    const before = conditions.find((c) => c.type === "Suspended");
    if (before?.status !== "True") plan.suspended = true;
    conditions = withCondition(conditions, condition("Suspended", "JobSuspended", "Job suspended", now));
    startTime = undefined;
  } else {
    if (conditions.some((c) => c.type === "Suspended" && c.status === "True")) {
      conditions = withCondition(conditions, { ...condition("Suspended", "JobResumed", "Job resumed", now), status: "False" });
      plan.suspended = false;
      startTime = timestamp(now);
    }
    stillActive = manage(input, indexed, counts, active, terminating, plan);
    if (startTime && deadline !== undefined) soonest(plan, Date.parse(startTime) + deadline * 1000 - now);
  }
  plan.status = {
    ...plan.status,
    ...(conditions.length > 0 ? { conditions } : {}),
    startTime,
    active: stillActive || undefined,
    ready: active.filter((p) => isReady(p)).length,
    terminating,
  };
  return plan;
}

interface Counts {
  succeeded: number;
  failed: number;
  completed: Set<number>;
}

/** Moves finished pods through uncountedTerminatedPods into the counters. */
function count(job: Job, pods: readonly coreV1.Pod[], indexed: boolean, plan: JobPlan): Counts {
  const status = plan.status;
  const byUid = new Map(pods.map((p) => [p.metadata.uid ?? "", p]));
  const noted = { succeeded: status.uncountedTerminatedPods?.succeeded ?? [], failed: status.uncountedTerminatedPods?.failed ?? [] };
  const next = { succeeded: [] as string[], failed: [] as string[] };
  const completed = new Set(indexed ? parseIndexes(status.completedIndexes) : []);
  let succeeded = status.succeeded ?? 0;
  let failed = status.failed ?? 0;
  for (const kind of ["succeeded", "failed"] as const) {
    for (const uid of noted[kind]) {
      const pod = byUid.get(uid);
      if (pod && tracked(pod)) {
        // Noted in the status that is stored: its finalizer has done its part.
        plan.release.push(pod);
        next[kind].push(uid);
      } else if (kind === "succeeded") succeeded++;
      else failed++;
    }
  }
  for (const pod of pods) {
    const uid = pod.metadata.uid ?? "";
    if (!tracked(pod) || noted.succeeded.includes(uid) || noted.failed.includes(uid)) continue;
    if (pod.status?.phase === "Succeeded") {
      if (indexed) {
        const index = indexOf(pod);
        if (index >= 0 && index < (job.spec.completions ?? 0)) completed.add(index);
        plan.release.push(pod);
      } else next.succeeded.push(uid);
    } else if (pod.status?.phase === "Failed") next.failed.push(uid);
    else if (pod.metadata.deletionTimestamp && !pod.spec.nodeName) next.failed.push(uid);
  }
  const { uncountedTerminatedPods: _, ...rest } = status;
  const total = indexed ? completed.size : succeeded;
  plan.status = {
    ...rest,
    ...(total ? { succeeded: total } : {}),
    ...(failed ? { failed } : {}),
    ...(indexed && completed.size > 0 ? { completedIndexes: formatIndexes(completed) } : {}),
    uncountedTerminatedPods: {
      ...(next.succeeded.length > 0 ? { succeeded: next.succeeded } : {}),
      ...(next.failed.length > 0 ? { failed: next.failed } : {}),
    },
  };
  // An index is complete in the status before its pod is let go, so that it is not run again.
  if (indexed && (status.completedIndexes ?? "") !== formatIndexes(completed)) {
    plan.release = plan.release.filter((p) => p.status?.phase !== "Succeeded");
  }
  return {
    succeeded: indexed ? completed.size : succeeded + next.succeeded.length,
    failed: failed + next.failed.length,
    completed,
  };
}

const isOver = (pod: coreV1.Pod) => pod.status?.phase === "Succeeded" || pod.status?.phase === "Failed";

/** Makes or deletes pods; returns how many will be active. */
function manage(input: JobInput, indexed: boolean, counts: Counts, active: coreV1.Pod[], terminating: number, plan: JobPlan): number {
  const { job, now } = input;
  const parallelism = job.spec.parallelism ?? 1;
  const completions = job.spec.completions;
  const left =
    completions === undefined ? (counts.succeeded > 0 ? active.length : parallelism) : Math.max(0, completions - counts.succeeded);
  const wanted = Math.min(parallelism, left);
  if (active.length > wanted) {
    // Those that have come the least far go first.
    const rank = (p: coreV1.Pod) => (p.spec.nodeName ? 1 : 0) + (p.status?.phase === "Running" ? 2 : 0) + (isReady(p) ? 4 : 0);
    plan.remove.push(...[...active].sort((a, b) => rank(a) - rank(b)).slice(0, active.length - wanted));
    return wanted;
  }
  const busy = job.spec.podReplacementPolicy === "Failed" ? active.length + terminating : active.length;
  const missing = wanted - busy;
  if (missing <= 0) return active.length;
  const wait = backoff(input.pods, now);
  if (wait > 0) {
    soonest(plan, wait);
    return active.length;
  }
  if (!indexed) {
    for (let i = 0; i < missing; i++) plan.create.push(newPod(job));
    return active.length + missing;
  }
  const taken = new Set([...counts.completed, ...active.map(indexOf)]);
  for (const pod of input.pods) if (!isOver(pod)) taken.add(indexOf(pod));
  let made = 0;
  for (let index = 0; index < (completions ?? 0) && made < missing; index++) {
    if (taken.has(index)) continue;
    plan.create.push(newPod(job, index));
    made++;
  }
  return active.length + made;
}

/** Milliseconds to wait on account of pods that failed since one last succeeded. */
function backoff(pods: readonly coreV1.Pod[], now: number): number {
  let failures = 0;
  let lastFailure = 0;
  let lastSuccess = 0;
  const endOf = (p: coreV1.Pod) =>
    Math.max(
      ...[...(p.status?.containerStatuses ?? [])].map((c) => Date.parse(c.state?.terminated?.finishedAt ?? "") || 0),
      Date.parse(p.status?.conditions?.find((c) => c.type === "Ready")?.lastTransitionTime ?? "") || 0,
      Date.parse(p.metadata.creationTimestamp ?? "") || 0,
    );
  for (const p of pods) if (p.status?.phase === "Succeeded") lastSuccess = Math.max(lastSuccess, endOf(p));
  for (const p of pods) {
    if (p.status?.phase !== "Failed" || endOf(p) < lastSuccess) continue;
    failures++;
    lastFailure = Math.max(lastFailure, endOf(p));
  }
  if (failures === 0) return 0;
  return lastFailure + Math.min(backoffMax, backoffBase * 2 ** (failures - 1)) - now;
}

function soonest(plan: JobPlan, ms: number): void {
  const wait = Math.max(0, ms);
  plan.requeueAfter = plan.requeueAfter === undefined ? wait : Math.min(plan.requeueAfter, wait);
}

const condition = (type: string, reason: string, message: string, now: number): Condition => {
  const time = timestamp(now);
  return { type: type as Condition["type"], status: "True", lastProbeTime: time, lastTransitionTime: time, reason, message };
};

function withCondition(conditions: readonly Condition[], next: Condition): Condition[] {
  const before = conditions.find((c) => c.type === next.type);
  if (before && before.status === next.status && before.reason === next.reason) return [...conditions];
  return [...conditions.filter((c) => c !== before), next];
}

function newPod(job: Job, index?: number): coreV1.Pod {
  const pod = podFromTemplate(jobs, job, job.spec.template);
  const finalizers = [...(pod.metadata.finalizers ?? []), trackingFinalizer];
  if (index === undefined) return { ...pod, metadata: { ...pod.metadata, finalizers } };
  const field = { fieldRef: { fieldPath: `metadata.annotations['${indexKey}']` } };
  const withIndex = (c: coreV1.Container): coreV1.Container =>
    c.env?.some((e) => e.name === "JOB_COMPLETION_INDEX")
      ? c
      : { ...c, env: [...(c.env ?? []), { name: "JOB_COMPLETION_INDEX", valueFrom: field }] };
  return {
    ...pod,
    metadata: {
      ...pod.metadata,
      finalizers,
      generateName: `${job.metadata.name}-${index}-`,
      annotations: { ...pod.metadata.annotations, [indexKey]: String(index) },
      labels: { ...pod.metadata.labels, [indexKey]: String(index) },
    },
    spec: {
      ...pod.spec,
      hostname: `${job.metadata.name}-${index}`,
      containers: pod.spec.containers.map(withIndex),
      ...(pod.spec.initContainers ? { initContainers: pod.spec.initContainers.map(withIndex) } : {}),
    },
  };
}
