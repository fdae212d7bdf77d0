// Deletes pods that do not tolerate a NoExecute taint of their node, at once or
// after what they tolerate (k8s.io/kubernetes/pkg/controller/tainteviction).
import type * as coreV1 from "../../api/gen/core/v1.ts";
import { isNotFound } from "../../api/status.ts";
import { timestamp } from "../../client/clock.ts";
import { keyOf, nodes, pods } from "../../client/resources.ts";
import { WorkQueue } from "../../client/workqueue.ts";
import { type Controller, type ControllerContext, execute, queueOptions } from "../framework/context.ts";
import { isTerminal } from "../framework/pods.ts";
import { event, patch, remove } from "../framework/write.ts";
import { nodeIndex } from "./controller.ts";

export function tolerates(toleration: coreV1.Toleration, taint: coreV1.Taint): boolean {
  if (toleration.effect && toleration.effect !== taint.effect) return false;
  if (toleration.key && toleration.key !== taint.key) return false;
  const operator = toleration.operator || "Equal";
  if (operator === "Exists") return true;
  return operator === "Equal" && !!toleration.key && (toleration.value ?? "") === (taint.value ?? "");
}

/** Milliseconds since the epoch at which the pod must go; undefined when it may stay. */
export function evictAt(pod: coreV1.Pod, taints: readonly coreV1.Taint[], now: number): number | undefined {
  let soonest: number | undefined;
  for (const taint of taints) {
    if (taint.effect !== "NoExecute") continue;
    const matching = (pod.spec.tolerations ?? []).filter((t) => tolerates(t, taint));
    if (matching.length === 0) return now;
    for (const t of matching) {
      if (t.tolerationSeconds === undefined) continue;
      const since = Date.parse(taint.timeAdded ?? "") || now;
      const at = since + Math.max(0, t.tolerationSeconds) * 1000;
      if (soonest === undefined || at < soonest) soonest = at;
    }
  }
  return soonest;
}

export function taintEvictionController(ctx: ControllerContext): Controller {
  const sink = ctx.events("taint-eviction-controller");
  const allNodes = ctx.informers.for(nodes);
  const allPods = ctx.informers.for(pods).addIndex(nodeIndex.name, nodeIndex.values);
  /** Pods whose end is set, so that a taint that goes away is told of. */
  const due = new Set<string>();

  const queue = new WorkQueue(
    "taint_eviction_controller",
    async (key) => {
      const pod = allPods.lister.get(key);
      const node = pod?.spec.nodeName ? allNodes.lister.get(pod.spec.nodeName) : undefined;
      if (!pod || !node || pod.metadata.deletionTimestamp || isTerminal(pod)) {
        due.delete(key);
        return;
      }
      const now = ctx.clock.now();
      const at = evictAt(pod, node.spec?.taints ?? [], now);
      if (at === undefined) {
        if (due.delete(key))
          await execute(ctx.transport, sink, event(pods, pod, "Normal", "TaintManagerEviction", `Cancelling deletion of Pod ${key}`));
        return;
      }
      due.add(key);
      if (at > now) return { requeueAfter: at - now };
      due.delete(key);
      await execute(ctx.transport, sink, event(pods, pod, "Normal", "TaintManagerEviction", `Marking for deletion Pod ${key}`));
      const conditions = [
        {
          type: "DisruptionTarget",
          status: "True",
          reason: "DeletionByTaintManager",
          message: "Taint manager: deleting due to NoExecute taint",
          lastTransitionTime: timestamp(now),
        },
      ];
      try {
        await execute(
          ctx.transport,
          sink,
          patch(pods, pod, "strategic", { metadata: { uid: pod.metadata.uid }, status: { conditions } }, "status"),
        );
        await execute(ctx.transport, sink, remove(pods, pod));
      } catch (error) {
        if (!isNotFound(error)) throw error;
      }
      return;
    },
    queueOptions(ctx, 8),
  );

  const execs = (node: coreV1.Node) => (node.spec?.taints ?? []).filter((t) => t.effect === "NoExecute");
  const wake = (name: string) => {
    for (const pod of allPods.lister.byIndex(nodeIndex.name, name)) queue.add(keyOf(pod));
  };
  allNodes.on({
    add: (node) => {
      if (execs(node).length > 0) wake(node.metadata.name ?? "");
    },
    update: (before, after) => {
      const key = (n: coreV1.Node) =>
        execs(n)
          .map((t) => `${t.key}=${t.value ?? ""}`)
          .sort()
          .join();
      if (key(before) !== key(after)) wake(after.metadata.name ?? "");
    },
  });
  const look = (pod: coreV1.Pod) => {
    const node = pod.spec.nodeName ? allNodes.lister.get(pod.spec.nodeName) : undefined;
    if (node && execs(node).length > 0) queue.add(keyOf(pod));
  };
  allPods.on({
    add: look,
    update: (before, after) => {
      if (before.spec.nodeName !== after.spec.nodeName || before.spec.tolerations !== after.spec.tolerations) look(after);
    },
    delete: (pod) => void due.delete(keyOf(pod)),
  });
  return { start: () => queue.start(), stop: () => queue.stop() };
}
