// The shell of Jobs.
import { deepEqual } from "../../api/equal.ts";
import type * as batchV1 from "../../api/gen/batch/v1.ts";
import type * as coreV1 from "../../api/gen/core/v1.ts";
import { isNotFound } from "../../api/status.ts";
import { type EventSink, referenceTo } from "../../client/events.ts";
import { jobs, keyOf, pods } from "../../client/resources.ts";
import { labelMatcher } from "../../client/selector.ts";
import { type Outcome, WorkQueue } from "../../client/workqueue.ts";
import { type Controller, type ControllerContext, execute, queueOptions } from "../framework/context.ts";
import { byController, controllerOf } from "../framework/owners.ts";
import { PodControl } from "../framework/pod-control.ts";
import { patch, updateStatus } from "../framework/write.ts";
import { reconcileJob, trackingFinalizer } from "./core.ts";

export function jobController(ctx: ControllerContext, workers: number): Controller {
  return new JobController(ctx, workers);
}

class JobController implements Controller {
  readonly #ctx: ControllerContext;
  readonly #events: EventSink;
  readonly #control: PodControl<batchV1.Job>;
  readonly #queue: WorkQueue;

  constructor(ctx: ControllerContext, workers: number) {
    this.#ctx = ctx;
    this.#events = ctx.events("job-controller");
    this.#queue = new WorkQueue("job", (key) => this.#reconcile(key), queueOptions(ctx, workers));
    this.#control = new PodControl(ctx, {
      of: jobs,
      events: this.#events,
      matcher: (job) => labelMatcher(job.spec.selector),
      wake: (key) => this.#queue.add(key),
    });
    const enqueue = (job: batchV1.Job) => this.#queue.add(keyOf(job));
    this.#control.owners.on({
      add: enqueue,
      update: (_, job) => enqueue(job),
      delete: (job) => {
        // Pods that outlive their Job must not be held by a finalizer that nobody looks at.
        for (const pod of this.#control.pods.lister.byIndex(byController.name, job.metadata.uid ?? "")) this.#letGoLater(pod);
      },
    });
    const orphaned = (pod: coreV1.Pod) => {
      const ref = controllerOf(pod);
      if (ref?.kind === jobs.kind && ref.apiVersion.startsWith("batch/") && pod.metadata.deletionTimestamp && !this.#control.ownerKey(pod))
        this.#letGoLater(pod);
    };
    this.#control.pods.on({ add: orphaned, update: (_, pod) => orphaned(pod) });
  }

  start(): void {
    this.#queue.start();
  }

  stop(): Promise<void> {
    return this.#queue.stop();
  }

  #letGoLater(pod: coreV1.Pod): void {
    if (pod.metadata.finalizers?.includes(trackingFinalizer)) this.#queue.add(`orphan:${keyOf(pod)}`);
  }

  async #reconcile(key: string): Promise<Outcome> {
    if (key.startsWith("orphan:")) {
      const pod = this.#control.pods.lister.get(key.slice("orphan:".length));
      if (pod && !this.#control.ownerKey(pod)) await this.#letGo(pod);
      return;
    }
    const job = this.#control.owners.lister.get(key);
    if (!job) {
      this.#control.forget(key);
      return;
    }
    if (job.spec.managedBy && job.spec.managedBy !== "kubernetes.io/job-controller") return;
    const settled = this.#control.settled(key);
    const owned = await this.#control.claim(job);
    if (!settled || job.metadata.deletionTimestamp) return;
    const plan = reconcileJob({ job, pods: owned, now: this.#ctx.clock.now() });
    await Promise.all(plan.release.map((pod) => this.#letGo(pod)));
    const failed = await this.#control.createAndRemove(key, job, plan.create, plan.remove);
    if (!deepEqual(job.status ?? {}, plan.status))
      await execute(this.#ctx.transport, this.#events, updateStatus(jobs, { ...job, status: plan.status }));
    if (plan.suspended !== undefined)
      this.#say(job, "Normal", plan.suspended ? "Suspended" : "Resumed", plan.suspended ? "Job suspended" : "Job resumed");
    if (plan.finished?.type === "Complete") this.#say(job, "Normal", "Completed", "Job completed");
    else if (plan.finished) this.#say(job, "Warning", plan.finished.reason ?? "", plan.finished.message ?? "");
    if (failed) throw failed.error;
    return plan.requeueAfter === undefined ? undefined : { requeueAfter: plan.requeueAfter };
  }

  async #letGo(pod: coreV1.Pod): Promise<void> {
    const finalizers = (pod.metadata.finalizers ?? []).filter((f) => f !== trackingFinalizer);
    const { uid, resourceVersion } = pod.metadata;
    try {
      await execute(this.#ctx.transport, this.#events, patch(pods, pod, "merge", { metadata: { uid, resourceVersion, finalizers } }));
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
  }

  #say(job: batchV1.Job, type: "Normal" | "Warning", reason: string, message: string): void {
    this.#events.event(referenceTo(job, jobs), type, reason, message);
  }
}
