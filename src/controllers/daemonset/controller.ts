// The shell of DaemonSets.
import { deepEqual } from "../../api/equal.ts";
import type * as appsV1 from "../../api/gen/apps/v1.ts";
import type * as coreV1 from "../../api/gen/core/v1.ts";
import { type EventSink, referenceTo } from "../../client/events.ts";
import type { Informer } from "../../client/informer.ts";
import { daemonSets, keyOf, nodes } from "../../client/resources.ts";
import { labelMatcher } from "../../client/selector.ts";
import { ExponentialLimiter, type Outcome, WorkQueue } from "../../client/workqueue.ts";
import { type Controller, type ControllerContext, execute, executeAll, queueOptions } from "../framework/context.ts";
import { hashOf, revisionLabel, syncHistory, truncateHistory } from "../framework/history.ts";
import { PodControl } from "../framework/pod-control.ts";
import { untilAvailable } from "../framework/pods.ts";
import { Revisions } from "../framework/revisions.ts";
import { updateStatus } from "../framework/write.ts";
import { reconcileDaemonSet } from "./core.ts";
import { placement } from "./placement.ts";

export function daemonSetController(ctx: ControllerContext, workers: number): Controller {
  return new DaemonSetController(ctx, workers);
}

class DaemonSetController implements Controller {
  readonly #ctx: ControllerContext;
  readonly #events: EventSink;
  readonly #control: PodControl<appsV1.DaemonSet>;
  readonly #nodes: Informer<coreV1.Node>;
  readonly #revisions: Revisions<appsV1.DaemonSet>;
  readonly #queue: WorkQueue;
  /** How long a node whose daemon pod fails again and again has to wait: 1 s to 15 min. */
  readonly #backoff = new ExponentialLimiter(1000, 900_000);
  readonly #retryAt = new Map<string, number>();

  constructor(ctx: ControllerContext, workers: number) {
    this.#ctx = ctx;
    this.#events = ctx.events("daemonset-controller");
    this.#queue = new WorkQueue("daemonset", (key) => this.#reconcile(key), queueOptions(ctx, workers));
    this.#control = new PodControl(ctx, {
      of: daemonSets,
      events: this.#events,
      matcher: (ds) => labelMatcher(ds.spec.selector),
      wake: (key) => this.#queue.add(key),
    });
    this.#revisions = new Revisions(ctx, this.#events);
    this.#nodes = ctx.informers.for(nodes);
    const enqueue = (ds: appsV1.DaemonSet) => this.#queue.add(keyOf(ds));
    this.#control.owners.on({ add: enqueue, update: (_, ds) => enqueue(ds), delete: enqueue });
    this.#nodes.on({
      add: (node) => this.#wakeFor(node),
      update: (before, after) => this.#wakeFor(after, before),
      delete: (node) => this.#wakeFor(node),
    });
  }

  start(): void {
    this.#queue.start();
  }

  stop(): Promise<void> {
    return this.#queue.stop();
  }

  #wakeFor(node: coreV1.Node, before?: coreV1.Node): void {
    for (const ds of this.#control.owners.lister.list()) {
      const now = placement(ds.spec.template, node);
      if (before) {
        const then = placement(ds.spec.template, before);
        if (then.run === now.run && then.stay === now.stay) continue;
      } else if (!now.run && !now.stay) continue;
      this.#queue.add(keyOf(ds));
    }
  }

  async #reconcile(key: string): Promise<Outcome> {
    const set = this.#control.owners.lister.get(key);
    if (!set) {
      this.#control.forget(key);
      return;
    }
    const history = syncHistory({
      of: daemonSets,
      owner: set,
      template: set.spec.template,
      labels: set.spec.template.metadata?.labels,
      collisions: set.status?.collisionCount,
      revisions: this.#revisions.of(set),
    });
    if (!set.metadata.deletionTimestamp && (await this.#revisions.commit(set, history)) === "collision") {
      const status = { ...set.status!, collisionCount: (set.status?.collisionCount ?? 0) + 1 };
      await execute(this.#ctx.transport, this.#events, updateStatus(daemonSets, { ...set, status }));
      return;
    }
    const settled = this.#control.settled(key);
    const pods = await this.#control.claim(set);
    const now = this.#ctx.clock.now();
    const seat = (node: string) => `${set.metadata.uid}/${node}`;
    const plan = reconcileDaemonSet({
      set,
      pods,
      nodes: this.#nodes.lister.list(),
      hash: hashOf(history.current),
      now,
      mayReplace: (node) => (this.#retryAt.get(seat(node)) ?? 0) <= now,
    });
    if (settled) {
      for (const pod of plan.failed) this.#noteFailure(set, pod, seat(pod.spec.nodeName ?? ""), now, key);
      const failed = await this.#control.createAndRemove(key, set, plan.create, plan.remove);
      if (failed) throw failed.error;
    }
    const { conditions: _, ...present } = set.status ?? {};
    if (!deepEqual(present, plan.status))
      await execute(this.#ctx.transport, this.#events, updateStatus(daemonSets, { ...set, status: plan.status }));
    const live = new Set(pods.map((p) => p.metadata.labels?.[revisionLabel] ?? ""));
    await executeAll(this.#ctx.transport, this.#events, truncateHistory(history.old, live, set.spec.revisionHistoryLimit ?? 10));
    const again = untilAvailable(pods, set.spec.minReadySeconds ?? 0, now);
    return again === undefined ? undefined : { requeueAfter: again };
  }

  #noteFailure(set: appsV1.DaemonSet, pod: coreV1.Pod, seat: string, now: number, key: string): void {
    const wait = this.#backoff.when(seat);
    this.#retryAt.set(seat, now + wait);
    this.#queue.addAfter(key, wait);
    const reason = pod.status?.phase === "Failed" ? "FailedDaemonPod" : "SucceededDaemonPod";
    const message = `Found ${pod.status?.phase?.toLowerCase()} daemon pod ${pod.metadata.namespace}/${pod.metadata.name} on node ${pod.spec.nodeName}, will try to kill it`;
    this.#events.event(referenceTo(set, daemonSets), pod.status?.phase === "Failed" ? "Warning" : "Normal", reason, message);
  }
}
