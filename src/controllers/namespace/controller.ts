// Empties namespaces that are being deleted, then lets them go.
import type * as coreV1 from "../../api/gen/core/v1.ts";
import type { KubeObject } from "../../api/object.ts";
import { isConflict, isNotFound, isReason } from "../../api/status.ts";
import { keyOf, namespaces, pods } from "../../client/resources.ts";
import { type Outcome, WorkQueue } from "../../client/workqueue.ts";
import type { Controller, ControllerContext } from "../framework/context.ts";
import { fieldManager, queueOptions } from "../framework/context.ts";
import { type Discovered, type Discovery, discover } from "../framework/discovery.ts";
import { nextConditions, type Sweep } from "./core.ts";

const finalizer = "kubernetes";
/** What a discovery found is believed for this many milliseconds. */
const discoveryLifetime = 5_000;
/** Collections emptied at the same time. */
const width = 8;

export function namespaceController(ctx: ControllerContext, workers: number): Controller {
  const all = ctx.informers.for(namespaces);
  const queue = new WorkQueue("namespace", (name) => reconcile(ctx, all.lister.get(name)), queueOptions(ctx, workers));
  const look = (n: coreV1.Namespace) => {
    if (n.metadata.deletionTimestamp) queue.add(keyOf(n));
  };
  all.on({ add: look, update: (_, n) => look(n) });
  // Pods take the longest to go; the last one's end is worth another look at once.
  ctx.informers.for(pods).on({
    delete: (pod) => {
      const n = all.lister.get(pod.metadata.namespace ?? "");
      if (n) look(n);
    },
  });
  return { start: () => queue.start(), stop: () => queue.stop() };
}

async function reconcile(ctx: ControllerContext, namespace: coreV1.Namespace | undefined): Promise<Outcome> {
  if (!namespace?.metadata.deletionTimestamp || !namespace.spec?.finalizers?.includes(finalizer)) return;
  const { transport } = ctx;
  const name = namespace.metadata.name ?? "";
  let current = namespace;
  try {
    if (current.status?.phase !== "Terminating") {
      current = await transport.update<coreV1.Namespace>(
        { ...namespaces, name, subresource: "status" },
        { ...current, status: { ...current.status, phase: "Terminating" } },
        { fieldManager },
      );
    }
    const { sweep, wait } = await empty(ctx, name);
    const done = sweep.remaining.size === 0 && sweep.deletionFailures.length === 0 && sweep.discoveryFailures.length === 0;
    if (done) {
      const spec = { ...current.spec, finalizers: current.spec?.finalizers?.filter((f) => f !== finalizer) };
      await transport.update({ ...namespaces, name, subresource: "finalize" }, { ...current, spec });
      return;
    }
    const conditions = nextConditions(current.status?.conditions, sweep, ctx.clock.now());
    if (conditions !== current.status?.conditions) {
      const status = { ...current.status, phase: "Terminating" as const, conditions: [...conditions] };
      await transport.update({ ...namespaces, name, subresource: "status" }, { ...current, status }, { fieldManager });
    }
    if (sweep.deletionFailures.length > 0)
      throw new Error(`deletion of all resources failed in ${name}: ${sweep.deletionFailures.join(", ")}`);
    if (sweep.discoveryFailures.length > 0) throw new Error(`discovery failed: ${sweep.discoveryFailures.join(", ")}`);
    return { requeueAfter: (wait / 2 + 1) * 1000 };
  } catch (error) {
    if (isNotFound(error)) return;
    // Our own write of the status has changed it; the event of that is on its way.
    if (isConflict(error)) return { requeueAfter: 50 };
    throw error;
  }
}

const cached = new WeakMap<object, { at: number; discovery: Promise<Discovery> }>();

function discovered(ctx: ControllerContext): Promise<Discovery> {
  const known = cached.get(ctx.transport);
  if (known && ctx.clock.now() - known.at < discoveryLifetime) return known.discovery;
  const discovery = discover(ctx.transport);
  cached.set(ctx.transport, { at: ctx.clock.now(), discovery });
  discovery.catch(() => cached.delete(ctx.transport));
  return discovery;
}

/** Deletes all there is in the namespace; `wait` is how many seconds the pods left may need. */
async function empty(ctx: ControllerContext, namespace: string): Promise<{ sweep: Sweep; wait: number }> {
  const { resources, failures } = await discovered(ctx);
  const sweep: Sweep = {
    discoveryFailures: failures.map((f) => f.groupVersion),
    deletionFailures: [],
    remaining: new Map(),
    finalizers: new Map(),
  };
  let wait = 0;
  // The same events are in two groups; once is enough.
  const todo = resources.filter(
    (r) =>
      r.namespaced && r.verbs.includes("list") && r.verbs.includes("delete") && !(r.group === "events.k8s.io" && r.resource === "events"),
  );
  const next = async () => {
    for (let r = todo.shift(); r; r = todo.shift()) {
      try {
        const left = await emptyCollection(ctx, r, namespace);
        if (left.length === 0) continue;
        sweep.remaining.set(`${r.resource}.${r.group}`, left.length);
        for (const o of left) for (const f of o.metadata.finalizers ?? []) sweep.finalizers.set(f, (sweep.finalizers.get(f) ?? 0) + 1);
        if (r.group === "" && r.resource === "pods") for (const o of left) wait = Math.max(wait, graceOf(o as coreV1.Pod));
      } catch (error) {
        sweep.deletionFailures.push(`${r.resource}.${r.group}: ${error instanceof Error ? error.message : String(error)}`);
      }
    }
  };
  await Promise.all(Array.from({ length: width }, next));
  return { sweep, wait };
}

async function emptyCollection(ctx: ControllerContext, r: Discovered, namespace: string): Promise<KubeObject[]> {
  const target = { group: r.group, version: r.version, resource: r.resource, namespace };
  const { items } = await ctx.transport.list(target);
  if (items.length === 0) return [];
  const background = { propagationPolicy: "Background" as const };
  if (r.verbs.includes("deletecollection")) {
    await ctx.transport.deleteCollection(target, background);
  } else {
    for (const o of items) {
      try {
        await ctx.transport.delete({ ...target, name: o.metadata.name ?? "" }, background);
      } catch (error) {
        if (!isNotFound(error) && !isReason(error, "MethodNotAllowed")) throw error;
      }
    }
  }
  return (await ctx.transport.list(target)).items;
}

const graceOf = (pod: coreV1.Pod) => pod.metadata.deletionGracePeriodSeconds ?? pod.spec.terminationGracePeriodSeconds ?? 0;
