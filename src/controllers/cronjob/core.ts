// When a CronJob makes its next Job, and which old ones go
// (k8s.io/kubernetes/pkg/controller/cronjob).
import { deepEqual } from "../../api/equal.ts";
import type * as batchV1 from "../../api/gen/batch/v1.ts";
import { apiVersion } from "../../api/object.ts";
import { timestamp } from "../../client/clock.ts";
import { cronJobs, jobs } from "../../client/resources.ts";
import { controllerReference } from "../framework/owners.ts";
import { create, event, type Plan, remove, updateStatus, type Write } from "../framework/write.ts";
import { finishedCondition } from "../job/core.ts";
import { CronSchedule } from "./schedule.ts";

type CronJob = batchV1.CronJob;
type Job = batchV1.Job;

/** More starts than this that were missed are told of. */
const tooMany = 100;

export function reconcileCronJob(cron: CronJob, owned: readonly Job[], now: number): Plan {
  const writes: Write[] = [];
  const status: batchV1.CronJobStatus = { ...cron.status };
  const reference = (j: Job) => ({
    kind: "Job",
    namespace: j.metadata.namespace,
    name: j.metadata.name,
    uid: j.metadata.uid,
    apiVersion: "batch/v1",
  });
  let active = owned.filter((j) => !finishedCondition(j));
  for (const gone of (status.active ?? []).filter((a) => !active.some((j) => j.metadata.uid === a.uid))) {
    const job = owned.find((j) => j.metadata.uid === gone.uid);
    if (job) {
      const done = finishedCondition(job);
      writes.push(event(cronJobs, cron, "Normal", "SawCompletedJob", `Saw completed job: ${gone.name}, condition: ${done?.type}`));
      if (done?.type === "Complete" && (job.status?.completionTime ?? "") > (status.lastSuccessfulTime ?? ""))
        status.lastSuccessfulTime = job.status?.completionTime;
    } else writes.push(event(cronJobs, cron, "Normal", "MissingJob", `Active job went missing: ${gone.name}`));
  }
  writes.push(...cleanUp(cron, owned));

  let requeueAfter: number | undefined;
  const schedule = cron.metadata.deletionTimestamp || cron.spec.suspend ? undefined : parse(cron, writes);
  if (schedule) {
    const due = missed(cron, schedule, now, writes);
    const following = schedule.next(now);
    requeueAfter = following === undefined ? undefined : following - now + 100;
    const late =
      due !== undefined && cron.spec.startingDeadlineSeconds !== undefined && now > due + cron.spec.startingDeadlineSeconds * 1000;
    const policy = cron.spec.concurrencyPolicy ?? "Allow";
    if (due === undefined) {
      // Nothing is due yet.
    } else if (late) {
      writes.push(event(cronJobs, cron, "Warning", "MissSchedule", `Missed scheduled time to start a job: ${new Date(due).toUTCString()}`));
    } else if (policy === "Forbid" && active.length > 0) {
      writes.push(
        event(
          cronJobs,
          cron,
          "Normal",
          "JobAlreadyActive",
          "Not starting job because prior execution is running and concurrency policy is Forbid",
        ),
      );
    } else {
      if (policy === "Replace") {
        for (const j of active) {
          writes.push(remove(jobs, j, { propagationPolicy: "Background" }));
          writes.push(event(cronJobs, cron, "Normal", "SuccessfulDelete", `Deleted job ${j.metadata.name}`));
        }
        active = [];
      }
      const job = newJob(cron, due);
      if (!owned.some((j) => j.metadata.name === job.metadata.name)) {
        writes.push(create(jobs, job));
        writes.push(event(cronJobs, cron, "Normal", "SuccessfulCreate", `Created job ${job.metadata.name}`));
      }
      status.lastScheduleTime = timestamp(due);
    }
  }
  status.active = active.length > 0 ? active.map(reference) : undefined;
  if (!deepEqual(status, cron.status ?? {})) writes.push(updateStatus(cronJobs, { ...cron, status }));
  return requeueAfter === undefined ? { writes } : { writes, requeueAfter };
}

function parse(cron: CronJob, writes: Write[]): CronSchedule | undefined {
  try {
    return new CronSchedule(cron.spec.schedule, cron.spec.timeZone);
  } catch (error) {
    const reason = cron.spec.timeZone && (error as Error).message.includes("time zone") ? "UnknownTimeZone" : "UnparseableSchedule";
    writes.push(event(cronJobs, cron, "Warning", reason, `invalid schedule: ${cron.spec.schedule} : ${(error as Error).message}`));
    return undefined;
  }
}

/** The latest time that a Job should have been made at, if one was missed since the last. */
function missed(cron: CronJob, schedule: CronSchedule, now: number, writes: Write[]): number | undefined {
  let from = Date.parse(cron.status?.lastScheduleTime ?? cron.metadata.creationTimestamp ?? "") || now;
  const deadline = cron.spec.startingDeadlineSeconds;
  if (deadline !== undefined) from = Math.max(from, now - deadline * 1000 - 1000);
  let latest: number | undefined;
  let count = 0;
  for (let at = schedule.next(from); at !== undefined && at <= now; at = schedule.next(at)) {
    latest = at;
    if (++count < tooMany * 5) continue;
    // Far behind: only the latest counts, so look for it close by.
    at = Math.max(at, now - 2 * 86_400_000);
  }
  if (count > tooMany) {
    const hint = "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew";
    writes.push(event(cronJobs, cron, "Warning", "TooManyMissedTimes", hint));
  }
  return latest;
}

function newJob(cron: CronJob, due: number): Job {
  const template = cron.spec.jobTemplate;
  return {
    apiVersion: apiVersion(jobs),
    kind: "Job",
    metadata: {
      name: `${cron.metadata.name}-${Math.floor(due / 60_000)}`,
      namespace: cron.metadata.namespace,
      ...(template.metadata?.labels ? { labels: template.metadata.labels } : {}),
      annotations: { ...template.metadata?.annotations, "batch.kubernetes.io/cronjob-scheduled-timestamp": timestamp(due) },
      ownerReferences: [controllerReference(cronJobs, cron)],
    },
    spec: template.spec!,
  };
}

function cleanUp(cron: CronJob, owned: readonly Job[]): Write[] {
  const limits = { Complete: cron.spec.successfulJobsHistoryLimit ?? 3, Failed: cron.spec.failedJobsHistoryLimit ?? 1 };
  const writes: Write[] = [];
  for (const [type, limit] of Object.entries(limits)) {
    const done = owned
      .filter((j) => finishedCondition(j)?.type === type && !j.metadata.deletionTimestamp)
      .sort(
        (a, b) =>
          (a.status?.startTime ?? "").localeCompare(b.status?.startTime ?? "") ||
          ((a.metadata.name ?? "") < (b.metadata.name ?? "") ? -1 : 1),
      );
    for (const j of done.slice(0, Math.max(0, done.length - limit))) {
      writes.push(remove(jobs, j, { propagationPolicy: "Background" }));
      writes.push(event(cronJobs, cron, "Normal", "SuccessfulDelete", `Deleted job ${j.metadata.name}`));
    }
  }
  return writes;
}
