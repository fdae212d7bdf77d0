// DELETE as every resource does it: grace periods, finalizers, propagation
// (k8s.io/apiserver/pkg/registry/rest/delete.go and .../generic/registry/store.go).
import { badRequest, notFound } from "../../api/status.ts";
import type { ListOptions } from "../../client/transport.ts";
import type { RequestContext } from "../request.ts";
import { Entry } from "../storage/entry.ts";
import { checkPreconditions, mayHaveHappened, type Preconditions } from "../storage/errors.ts";
import { objectKey } from "../storage/keys.ts";
import type { Change } from "../storage/storage.ts";
import { list, named, view } from "./read.ts";
import { type Claim, hookOf, type Registry, timestamp } from "./registry.ts";
import type { Resource } from "./resources.ts";
import type { Fresh, Stored } from "./strategy.ts";

export interface DeleteOptions {
  gracePeriodSeconds?: number;
  propagationPolicy?: string;
  /** The older form of propagationPolicy. */
  orphanDependents?: boolean;
  preconditions?: Preconditions;
}

const orphan = "orphan";
const foreground = "foregroundDeletion";
const policies = ["Orphan", "Background", "Foreground"];

export function checkDeleteOptions(options: DeleteOptions): void {
  if (options.orphanDependents !== undefined && options.propagationPolicy !== undefined)
    throw badRequest("orphanDependents and deletionPropagation cannot be both set");
  if (options.propagationPolicy !== undefined && !policies.includes(options.propagationPolicy))
    throw badRequest(
      `DeleteOptions.meta.k8s.io "" is invalid: propagationPolicy: Unsupported value: ${JSON.stringify(options.propagationPolicy)}: supported values: "Foreground", "Background", "Orphan", "nil"`,
    );
}

/** The finalizers that the garbage collector is to work on for this deletion. */
function finalizersFor(object: Stored, options: DeleteOptions): readonly string[] {
  const before = object.metadata.finalizers ?? [];
  const policy =
    options.propagationPolicy ?? (options.orphanDependents === undefined ? undefined : options.orphanDependents ? "Orphan" : "Background");
  if (policy === undefined) return before;
  const rest = before.filter((f) => f !== orphan && f !== foreground);
  const wanted = policy === "Orphan" ? orphan : policy === "Foreground" ? foreground : undefined;
  if (!wanted) return rest.length === before.length ? before : rest;
  return before.includes(wanted) && rest.length === before.length - 1 ? before : [...rest, wanted];
}

type Step = "gone" | "unchanged" | Fresh;

/** What a request to delete makes of an object. */
export function deletionStep(resource: Resource, object: Stored, options: DeleteOptions, now: number): Step {
  const { strategy } = resource;
  const meta = object.metadata;
  const finalizers = finalizersFor(object, options);
  const held = finalizers.length > 0 || (strategy.heldBack?.(object) ?? false);
  const before = meta.deletionGracePeriodSeconds ?? 0;
  const grace = strategy.gracePeriod?.(object, options.gracePeriodSeconds) ?? 0;
  let at: number;
  let period: number;
  if (meta.deletionTimestamp) {
    // A deletion that is under way can only be shortened.
    const shorter = before > 0 && options.gracePeriodSeconds !== undefined && grace < before;
    period = shorter ? grace : before;
    at = Date.parse(meta.deletionTimestamp) - (before - period) * 1000;
  } else {
    period = grace;
    at = now + period * 1000;
  }
  if (!held && period === 0) return "gone";
  if (meta.deletionTimestamp && period === before && finalizers === (meta.finalizers ?? finalizers)) return "unchanged";
  const next: Fresh = { ...object, metadata: { ...meta } } as Fresh;
  next.metadata.deletionTimestamp = timestamp(at);
  next.metadata.deletionGracePeriodSeconds = period;
  if (finalizers.length) next.metadata.finalizers = [...finalizers];
  else delete next.metadata.finalizers;
  if (!meta.deletionTimestamp && meta.generation) next.metadata.generation = meta.generation + 1;
  strategy.markDeleted?.(next);
  return next;
}

export interface Deleted {
  entry: Entry;
  /** False where it waits for a grace period or finalizers. */
  gone: boolean;
}

export async function remove(
  registry: Registry,
  resource: Resource,
  context: RequestContext,
  namespace: string | undefined,
  name: string,
  options: DeleteOptions = {},
): Promise<Deleted> {
  checkDeleteOptions(options);
  const { admission } = registry;
  const { info, storage, bucket } = resource;
  let dry: Deleted | undefined;
  const hook = hookOf(registry, resource);
  let claim: Claim | undefined;
  const change = async (current: Entry | undefined): Promise<Change> => {
    await claim?.settle(false);
    claim = undefined;
    if (!current) throw notFound(named(resource), name);
    const old = current.object as Stored;
    await admission.admit({ operation: "delete", kind: info, object: old as Fresh, old, context });
    checkPreconditions(named(resource), old, options.preconditions);
    const step = deletionStep(resource, old, options, registry.now());
    dry =
      step === "gone" || step === "unchanged"
        ? { entry: current, gone: step === "gone" }
        : { entry: new Entry(current.key, current.revision, step), gone: false };
    if (context.dryRun || step === "unchanged") return { keep: true };
    if (step === "gone") {
      claim = await hook?.delete?.(old);
      return { delete: true, along: claim?.along };
    }
    const next = { ...step, metadata: { ...step.metadata } };
    delete next.metadata.resourceVersion;
    return { put: next };
  };
  const result = await storage.update(bucket, objectKey(namespace, name), change).catch(async (error: unknown) => {
    await claim?.settle(mayHaveHappened(error) ? undefined : false);
    throw error;
  });
  await claim?.settle(result.deleted);
  if (context.dryRun && dry) return { entry: view(resource, dry.entry), gone: dry.gone };
  if (!result.entry) throw notFound(named(resource), name);
  return { entry: view(resource, result.entry), gone: result.deleted };
}

/** Objects deleted at the same time by one DELETE of a collection. */
const deleteWorkers = 16;

/** Deletes what a list selects; returns the states that were deleted. */
export async function removeCollection(
  registry: Registry,
  resource: Resource,
  context: RequestContext,
  namespace: string | undefined,
  options: DeleteOptions,
  selection: ListOptions,
): Promise<{ entries: Entry[]; resourceVersion: string }> {
  checkDeleteOptions(options);
  const found = await list(resource, namespace, selection);
  const entries: Entry[] = [];
  const queue = [...found.entries];
  const worker = async () => {
    for (let e = queue.shift(); e; e = queue.shift()) {
      const { namespace: ns, name = "" } = e.object.metadata;
      try {
        entries.push((await remove(registry, resource, context, ns, name, options)).entry);
      } catch (error) {
        if ((error as { reason?: string }).reason !== "NotFound") throw error;
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(deleteWorkers, queue.length) }, worker));
  return { entries, resourceVersion: found.resourceVersion };
}
