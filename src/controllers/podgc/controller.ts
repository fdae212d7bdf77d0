// The shell of pod garbage collection: a look at all pods every 20 seconds.
import type * as coreV1 from "../../api/gen/core/v1.ts";
import { isNotFound } from "../../api/status.ts";
import { timestamp } from "../../client/clock.ts";
import { nodes, pods } from "../../client/resources.ts";
import { WorkQueue } from "../../client/workqueue.ts";
import { type Controller, type ControllerContext, execute } from "../framework/context.ts";
import { isTerminal } from "../framework/pods.ts";
import { patch, remove } from "../framework/write.ts";
import { collect, type Doomed } from "./core.ts";

const period = 20_000;

export function podGcController(ctx: ControllerContext, threshold: number): Controller {
  const sink = ctx.events("pod-garbage-collector");
  const allPods = ctx.informers.for(pods);
  const allNodes = ctx.informers.for(nodes);
  const missing = new Map<string, number>();

  const queue = new WorkQueue(
    "podgc",
    async () => {
      const { doomed, check } = collect({
        pods: allPods.lister.list(),
        nodes: allNodes.lister.list(),
        threshold,
        missing,
        now: ctx.clock.now(),
      });
      const exists = new Set<string>();
      for (const name of check) if (await nodeExists(ctx, name)) exists.add(name);
      await Promise.all(
        doomed
          .filter((d) => d.reason !== "orphaned" || !exists.has(d.pod.spec.nodeName ?? ""))
          .map(async (d) => {
            try {
              await giveUp(ctx, d);
            } catch (error) {
              if (!isNotFound(error))
                ctx.log.error("Could not delete a pod", error, { pod: `${d.pod.metadata.namespace}/${d.pod.metadata.name}` });
            }
          }),
      );
      return { requeueAfter: period };
    },
    { clock: ctx.clock, log: ctx.log, metrics: ctx.metrics },
  );

  async function giveUp(context: ControllerContext, { pod, reason }: Doomed): Promise<void> {
    context.log.info("PodGC is force deleting Pod", { pod: `${pod.metadata.namespace}/${pod.metadata.name}`, reason });
    if (reason !== "terminated" && !isTerminal(pod)) {
      const status: Record<string, unknown> = { phase: "Failed" };
      if (reason === "orphaned") {
        status.conditions = [
          {
            type: "DisruptionTarget",
            status: "True",
            reason: "DeletionByPodGC",
            message: "PodGC: node no longer exists",
            lastTransitionTime: timestamp(context.clock.now()),
          },
        ];
      }
      await execute(context.transport, sink, patch(pods, pod, "strategic", { metadata: { uid: pod.metadata.uid }, status }, "status"));
    }
    await execute(context.transport, sink, remove(pods, pod, { gracePeriodSeconds: 0 }));
  }

  return {
    start() {
      queue.add("all");
      queue.start();
    },
    stop: () => queue.stop(),
  };
}

async function nodeExists(ctx: ControllerContext, name: string): Promise<boolean> {
  try {
    await ctx.transport.get<coreV1.Node>({ ...nodes, name });
    return true;
  } catch (error) {
    if (isNotFound(error)) return false;
    throw error;
  }
}
