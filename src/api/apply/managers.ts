// The managers of an object's fields, as they stand in metadata.managedFields.
import type { ManagedFieldsEntry } from "../gen/meta/v1.ts";
import { emptySet, type FieldSet, isEmpty, union } from "./sets.ts";

export interface Manager {
  readonly manager: string;
  readonly operation: "Apply" | "Update";
  readonly apiVersion: string;
  readonly subresource: string;
  /** RFC 3339, whole seconds; absent in entries that never had one. */
  readonly time?: string;
  readonly set: FieldSet;
}

/** Managers by identity: those who apply keep theirs over API versions. */
export type Managers = Map<string, Manager>;

/** Most Update entries of an object; older ones are united. */
const maxUpdateManagers = 10;
const ancientChanges = "ancient-changes";

export const identity = (m: Pick<Manager, "manager" | "operation" | "apiVersion" | "subresource">): string =>
  JSON.stringify([m.manager, m.operation, m.operation === "Apply" ? "" : m.apiVersion, m.subresource]);

/** Reads managedFields; undefined when an entry is not understood. */
export function decodeManagers(entries: readonly ManagedFieldsEntry[] | null | undefined): Managers | undefined {
  const managers: Managers = new Map();
  for (const e of entries ?? []) {
    if (e.operation !== "Apply" && e.operation !== "Update") return undefined;
    if (e.fieldsType !== "FieldsV1" || !e.apiVersion) return undefined;
    const m: Manager = {
      manager: e.manager ?? "",
      operation: e.operation as "Apply" | "Update",
      apiVersion: e.apiVersion,
      subresource: e.subresource ?? "",
      time: e.time ?? undefined,
      set: (e.fieldsV1 ?? emptySet) as FieldSet,
    };
    managers.set(identity(m), m);
  }
  return managers;
}

function encode(m: Manager): ManagedFieldsEntry {
  return {
    ...(m.manager ? { manager: m.manager } : {}),
    operation: m.operation,
    apiVersion: m.apiVersion,
    ...(m.time ? { time: m.time } : {}),
    fieldsType: "FieldsV1",
    fieldsV1: m.set,
    ...(m.subresource ? { subresource: m.subresource } : {}),
  };
}

const order = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0);

/** The entries in upstream's order: who applies first, then by age. */
export function encodeManagers(managers: Managers): ManagedFieldsEntry[] {
  return [...managers.values()]
    .filter((m) => !isEmpty(m.set))
    .sort(
      (a, b) =>
        order(a.operation, b.operation) ||
        order(a.time ?? "", b.time ?? "") ||
        order(a.manager, b.manager) ||
        order(a.apiVersion, b.apiVersion) ||
        order(a.subresource, b.subresource),
    )
    .map(encode);
}

/** Unites the oldest Update entries of a version until no more than ten are left. */
export function capManagers(managers: Managers): void {
  const updaters = [...managers].filter(([, m]) => m.operation === "Update");
  let left = updaters.length;
  if (left <= maxUpdateManagers) return;
  updaters.sort(([a, x], [b, y]) => order(x.time ?? "", y.time ?? "") || order(a, b));
  const first = new Map<string, string>();
  for (const [id, m] of updaters) {
    if (left <= maxUpdateManagers) return;
    const earlier = first.get(m.apiVersion);
    if (earlier === undefined) {
      first.set(m.apiVersion, id);
      continue;
    }
    const bucket: Manager = {
      manager: ancientChanges,
      operation: "Update",
      apiVersion: m.apiVersion,
      subresource: "",
      time: m.time,
      set: m.set,
    };
    const bucketId = identity(bucket);
    const kept = managers.get(bucketId) ?? managers.get(earlier)!;
    if (earlier !== bucketId) managers.delete(earlier);
    managers.delete(id);
    managers.set(bucketId, { ...bucket, set: union(kept.set, m.set) });
    first.set(m.apiVersion, bucketId);
    left--;
  }
}
