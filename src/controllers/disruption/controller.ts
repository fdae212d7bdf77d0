// The shell of PodDisruptionBudgets.
import { deepEqual } from "../../api/equal.ts";
import type * as coreV1 from "../../api/gen/core/v1.ts";
import type { KubeObject } from "../../api/object.ts";
import type { Informer } from "../../client/informer.ts";
import {
  deployments,
  keyOf,
  podDisruptionBudgets,
  pods,
  replicaSets,
  replicationControllers,
  statefulSets,
} from "../../client/resources.ts";
import { labelMatcher } from "../../client/selector.ts";
import { WorkQueue } from "../../client/workqueue.ts";
import { type Controller, type ControllerContext, execute, queueOptions } from "../framework/context.ts";
import { controllerOf } from "../framework/owners.ts";
import { updateStatus } from "../framework/write.ts";
import { reconcileBudget } from "./core.ts";

export function disruptionController(ctx: ControllerContext, workers: number): Controller {
  const sink = ctx.events("controllermanager");
  const budgets = ctx.informers.for(podDisruptionBudgets);
  const allPods = ctx.informers.for(pods);
  const owners = new Map<string, Informer<KubeObject>>();
  for (const of of [replicaSets, replicationControllers, statefulSets, deployments])
    owners.set(of.kind, ctx.informers.for<KubeObject>(of as never));

  const replicas = (o: KubeObject) => (o as { spec?: { replicas?: number } }).spec?.replicas ?? 1;

  /** The controller that decides on a pod's number: a ReplicaSet's Deployment, else its own. */
  const decider = (pod: coreV1.Pod): KubeObject | undefined => {
    const find = (o: KubeObject) => {
      const ref = controllerOf(o);
      const found = ref && owners.get(ref.kind)?.lister.get(`${pod.metadata.namespace}/${ref.name}`);
      return found && found.metadata.uid === ref.uid ? found : undefined;
    };
    const first = find(pod);
    return first && (find(first) ?? first);
  };

  const scaleOf = (all: readonly coreV1.Pod[]): number | Error => {
    const found = new Map<string, number>();
    for (const pod of all) {
      const owner = decider(pod);
      if (!owner) return new Error(`found no controllers for pod ${JSON.stringify(pod.metadata.name)}`);
      found.set(owner.metadata.uid ?? "", replicas(owner));
    }
    return [...found.values()].reduce((n, r) => n + r, 0);
  };

  const queue = new WorkQueue(
    "disruption",
    async (key) => {
      const budget = budgets.lister.get(key);
      if (!budget) return;
      const matches = labelMatcher(budget.spec.selector);
      const matching = allPods.lister.list(budget.metadata.namespace).filter((p) => matches(p.metadata.labels));
      const { status, requeueAfter } = reconcileBudget({ budget, pods: matching, scale: scaleOf(matching), now: ctx.clock.now() });
      if (!deepEqual(status, budget.status)) await execute(ctx.transport, sink, updateStatus(podDisruptionBudgets, { ...budget, status }));
      return requeueAfter === undefined ? undefined : { requeueAfter };
    },
    queueOptions(ctx, workers),
  );
  const wake = (pod: coreV1.Pod) => {
    for (const b of budgets.lister.list(pod.metadata.namespace))
      if (labelMatcher(b.spec.selector)(pod.metadata.labels)) queue.add(keyOf(b));
  };
  budgets.on({ add: (b) => queue.add(keyOf(b)), update: (_, b) => queue.add(keyOf(b)) });
  allPods.on({
    add: wake,
    update: (before, after) => {
      if (!deepEqual(before.metadata.labels, after.metadata.labels)) wake(before);
      wake(after);
    },
    delete: wake,
  });
  for (const informer of owners.values()) {
    informer.on({
      update: (before, after) => {
        if (replicas(before) !== replicas(after)) for (const b of budgets.lister.list(after.metadata.namespace)) queue.add(keyOf(b));
      },
    });
  }
  return { start: () => queue.start(), stop: () => queue.stop() };
}
