// Who manages which field of an object, and server-side apply
// (sigs.k8s.io/structured-merge-diff and apimachinery's managedfields).
import { decodeJson } from "../codec/json.ts";
import { deepEqual, deepFreeze } from "../equal.ts";
import type { ManagedFieldsEntry } from "../gen/meta/v1.ts";
import { badRequest, StatusError } from "../status.ts";
import { type Comparison, compare, unowned } from "./compare.ts";
import { applyConflict, type Conflict } from "./conflicts.ts";
import { fieldSetOf, TypedError, withNamedFields } from "./fieldset.ts";
import { capManagers, decodeManagers, encodeManagers, identity, type Manager, type Managers } from "./managers.ts";
import { merge, remove } from "./merge.ts";
import {
  difference,
  emptySet,
  equalSets,
  type FieldSet,
  insert,
  intersection,
  intersects,
  isEmpty,
  recursiveDifference,
  union,
} from "./sets.ts";
import { type MergeType, mergeTypeOf } from "./types.ts";

type Json = Record<string, unknown>;

export interface ManagerOptions {
  /** Full name of the object's message. */
  message: string;
  /** The field manager, as in the request or guessed from its user agent. */
  manager: string;
  /** "apps/v1" */
  apiVersion: string;
  /** Of the change, RFC 3339. */
  time: string;
  /** As in the request's path; absent or "" for the object itself. */
  subresource?: string;
  /** Paths that this endpoint does not write, such as "status" or "metadata.labels". */
  resetFields?: readonly string[];
}

export interface ApplyOptions extends ManagerOptions {
  /** Take fields that others manage. */
  force?: boolean;
}

export interface Applied {
  /** The object to admit, default and validate: live and configuration merged, managedFields set. Not yet canonical. */
  object: Json;
  /** False when neither the object nor the managers' fields differ from live. */
  changed: boolean;
}

const stripped: FieldSet = {};
for (const path of [["f:apiVersion"], ["f:kind"], ["f:metadata"], ...[...unowned].map((name) => ["f:metadata", `f:${name}`])])
  insert(stripped, path);

const resets = new WeakMap<readonly string[], FieldSet>();

function resetSet(paths: readonly string[] | undefined): FieldSet {
  if (!paths || paths.length === 0) return emptySet;
  let set = resets.get(paths);
  if (!set) {
    set = {};
    for (const p of paths)
      insert(
        set,
        p.split(".").map((name) => `f:${name}`),
      );
    resets.set(paths, set);
  }
  return set;
}

const empties = new Map<string, Json>();

/** What an object of the message is before it has been given anything. */
function emptyObject(message: string): Json {
  let object = empties.get(message);
  if (!object) {
    object = deepFreeze(decodeJson(message, {}).object);
    empties.set(message, object);
  }
  return object;
}

const metadataOf = (object: Json | undefined) => object?.metadata as { managedFields?: ManagedFieldsEntry[] | null } | undefined;

/** Entries of the request if they are usable, else those of the live object. */
function managersOf(
  live: Json | undefined,
  next: Json,
  options: ManagerOptions,
): { managers: Managers; entries?: ManagedFieldsEntry[] | null } {
  const liveEntries = metadataOf(live)?.managedFields;
  const fromLive = () => ({ managers: decodeManagers(liveEntries) ?? new Map<string, Manager>(), entries: liveEntries });
  if (options.subresource) return fromLive();
  const entries = metadataOf(next)?.managedFields;
  // One empty entry is how a client says: forget all managers.
  if (entries?.length === 1 && isEmpty(entries[0] as FieldSet)) return { managers: new Map() };
  const managers = decodeManagers(entries);
  return managers === undefined || managers.size === 0 ? fromLive() : { managers, entries };
}

const exclude = (c: Comparison, ignored: FieldSet): Comparison =>
  isEmpty(ignored)
    ? c
    : {
        added: recursiveDifference(c.added, ignored),
        modified: recursiveDifference(c.modified, ignored),
        removed: recursiveDifference(c.removed, ignored),
      };

/** Takes paths from every manager but one; those left with nothing go. */
function takeFrom(managers: Managers, paths: FieldSet, except?: string): void {
  if (isEmpty(paths)) return;
  for (const [id, m] of managers) {
    if (id === except) continue;
    const set = difference(m.set, paths);
    if (set === m.set) continue;
    if (isEmpty(set)) managers.delete(id);
    else managers.set(id, { ...m, set });
  }
}

