// The shell of StatefulSets.
import { deepEqual } from "../../api/equal.ts";
import type * as appsV1 from "../../api/gen/apps/v1.ts";
import type * as coreV1 from "../../api/gen/core/v1.ts";
import { isAlreadyExists } from "../../api/status.ts";
import { type EventSink, referenceTo } from "../../client/events.ts";
import type { Informer } from "../../client/informer.ts";
import { keyOf, persistentVolumeClaims, pods, statefulSets } from "../../client/resources.ts";
import { labelMatcher } from "../../client/selector.ts";
import { type Outcome, WorkQueue } from "../../client/workqueue.ts";
import { type Controller, type ControllerContext, execute, executeAll, queueOptions } from "../framework/context.ts";
import { revisionLabel, syncHistory, truncateHistory } from "../framework/history.ts";
import { messageOf, PodControl } from "../framework/pod-control.ts";
import { untilAvailable } from "../framework/pods.ts";
import { Revisions } from "../framework/revisions.ts";
import { create, remove, updateStatus } from "../framework/write.ts";
import { ordinalOf, reconcileStatefulSet, type StatefulPlan } from "./core.ts";

export function statefulSetController(ctx: ControllerContext, workers: number): Controller {
  return new StatefulSetController(ctx, workers);
}

class StatefulSetController implements Controller {
  readonly #ctx: ControllerContext;
  readonly #events: EventSink;
  readonly #control: PodControl<appsV1.StatefulSet>;
  readonly #claims: Informer<coreV1.PersistentVolumeClaim>;
  readonly #revisions: Revisions<appsV1.StatefulSet>;
  readonly #queue: WorkQueue;

  constructor(ctx: ControllerContext, workers: number) {
    this.#ctx = ctx;
    this.#events = ctx.events("statefulset-controller");
    this.#queue = new WorkQueue("statefulset", (key) => this.#reconcile(key), queueOptions(ctx, workers));
    this.#control = new PodControl(ctx, {
      of: statefulSets,
      events: this.#events,
      matcher: (s) => labelMatcher(s.spec.selector),
      wake: (key) => this.#queue.add(key),
    });
    this.#claims = ctx.informers.for(persistentVolumeClaims);
    this.#revisions = new Revisions(ctx, this.#events);
    const enqueue = (s: appsV1.StatefulSet) => this.#queue.add(keyOf(s));
    this.#control.owners.on({ add: enqueue, update: (_, s) => enqueue(s), delete: enqueue });
  }

  start(): void {
    this.#queue.start();
  }

  stop(): Promise<void> {
    return this.#queue.stop();
  }

  async #reconcile(key: string): Promise<Outcome> {
    const set = this.#control.owners.lister.get(key);
    if (!set) return;
    const revisions = this.#revisions.of(set);
    const history = syncHistory({
      of: statefulSets,
      owner: set,
      template: set.spec.template,
      labels: set.spec.template.metadata?.labels,
      collisions: set.status?.collisionCount || undefined,
      revisions,
    });
    if (!set.metadata.deletionTimestamp && (await this.#revisions.commit(set, history)) === "collision") {
      const status = { ...set.status, replicas: set.status?.replicas ?? 0, collisionCount: (set.status?.collisionCount ?? 0) + 1 };
      await execute(this.#ctx.transport, this.#events, updateStatus(statefulSets, { ...set, status }));
      return;
    }
    const update = { name: history.current.metadata.name ?? "", template: set.spec.template };
    const before = revisions.find((r) => r.metadata.name === set.status?.currentRevision);
    const current = before ? { name: before.metadata.name ?? "", template: templateOf(before) } : update;
    const owned = await this.#control.claim(set, (pod) => ordinalOf(set, pod) !== undefined);
    const now = this.#ctx.clock.now();
    const plan = reconcileStatefulSet({ set, pods: owned, current, update, now });
    let failure: unknown;
    try {
      await this.#carryOut(set, plan);
    } catch (error) {
      failure = error;
    }
    if (!deepEqual(set.status, plan.status))
      await execute(this.#ctx.transport, this.#events, updateStatus(statefulSets, { ...set, status: plan.status }));
    if (failure !== undefined) throw failure;
    const live = new Set([current.name, ...owned.map((p) => p.metadata.labels?.[revisionLabel] ?? "")]);
    await executeAll(this.#ctx.transport, this.#events, truncateHistory(history.old, live, set.spec.revisionHistoryLimit ?? 10));
    const again = untilAvailable(owned, set.spec.minReadySeconds ?? 0, now);
    return again === undefined ? undefined : { requeueAfter: again };
  }

  async #carryOut(set: appsV1.StatefulSet, plan: StatefulPlan): Promise<void> {
    const name = set.metadata.name;
    const { transport } = this.#ctx;
    const attempts = [
      ...plan.create.map(async ({ pod, claims }) => {
        const what = `Pod ${pod.metadata.name} in StatefulSet ${name}`;
        try {
          for (const claim of claims) {
            if (this.#claims.lister.get(keyOf(claim))) continue;
            await this.#tolerateExisting(() => execute(transport, this.#events, create(persistentVolumeClaims, claim)));
          }
          if (await this.#tolerateExisting(() => execute(transport, this.#events, create(pods, pod))))
            this.#say(set, "Normal", "SuccessfulCreate", `create ${what} successful`);
        } catch (error) {
          this.#say(set, "Warning", "FailedCreate", `create ${what} failed error: ${messageOf(error)}`);
          throw error;
        }
      }),
      ...plan.remove.map(async (pod) => {
        const what = `Pod ${pod.metadata.name} in StatefulSet ${name}`;
        try {
          await execute(transport, this.#events, remove(pods, pod));
          this.#say(set, "Normal", "SuccessfulDelete", `delete ${what} successful`);
        } catch (error) {
          this.#say(set, "Warning", "FailedDelete", `delete ${what} failed error: ${messageOf(error)}`);
          throw error;
        }
      }),
    ];
    const failed = (await Promise.allSettled(attempts)).find((r) => r.status === "rejected");
    if (failed) throw failed.reason;
  }

  /** Names are fixed, so what exists is what a cache that lags behind does not show yet. Returns whether it was made. */
  async #tolerateExisting(make: () => Promise<unknown>): Promise<boolean> {
    try {
      await make();
      return true;
    } catch (error) {
      if (!isAlreadyExists(error)) throw error;
      return false;
    }
  }

  #say(set: appsV1.StatefulSet, type: "Normal" | "Warning", reason: string, message: string): void {
    this.#events.event(referenceTo(set, statefulSets), type, reason, message);
  }
}

/** The template that a revision puts back. */
function templateOf(revision: appsV1.ControllerRevision): coreV1.PodTemplateSpec {
  const data = revision.data as { spec?: { template?: coreV1.PodTemplateSpec & { $patch?: string } } } | undefined;
  const { $patch: _, ...template } = data?.spec?.template ?? {};
  return template as coreV1.PodTemplateSpec;
}
