// The shell of CronJobs.
import type * as batchV1 from "../../api/gen/batch/v1.ts";
import { isAlreadyExists } from "../../api/status.ts";
import { cronJobs, jobs, keyOf } from "../../client/resources.ts";
import { WorkQueue } from "../../client/workqueue.ts";
import { type Controller, type ControllerContext, execute, isNamespaceTerminating, queueOptions } from "../framework/context.ts";
import { byController, controllerOf } from "../framework/owners.ts";
import { reconcileCronJob } from "./core.ts";

export function cronJobController(ctx: ControllerContext, workers: number): Controller {
  const sink = ctx.events("cronjob-controller");
  const crons = ctx.informers.for(cronJobs);
  const allJobs = ctx.informers.for(jobs).addIndex(byController.name, byController.values);
  const queue = new WorkQueue(
    "cronjob",
    async (key) => {
      const cron = crons.lister.get(key);
      if (!cron) return;
      const plan = reconcileCronJob(cron, allJobs.lister.byIndex(byController.name, cron.metadata.uid ?? ""), ctx.clock.now());
      for (const write of plan.writes) {
        try {
          await execute(ctx.transport, sink, write);
        } catch (error) {
          if (isNamespaceTerminating(error)) return;
          // Its name says which start it is for: it was made, and the cache does not show it yet.
          if (write.op !== "create" || !isAlreadyExists(error)) throw error;
        }
      }
      return plan.requeueAfter === undefined ? undefined : { requeueAfter: plan.requeueAfter };
    },
    queueOptions(ctx, workers),
  );
  crons.on({ add: (c) => queue.add(keyOf(c)), update: (_, c) => queue.add(keyOf(c)) });
  const wake = (job: batchV1.Job) => {
    const ref = controllerOf(job);
    if (ref?.kind === cronJobs.kind) queue.add(`${job.metadata.namespace}/${ref.name}`);
  };
  allJobs.on({ add: wake, update: (_, job) => wake(job), delete: wake });
  return { start: () => queue.start(), stop: () => queue.stop() };
}
