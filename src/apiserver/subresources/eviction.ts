// pods/eviction: deletion that asks PodDisruptionBudgets first
// (k8s.io/kubernetes/pkg/registry/core/pod/storage/eviction.go).
import { kindOf } from "../../api/schema.ts";
import { labelSelectorAsSelector } from "../../api/selectors.ts";
import { badRequest, internalError, type StatusError, tooManyRequests } from "../../api/status.ts";
import { type DeleteOptions, remove } from "../registry/delete.ts";
import { fresh } from "../registry/patch.ts";
import { get } from "../registry/read.ts";
import { type Registry, timestamp } from "../registry/registry.ts";
import type { Stored } from "../registry/strategy.ts";
import { update } from "../registry/write.ts";
import type { RequestContext } from "../request.ts";
import { success } from "./success.ts";
import type { Subresource } from "./table.ts";

const info = kindOf({ group: "policy", version: "v1", kind: "Eviction" })!;
/** Pods on their way out that a budget remembers. */
const maxDisrupted = 2000;

function budgetsOf(registry: Registry, pod: Stored): Stored[] {
  const { bucket } = registry.resources.need("policy", "v1", "poddisruptionbudgets");
  return bucket
    .by("namespace", pod.metadata.namespace ?? "")
    .map((e) => e.object as Stored)
    .filter((b) => labelSelectorAsSelector(b.spec?.selector).matches(pod.metadata.labels));
}

/** Whether no budget is needed for it: it is done, or waits, or goes already. */
const canIgnoreBudget = (pod: Stored): boolean =>
  ["Succeeded", "Failed", "Pending"].includes(pod.status?.phase) || pod.metadata.deletionTimestamp !== undefined;

const isReady = (pod: Stored): boolean =>
  pod.status?.conditions?.some((c: { type: string; status: string }) => c.type === "Ready" && c.status === "True") ?? false;

function disrupted(budget: string): StatusError {
  const error = tooManyRequests("Cannot evict pod as it would violate the pod's disruption budget.", 10);
  error.status.details = {
    causes: [{ reason: "DisruptionBudget", message: `The disruption budget ${budget} needs more healthy pods than it allows right now` }],
    retryAfterSeconds: 10,
  };
  return error;
}

async function spend(registry: Registry, context: RequestContext, budget: Stored, podName: string): Promise<void> {
  const resource = registry.resources.need("policy", "v1", "poddisruptionbudgets");
  const { name = "", namespace } = budget.metadata;
  await update(
    registry,
    resource,
    context,
    namespace,
    name,
    (current) => {
      const pdb = current as Stored;
      const { status = {} } = pdb;
      if ((status.observedGeneration ?? 0) < (pdb.metadata.generation ?? 0)) {
        const error = tooManyRequests("Cannot evict pod as it would violate the pod's disruption budget.", 10);
        error.status.details = {
          causes: [{ reason: "DisruptionBudget", message: `The disruption budget ${name} is still being processed by the server.` }],
        };
        throw error;
      }
      if (!(status.disruptionsAllowed > 0)) throw disrupted(name);
      if (Object.keys(status.disruptedPods ?? {}).length > maxDisrupted)
        throw internalError("DisruptedPods map too big - too many evictions not confirmed by PDB controller");
      const next = fresh(pdb);
      next.status.disruptionsAllowed = status.disruptionsAllowed - 1;
      next.status.disruptedPods = { ...next.status.disruptedPods, [podName]: timestamp(registry.now()) };
      return next;
    },
    { subresource: "status" },
  );
}

export const eviction: Subresource = {
  kind: info,
  async create(registry, resource, context, target, object) {
    const { name } = object.metadata;
    if (name && name !== target.name) throw badRequest("name in URL does not match name in Eviction object");
    const pod = (await get(resource, target.namespace, target.name)).object as Stored;
    const options: DeleteOptions = { ...object.deleteOptions };
    const as = { ...context, dryRun: context.dryRun || object.deleteOptions?.dryRun?.includes("All") };
    if (!canIgnoreBudget(pod)) {
      const budgets = budgetsOf(registry, pod);
      if (budgets.length > 1)
        throw internalError("This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.");
      const [budget] = budgets;
      const healthy = budget?.status?.currentHealthy >= budget?.status?.desiredHealthy && budget?.status?.desiredHealthy > 0;
      const free = !isReady(pod) && (budget?.spec?.unhealthyPodEvictionPolicy === "AlwaysAllow" || healthy);
      if (budget && !free) await spend(registry, as, budget, target.name);
    }
    await remove(registry, resource, as, target.namespace, target.name, options);
    return success(201);
  },
};
