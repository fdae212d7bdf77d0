// CREATE and UPDATE as every resource does them (k8s.io/apiserver/pkg/registry/rest
// and .../generic/registry), with what its strategy adds.
import { decodeJson } from "../../api/codec/json.ts";
import { copy, deepEqual } from "../../api/equal.ts";
import type { KubeObject } from "../../api/object.ts";
import { apiVersion } from "../../api/object.ts";
import type { KindInfo } from "../../api/schema.ts";
import { alreadyExists, badRequest, conflict, type FieldError, invalid, isAlreadyExists, notFound } from "../../api/status.ts";
import { validate } from "../../api/validation/mod.ts";
import type { RequestContext } from "../request.ts";
import { Entry } from "../storage/entry.ts";
import { mayHaveHappened, Overtaken } from "../storage/errors.ts";
import { objectKey } from "../storage/keys.ts";
import { trackUpdate } from "./managed.ts";
import { named, view } from "./read.ts";
import { type Claim, generateName, guardOf, hookOf, type Registry, timestamp } from "./registry.ts";
import type { Resource } from "./resources.ts";
import type { Fresh, Stored } from "./strategy.ts";

export const modifiedText = "the object has been modified; please apply your changes to the latest version and try again";
/** How often a name is made up before the request fails (1.30 and later). */
const nameAttempts = 8;

const toStored = (resource: Resource, object: Fresh): Fresh =>
  resource.conversion ? (resource.conversion.toStored(object) as Fresh) : object;
const fromStored = (resource: Resource, object: KubeObject): KubeObject =>
  resource.conversion ? resource.conversion.fromStored(object) : object;

/** kind and apiVersion first, as upstream writes them, and metadata next. */
function identify(resource: Resource, object: Fresh): Fresh {
  const { kind: _, apiVersion: __, metadata, ...rest } = object;
  return { kind: resource.info.kind, apiVersion: apiVersion(resource.info), metadata: metadata ?? {}, ...rest } as Fresh;
}

/** Throws where a body names another namespace than the path; fills in the path's. */
export function checkNamespace(resource: Resource, object: Fresh, namespace: string | undefined): void {
  object.metadata ??= {};
  const own = object.metadata.namespace;
  if (!resource.info.namespaced) {
    if (own) throw badRequest("namespace must be empty on this type of request");
    return;
  }
  if (own && own !== namespace) throw badRequest("the namespace of the provided object does not match the namespace sent on the request");
  object.metadata.namespace = namespace;
}

interface CreateOptions {
  readonly tracked?: boolean;
  /** The path's name, where a PUT or an apply creates. */
  readonly name?: string;
}

/** Stores a new object, which the caller gives away. */
export async function create(
  registry: Registry,
  resource: Resource,
  context: RequestContext,
  namespace: string | undefined,
  object: Fresh,
  options: CreateOptions = {},
): Promise<Entry> {
  checkNamespace(resource, object, namespace);
  const generated = !object.metadata.name && !!object.metadata.generateName;
  if (!generated) return createNamed(registry, resource, context, object, options);
  for (let attempt = 1; ; attempt++) {
    const next = attempt < nameAttempts ? copy(object) : object;
    next.metadata.name = generateName(object.metadata.generateName!);
    try {
      return await createNamed(registry, resource, context, next as Fresh, options);
    } catch (error) {
      if (!isAlreadyExists(error) || attempt === nameAttempts) throw error;
    }
  }
}