/**
 * The managedFields of an object that a create, update or patch leaves behind.
 * @param live the stored object; absent on create
 * @param next the object to be stored, canonical, with the managedFields of the request
 */
export function updateManagedFields(live: object | undefined, next: object, options: ManagerOptions): ManagedFieldsEntry[] | undefined {
  const { managers, entries } = managersOf(live as Json | undefined, next as Json, options);
  // An object that nobody has been tracked on stays so, until someone applies.
  if (live !== undefined && managers.size === 0) return undefined;
  update(managers, (live as Json | undefined) ?? emptyObject(options.message), next as Json, options);
  const result = encodeManagers(managers);
  return sameEntries(entries, result) ? (entries ?? undefined) : result.length > 0 ? result : undefined;
}

function sameEntries(a: readonly ManagedFieldsEntry[] | null | undefined, b: ManagedFieldsEntry[]): boolean {
  return (
    a?.length === b.length &&
    b.every(
      (e, i) => e.fieldsV1 === a[i]!.fieldsV1 && e.time === a[i]!.time && e.manager === a[i]!.manager && e.apiVersion === a[i]!.apiVersion,
    )
  );
}

function update(managers: Managers, live: Json, next: Json, options: ManagerOptions): void {
  const c = exclude(compare(mergeTypeOf(options.message), live, next), resetSet(options.resetFields));
  const own = difference(union(c.added, c.modified), stripped);
  takeFrom(managers, union(own, c.removed));
  if (isEmpty(own)) return;
  const fresh: Manager = {
    manager: options.manager,
    operation: "Update",
    apiVersion: options.apiVersion,
    subresource: options.subresource ?? "",
    time: options.time,
    set: own,
  };
  const id = identity(fresh);
  const before = managers.get(id);
  managers.set(id, before ? { ...fresh, set: union(before.set, own) } : fresh);
  capManagers(managers);
}

/**
 * Server-side apply of a configuration.
 * @param live the stored object; absent when the apply creates it
 * @param config the parsed configuration as the client sent it
 * @throws StatusError 409 when others manage what would change and force is not set
 */
export function apply(live: object | undefined, config: object, options: ApplyOptions): Applied {
  const patch = config as Json;
  checkConfiguration(patch, options);
  const type = mergeTypeOf(options.message);
  const base = (live as Json | undefined) ?? emptyObject(options.message);
  const managers: Managers = (live && decodeManagers(metadataOf(base)?.managedFields)) || new Map<string, Manager>();
  if (live && managers.size === 0) {
    update(managers, emptyObject(options.message), base, { ...options, manager: "before-first-apply", subresource: "" });
  }
  const before = new Map(managers);
  const ignored = resetSet(options.resetFields);
  const configured = recursiveDifference(configuredPaths(type, patch, options), ignored);
  const set = difference(configured, stripped);
  const applier: Manager = {
    manager: options.manager,
    operation: "Apply",
    apiVersion: options.apiVersion,
    subresource: options.subresource ?? "",
    set,
  };
  const id = identity(applier);
  const last = managers.get(id);
  managers.set(id, { ...applier, time: last?.time });
  const merged = merge(type, base, patch) as Json;
  const object = prune(type, merged, managers, last && recursiveDifference(last.set, ignored), configured) as Json;

  const c = exclude(compare(type, base, object), ignored);
  const changes = union(c.added, c.modified);
  if (!options.force) refuseConflicts(type, base, managers, id, changes, options);
  takeFrom(managers, union(changes, c.removed), id);
  const isSame = isEmpty(changes) && isEmpty(c.removed);
  if (isEmpty(set)) managers.delete(id);
  else managers.set(id, { ...applier, time: isSame ? (last?.time ?? options.time) : options.time });
  capManagers(managers);

  const metadata: Json = { ...(object.metadata as Json) };
  const changed = !isSame || !sameManagers(before, managers);
  if (changed) metadata.managedFields = encodeManagers(managers);
  if (options.manager === "kubectl") syncLastApplied(base, patch, metadata);
  return { object: { ...object, metadata }, changed };
}

function checkConfiguration(patch: Json, options: ApplyOptions): void {
  if ((metadataOf(patch)?.managedFields?.length ?? 0) > 0) throw badRequest("metadata.managedFields must be nil");
  if (patch.apiVersion !== options.apiVersion)
    throw badRequest(
      `Incorrect version specified in apply patch. Specified version: ${String(patch.apiVersion ?? "")}, expected: ${options.apiVersion}`,
    );
}

