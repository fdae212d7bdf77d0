// The shell of node lifecycle: looks at all nodes every few seconds for silence,
// and at each node at once when it changes, so that a node that becomes ready
// loses its taints without delay.
import type * as coordinationV1 from "../../api/gen/coordination/v1.ts";
import type * as coreV1 from "../../api/gen/core/v1.ts";
import { isConflict, isNotFound } from "../../api/status.ts";
import { timestamp } from "../../client/clock.ts";
import { leases, nodes, pods } from "../../client/resources.ts";
import { BucketLimiter, type Outcome, WorkQueue } from "../../client/workqueue.ts";
import { type Controller, type ControllerContext, execute, fieldManager, queueOptions } from "../framework/context.ts";
import { condition, isTerminal } from "../framework/pods.ts";
import { event, patch } from "../framework/write.ts";
import type { ManagerSettings } from "../table.ts";
import { conditionOf, evictionRate, type Heard, hasSpoken, hear, nextTaints, readiness, silenced, zoneOf, zoneState } from "./core.ts";

const byNode = "node";
export const nodeIndex = { name: byNode, values: (p: coreV1.Pod) => (p.spec.nodeName ? [p.spec.nodeName] : []) };

export function nodeLifecycleController(ctx: ControllerContext, settings: ManagerSettings): Controller {
  const grace = settings.nodeMonitorGracePeriod ?? 50_000;
  const startupGrace = settings.nodeStartupGracePeriod ?? 60_000;
  const period = settings.nodeMonitorPeriod ?? 5_000;
  const sink = ctx.events("node-controller");
  const all = ctx.informers.for(nodes);
  const allPods = ctx.informers.for(pods).addIndex(nodeIndex.name, nodeIndex.values);
  const nodeLeases = ctx.informers.for<coordinationV1.Lease>(leases, { namespace: "kube-node-lease" });
  const heard = new Map<string, Heard>();
  const limiters = new Map<string, { rate: number; bucket: BucketLimiter }>();
  /** Nodes whose NoExecute taint the rate limit has let through, until they are ready again. */
  const released = new Set<string>();

  const listen = (node: coreV1.Node): Heard => {
    const name = node.metadata.name ?? "";
    const next = hear(heard.get(name), node, nodeLeases.lister.get(`kube-node-lease/${name}`)?.spec.renewTime, ctx.clock.now());
    heard.set(name, next);
    return next;
  };

  async function silence(node: coreV1.Node): Promise<coreV1.Node> {
    const h = listen(node);
    if (ctx.clock.now() - h.at <= (hasSpoken(h) ? grace : startupGrace)) return node;
    const conditions = silenced(node, ctx.clock.now());
    if (!conditions) return node;
    const name = node.metadata.name ?? "";
    return ctx.transport.update<coreV1.Node>(
      { ...nodes, name, subresource: "status" },
      { ...node, status: { ...node.status, conditions } },
      { fieldManager },
    );
  }

  function mayEvict(node: coreV1.Node): boolean {
    const name = node.metadata.name ?? "";
    if (readiness(node) === "True") {
      released.delete(name);
      return false;
    }
    if (released.has(name)) return true;
    const zone = zoneOf(node);
    const { rate, size } = rateOf(zone);
    if (rate === 0) return false;
    let limiter = limiters.get(zone);
    if (!limiter || limiter.rate !== rate) {
      limiter = { rate, bucket: new BucketLimiter(rate, 1, ctx.clock) };
      limiters.set(zone, limiter);
    }
    // The last of a zone of one is not worth a limit; the first of many passes at once.
    if (size > 1 && !limiter.bucket.tryTake()) return false;
    released.add(name);
    return true;
  }

  function rateOf(zone: string): { rate: number; size: number } {
    const zones = new Map<string, { ready: number; notReady: number }>();
    for (const n of all.lister.list()) {
      const z = zoneOf(n);
      const counts = zones.get(z) ?? { ready: 0, notReady: 0 };
      counts[readiness(n) === "True" ? "ready" : "notReady"]++;
      zones.set(z, counts);
    }
    const states = [...zones.values()].map((c) => zoneState(c.ready, c.notReady));
    const c = zones.get(zone) ?? { ready: 0, notReady: 1 };
    const size = c.ready + c.notReady;
    // Where nothing at all is ready it is more likely this process that is cut off.
    const cutOff = states.every((s) => s === "FullDisruption") && [...zones.values()].reduce((n, x) => n + x.notReady, 0) > 1;
    return { rate: evictionRate(zoneState(c.ready, c.notReady), size, cutOff, settings.nodeEvictionRate), size };
  }

  async function reconcile(name: string): Promise<Outcome> {
    const found = all.lister.get(name);
    if (!found) {
      heard.delete(name);
      released.delete(name);
      return;
    }
    try {
      const node = await silence(found);
      const next = nextTaints(node, mayEvict(node), ctx.clock.now());
      // By its version, as the list of taints has no other guard against another's write.
      if (next) {
        const body = { metadata: { resourceVersion: node.metadata.resourceVersion }, spec: { taints: next.length > 0 ? next : null } };
        await execute(ctx.transport, sink, patch(nodes, node, "merge", body));
      }
      if (conditionOf(node, "Ready") && readiness(node) !== "True") await markPods(name);
    } catch (error) {
      if (isNotFound(error)) return;
      if (isConflict(error)) return { requeueAfter: 10 };
      throw error;
    }
  }

  /** Takes the pods of a node that is not ready out of Services. */
  async function markPods(name: string): Promise<void> {
    const now = timestamp(ctx.clock.now());
    const lost = allPods.lister.byIndex(byNode, name).filter((p) => !isTerminal(p) && condition(p, "Ready")?.status === "True");
    await Promise.all(
      lost.map(async (pod) => {
        const conditions = [{ type: "Ready", status: "False", lastTransitionTime: now }];
        try {
          await execute(
            ctx.transport,
            sink,
            patch(pods, pod, "strategic", { metadata: { uid: pod.metadata.uid }, status: { conditions } }, "status"),
          );
          await execute(ctx.transport, sink, event(pods, pod, "Warning", "NodeNotReady", "Node is not ready"));
        } catch (error) {
          if (!isNotFound(error) && !isConflict(error)) throw error;
        }
      }),
    );
  }

  const queue = new WorkQueue(
    "node_lifecycle_controller",
    async (key) => {
      if (key !== "") return reconcile(key);
      for (const node of all.lister.list()) {
        listen(node);
        queue.add(node.metadata.name ?? "");
      }
      return { requeueAfter: period };
    },
    queueOptions(ctx, 8),
  );

  all.on({
    add: (node) => {
      listen(node);
      queue.add(node.metadata.name ?? "");
      const name = node.metadata.name ?? "";
      void execute(
        ctx.transport,
        sink,
        event(nodes, node, "Normal", "RegisteredNode", `Node ${name} event: Registered Node ${name} in Controller`),
      );
    },
    update: (before, after) => {
      listen(after);
      const name = after.metadata.name ?? "";
      if (readiness(before) === "True" && readiness(after) !== "True")
        void execute(ctx.transport, sink, event(nodes, after, "Normal", "NodeNotReady", `Node ${name} status is now: NodeNotReady`));
      queue.add(name);
    },
    delete: (node) => {
      const name = node.metadata.name ?? "";
      queue.add(name);
      void execute(
        ctx.transport,
        sink,
        event(nodes, node, "Normal", "RemovingNode", `Node ${name} event: Removing Node ${name} from Controller`),
      );
    },
  });

  return {
    start() {
      queue.add("");
      queue.start();
    },
    stop: () => queue.stop(),
  };
}