async function createNamed(
  registry: Registry,
  resource: Resource,
  context: RequestContext,
  given: Fresh,
  { tracked, name }: CreateOptions,
): Promise<Entry> {
  const { admission } = registry;
  const { info, strategy, storage, bucket } = resource;
  const now = timestamp(registry.now());
  let object = identify(resource, given);
  const meta = object.metadata;
  if (meta.resourceVersion) throw badRequest("resourceVersion should not be set on objects to be created");
  meta.uid = crypto.randomUUID();
  meta.creationTimestamp = now;
  for (const field of ["deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "generation"] as const) delete meta[field];

  object = toStored(resource, object);
  const namespace = object.metadata.namespace;
  await admission.admit({ operation: "create", kind: info, object, context });
  const wait = guardOf(registry, resource)?.({ object, context, ...(name ? { name } : {}) });
  if (wait) await wait;
  if (strategy.generation) object.metadata.generation = 1;
  if (info.subresources.includes("status") && !strategy.statusWithSpec) {
    const status = emptyStatus(info);
    if (status === undefined) delete object.status;
    else object.status = status;
  }
  strategy.prepareCreate?.(object, context);
  if (!tracked) trackUpdate(info, undefined, object, context, "", now);
  refuse(resource, object, validate(info, object));

  const key = objectKey(namespace, object.metadata.name!);
  const hook = hookOf(registry, resource);
  for (;;) {
    const attempt = hook?.create ? (copy(object) as Fresh) : object;
    const claim = await hook?.create?.(attempt, context);
    let stored: boolean | undefined = false;
    try {
      if (context.dryRun) {
        if (await storage.get(bucket, key)) throw alreadyExists(named(resource), object.metadata.name!);
        return view(resource, new Entry(key, 0, attempt));
      }
      const entry = await storage.create(bucket, key, attempt, strategy.ttl, claim?.along);
      if (!entry) throw alreadyExists(named(resource), object.metadata.name!);
      stored = true;
      return view(resource, entry);
    } catch (error) {
      if (mayHaveHappened(error)) stored = undefined;
      if (!(error instanceof Overtaken)) throw error;
    } finally {
      await claim?.settle(stored);
    }
    await storage.whole();
  }
}

const statuses = new Map<string, unknown>();

/** The status of a kind that nobody has reported yet: what Go writes of its zero value. */
function emptyStatus(info: KindInfo): unknown {
  if (!statuses.has(info.message)) statuses.set(info.message, decodeJson(info.message, {}).object.status);
  return copy(statuses.get(info.message));
}

function refuse(resource: Resource, object: KubeObject, errors: FieldError[]): void {
  if (errors.length) throw invalid({ group: resource.info.group, kind: resource.info.kind }, object.metadata.name ?? "", errors);
}

/**
 * Makes the next state from the current one, which is frozen and in the
 * resource's version; undefined where there is none. Called again after a
 * conflict. What it returns belongs to the caller of it.
 */
export type Transform = (current: KubeObject | undefined) => Promise<Fresh> | Fresh;

export interface UpdateOptions {
  /** "" or "status"; others bring a strategy of their own. */
  readonly subresource?: string;
  /** Stands in for the strategy: what a subresource takes over from the next state. */
  readonly prepare?: (next: Fresh, old: Stored) => void;
  /** An absent object may be created; called before, and throws where the user may not. */
  readonly create?: () => void;
  /** The transform says itself who manages what, as an apply does. */
  readonly tracked?: boolean;
  /** The body's resourceVersion is no precondition, as in patches without one. */
  readonly unconditional?: boolean;
}

/** Changes an object. `created` tells that there was none. */
export async function update(
  registry: Registry,
  resource: Resource,
  context: RequestContext,
  namespace: string | undefined,
  name: string,
  transform: Transform,
  options: UpdateOptions = {},
): Promise<{ entry: Entry; created: boolean }> {
  const { strategy, storage, bucket } = resource;
  const key = objectKey(namespace, name);
  let claim: Claim | undefined;
  let created = false;
  let dry: Entry | undefined;
  let absent: Fresh | undefined;
  const result = await storage
    .update(bucket, key, async (current) => {
      await claim?.settle(false);
      claim = undefined;
      absent = undefined;
      if (!current) {
        if (!options.create || options.subresource) throw notFound(named(resource), name);
        options.create();
        absent = await transform(undefined);
        return { keep: true };
      }
      const old = current.object as Stored;
      const next = await advance(registry, resource, context, name, old, await transform(fromStored(resource, old)), options);
      if (next === "gone") {
        if (context.dryRun) return { keep: true };
        claim = await hookOf(registry, resource)?.delete?.(old);
        return { delete: true, along: claim?.along };
      }
      if (next === undefined) {
        dry = current;
        return { keep: true };
      }
      if (context.dryRun) {
        next.metadata.resourceVersion = old.metadata.resourceVersion;
        dry = new Entry(key, current.revision, next);
        return { keep: true };
      }
      if (!options.subresource) claim = await hookOf(registry, resource)?.update?.(next, old, context);
      delete next.metadata.resourceVersion;
      return { put: next, along: claim?.along, ...(strategy.ttl ? { ttl: strategy.ttl } : {}) };
    })
    .catch(async (error: unknown) => {
      await claim?.settle(mayHaveHappened(error) ? undefined : false);
      throw error;
    });
  await claim?.settle(result.changed);
  if (absent) {
    created = true;
    absent.metadata ??= {};
    if (absent.metadata.uid)
      throw conflict(named(resource), name, `Precondition failed: UID in precondition: ${absent.metadata.uid}, UID in object meta: `);
    if (absent.metadata.resourceVersion && absent.metadata.resourceVersion !== "0") throw conflict(named(resource), name, modifiedText);
    delete absent.metadata.resourceVersion;
    absent.metadata.name ??= name;
    if (absent.metadata.name !== name) throw nameMismatch(absent.metadata.name, name);
    try {
      return { entry: await create(registry, resource, context, namespace, absent, { tracked: options.tracked, name }), created };
    } catch (error) {
      // Somebody else was faster; there is an object to update now.
      if (isAlreadyExists(error)) return update(registry, resource, context, namespace, name, transform, options);
      throw error;
    }
  }
  return { entry: view(resource, (context.dryRun && dry) || result.entry!), created };
}

const nameMismatch = (body: string, path: string) =>
  badRequest(`the name of the object (${body}) does not match the name on the URL (${path})`);

/** The state to store: undefined where nothing changes, "gone" where the last finalizer went. */
async function advance(
  registry: Registry,
  resource: Resource,
  context: RequestContext,
  name: string,
  old: Stored,
  given: Fresh,
  options: UpdateOptions,
): Promise<Fresh | "gone" | undefined> {
  const { admission } = registry;
  const { info, strategy } = resource;
  const { subresource = "" } = options;
  given = identify(resource, given);
  const namespace = old.metadata.namespace;
  checkNamespace(resource, given, namespace);
  const next = toStored(resource, given);
  const meta = next.metadata;
  meta.name ??= name;
  if (meta.name !== name) throw nameMismatch(meta.name, name);
  if (meta.uid && meta.uid !== old.metadata.uid)
    throw conflict(named(resource), name, `Precondition failed: UID in precondition: ${meta.uid}, UID in object meta: ${old.metadata.uid}`);
  if (meta.resourceVersion && meta.resourceVersion !== "0" && !options.unconditional) {
    if (meta.resourceVersion !== old.metadata.resourceVersion) throw conflict(named(resource), name, modifiedText);
  } else if (strategy.conditionalUpdate && !options.unconditional) {
    refuse(resource, next, [
      { reason: "FieldValueInvalid", field: "metadata.resourceVersion", message: 'Invalid value: "0x0": must be specified for an update' },
    ]);
  }
  keepSystemFields(meta, old.metadata);
  await admission.admit({ operation: "update", kind: info, subresource, object: next, old, context });
  const wait = subresource ? undefined : guardOf(registry, resource)?.({ object: next, old, name, context });
  if (wait) await wait;
  if (options.prepare) options.prepare(next, old);
  else if (subresource === "status") prepareStatus(resource, next, old);
  else prepareSpec(resource, next, old, context);
  meta.generation = old.metadata.generation;
  if (strategy.generation && changed(resource, next, old)) meta.generation = (old.metadata.generation ?? 0) + 1;
  if (meta.generation === undefined) delete meta.generation;
  if (!options.tracked) trackUpdate(info, old, next, context, subresource, timestamp(registry.now()));
  // Subresources change what an ordinary update may not; their own rules were applied when they prepared the object.
  refuse(resource, next, options.prepare ? validate(info, next) : validate(info, next, old));
  if (meta.deletionTimestamp && !meta.finalizers?.length && !meta.deletionGracePeriodSeconds && !strategy.heldBack?.(next)) return "gone";
  meta.resourceVersion = old.metadata.resourceVersion;
  return deepEqual(next, old) ? undefined : next;
}

/** What only the server sets stays as it is. */
function keepSystemFields(meta: Fresh["metadata"], old: KubeObject["metadata"]): void {
  for (const field of ["uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"] as const) {
    if (old[field] === undefined) delete meta[field];
    else (meta as Record<string, unknown>)[field] = old[field];
  }
  delete meta.selfLink;
  if (old.generateName && !meta.generateName) meta.generateName = old.generateName;
}

function prepareSpec(resource: Resource, next: Fresh, old: Stored, context: RequestContext): void {
  const { strategy, info } = resource;
  if (info.subresources.includes("status") && !strategy.statusWithSpec) {
    if (old.status === undefined) delete next.status;
    else next.status = old.status;
  }
  strategy.prepareUpdate?.(next, old, context);
}

/** A status update changes status, and of metadata what the strategy lets it. */
function prepareStatus(resource: Resource, next: Fresh, old: Stored): void {
  for (const key of new Set([...Object.keys(next), ...Object.keys(old)])) {
    if (key === "kind" || key === "apiVersion" || key === "metadata" || key === "status") continue;
    if (old[key] === undefined) delete next[key];
    else next[key] = old[key];
  }
  for (const key of resource.strategy.statusKeeps ?? []) {
    if (old.metadata[key] === undefined) delete next.metadata[key];
    else (next.metadata as Record<string, unknown>)[key] = old.metadata[key];
  }
  resource.strategy.prepareStatus?.(next, old);
}

function changed(resource: Resource, next: Stored, old: Stored): boolean {
  const rule = resource.strategy.generation;
  return rule === true ? !deepEqual(next.spec, old.spec) : (rule?.(next, old) ?? false);
}