function configuredPaths(type: MergeType, patch: Json, options: ApplyOptions): FieldSet {
  try {
    return fieldSetOf(type, patch, true);
  } catch (error) {
    if (!(error instanceof TypedError)) throw error;
    const m = (patch.metadata ?? {}) as { namespace?: string; name?: string };
    const gvk = `${options.apiVersion}, Kind=${String(patch.kind ?? "")}`;
    const message = `failed to create typed patch object (${m.namespace ?? ""}/${m.name ?? ""}; ${gvk}): ${error.message}`;
    throw new StatusError({ kind: "Status", apiVersion: "v1", metadata: {}, status: "Failure", message, code: 500 }, { cause: error });
  }
}

/** Takes out what the manager applied last time, no longer applies, and nobody else manages. */
function prune(type: MergeType, merged: Json, managers: Managers, last: FieldSet | undefined, configured: FieldSet): unknown {
  if (last === undefined || isEmpty(difference(last, configured))) return merged;
  const named = (s: FieldSet) => withNamedFields(type, s);
  const lastPaths = named(last);
  const mergedPaths = named(fieldSetOf(type, merged));
  let managed = configured;
  for (const m of managers.values()) managed = union(managed, m.set);
  // Without all of it, then with what someone still manages put back, then with what was never this manager's.
  let pruned = remove(type, merged, lastPaths);
  pruned = remove(type, merged, difference(mergedPaths, union(named(fieldSetOf(type, pruned)), named(managed))));
  return remove(type, merged, intersection(difference(mergedPaths, named(fieldSetOf(type, pruned))), lastPaths));
}

function refuseConflicts(type: MergeType, live: Json, managers: Managers, self: string, changes: FieldSet, options: ApplyOptions): void {
  if (isEmpty(changes)) return;
  const conflicts: Conflict[] = [];
  let allowed: FieldSet | undefined;
  for (const [id, manager] of managers) {
    if (id === self || !intersects(manager.set, changes)) continue;
    allowed ??= options.manager === "kubectl" ? lastAppliedPaths(type, live) : emptySet;
    const set = difference(intersection(manager.set, changes), allowed);
    if (!isEmpty(set)) conflicts.push({ manager, set });
  }
  if (conflicts.length > 0) throw applyConflict(conflicts);
}

const lastAppliedAnnotation = "kubectl.kubernetes.io/last-applied-configuration";

/** What kubectl itself applied client-side and nobody has changed since: it may take that over without force. */
function lastAppliedPaths(type: MergeType, live: Json): FieldSet {
  const text = (live.metadata as { annotations?: Record<string, string> } | undefined)?.annotations?.[lastAppliedAnnotation];
  if (text === undefined) return emptySet;
  let applied: unknown;
  try {
    applied = JSON.parse(text);
  } catch (error) {
    // Any client may write the annotation; what it does not say allows nothing.
    if (error instanceof SyntaxError) return emptySet;
    throw error;
  }
  const c = compare(type, applied, live);
  return difference(fieldSetOf(type, applied), union(c.added, union(c.modified, c.removed)));
}

/** Keeps the annotation of an object that was once applied client-side in step. */
function syncLastApplied(live: Json, patch: Json, metadata: Json): void {
  const annotations = (live.metadata as { annotations?: Record<string, string> }).annotations;
  if (annotations?.[lastAppliedAnnotation] === undefined) return;
  const own = { ...(patch.metadata as Json) };
  const { [lastAppliedAnnotation]: _, ...rest } = (own.annotations ?? {}) as Record<string, string>;
  own.annotations = rest;
  metadata.annotations = {
    ...(metadata.annotations as Json | undefined),
    [lastAppliedAnnotation]: `${JSON.stringify({ ...patch, metadata: own })}\n`,
  };
}

function sameManagers(a: Managers, b: Managers): boolean {
  if (a.size !== b.size) return false;
  for (const [id, m] of b) {
    const other = a.get(id);
    if (!other || !equalSets(other.set, m.set) || other.apiVersion !== m.apiVersion) return false;
  }
  return true;
}

/** Whether two versions of an object are the same but for the times of its managers: not worth a write. */
export function differsOnlyInManagerTimes(a: object, b: object): boolean {
  const strip = (object: object): Json => {
    const metadata = (object as Json).metadata as Json;
    const entries = metadata.managedFields as ManagedFieldsEntry[] | undefined;
    const managedFields = entries?.map(({ time: _, ...rest }) => rest);
    return { ...object, metadata: { ...metadata, managedFields } };
  };
  return deepEqual(strip(a), strip(b));
}
