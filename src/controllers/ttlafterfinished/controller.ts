// Deletes finished Jobs after their ttlSecondsAfterFinished.
import type * as batchV1 from "../../api/gen/batch/v1.ts";
import { jobs, keyOf } from "../../client/resources.ts";
import { WorkQueue } from "../../client/workqueue.ts";
import { type Controller, type ControllerContext, execute, queueOptions } from "../framework/context.ts";
import { remove } from "../framework/write.ts";
import { finishedCondition } from "../job/core.ts";

/** When the Job may be deleted, in milliseconds since the epoch; undefined when never. */
export function expiry(job: batchV1.Job): number | undefined {
  const ttl = job.spec.ttlSecondsAfterFinished;
  const finished = finishedCondition(job);
  if (ttl === undefined || !finished?.lastTransitionTime || job.metadata.deletionTimestamp) return undefined;
  return Date.parse(finished.lastTransitionTime) + ttl * 1000;
}

export function ttlAfterFinishedController(ctx: ControllerContext, workers: number): Controller {
  const sink = ctx.events("ttl-after-finished-controller");
  const all = ctx.informers.for(jobs);
  const queue = new WorkQueue(
    "ttl_jobs_to_delete",
    async (key) => {
      const job = all.lister.get(key);
      const at = job && expiry(job);
      if (!job || at === undefined) return;
      const left = at - ctx.clock.now();
      if (left > 0) return { requeueAfter: left };
      const { uid, resourceVersion } = job.metadata;
      // By its version: a ttl that was changed since must count.
      await execute(ctx.transport, sink, remove(jobs, job, { propagationPolicy: "Foreground", preconditions: { uid, resourceVersion } }));
      return;
    },
    queueOptions(ctx, workers),
  );
  const look = (job: batchV1.Job) => {
    if (expiry(job) !== undefined) queue.add(keyOf(job));
  };
  all.on({ add: look, update: (_, job) => look(job) });
  return { start: () => queue.start(), stop: () => queue.stop() };
}
