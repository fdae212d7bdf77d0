// Strategic merge patch: a merge patch that knows from the schema how lists
// merge (k8s.io/apimachinery/pkg/util/strategicpatch).
import { deepEqual, setKey } from "../equal.ts";
import { type FieldSchema, messageSchema } from "../schema.ts";
import { isObject, PatchError } from "./errors.ts";
import { orderByPatch, orderBySetElementOrder } from "./order.ts";

type Json = Record<string, unknown>;

const directive = "$patch";
const retainKeys = "$retainKeys";
const deletePrimitives = "$deleteFromPrimitiveList/";
const setElementOrder = "$setElementOrder/";

const malformed = (message: string) => new PatchError("malformed", message);
const show = (value: unknown) => JSON.stringify(value);

/** How one field merges. */
interface Rule {
  /** Message of the field, or of its elements. */
  message?: string;
  mergeList: boolean;
  replaceMap: boolean;
  mergeKey: string;
}
const plain: Rule = { mergeList: false, replaceMap: false, mergeKey: "" };

const ruleOf = (message: string | undefined, key: string): Rule => {
  const f: FieldSchema | undefined = message === undefined ? undefined : messageSchema(message).byJsonName.get(key);
  if (!f) return plain;
  return {
    message: f.message !== undefined && messageSchema(f.message).json === "OBJECT" && !f.map ? f.message : undefined,
    mergeList: f.list === true && f.patchStrategy?.includes("merge") === true,
    replaceMap: f.patchStrategy?.includes("replace") === true,
    mergeKey: f.patchMergeKey ?? "",
  };
};

/** A value of the patch that meets nothing in the original: without directives and nulls. */
function fresh(value: unknown): unknown {
  if (Array.isArray(value)) return value.filter((v) => !(isObject(v) && directive in v)).map(fresh);
  if (!isObject(value)) return value;
  const out: Json = {};
  for (const key in value) {
    if (key === directive || key === retainKeys || key.startsWith(deletePrimitives) || key.startsWith(setElementOrder)) continue;
    if (value[key] !== null) setKey(out, key, fresh(value[key]));
  }
  return out;
}

function keepOnly(original: Json, patch: Json): void {
  const list = patch[retainKeys];
  if (list === undefined) return;
  if (!Array.isArray(list)) throw malformed("invalid patch format of retainKeys");
  for (const key in patch) {
    if (key.startsWith("$") || patch[key] === null) continue;
    if (!list.includes(key)) throw malformed("invalid patch format of retainKeys");
  }
  for (const key in original) if (!list.includes(key)) delete original[key];
}

function mergeMap(original: Json, patch: Json, message: string | undefined): Json {
  const how = patch[directive];
  if (how !== undefined) {
    if (how === "replace") return fresh(patch) as Json;
    if (how === "delete") return {};
    if (how !== "merge") throw malformed(`unknown patch type: ${show(how)} in map: ${show(patch)}`);
  }
  const out: Json = { ...original };
  keepOnly(out, patch);
  const ordered = new Set<string>();
  for (const key in patch) {
    if (!key.startsWith(setElementOrder)) continue;
    const field = key.slice(setElementOrder.length);
    ordered.add(field);
    mergeOrdered(out, patch, field, patch[key], ruleOf(message, field));
  }
  for (const key in patch) {
    const v = patch[key];
    if (key === directive || key === retainKeys || key.startsWith(setElementOrder) || ordered.has(key)) continue;
    if (key.startsWith(deletePrimitives)) {
      const field = key.slice(deletePrimitives.length);
      const list = out[field];
      if (Array.isArray(list) && Array.isArray(v)) out[field] = list.filter((x) => !v.includes(x));
    } else if (v === null) delete out[key];
    else setKey(out, key, mergeValue(Object.hasOwn(out, key) ? out[key] : undefined, v, ruleOf(message, key)));
  }
  return out;
}

function mergeValue(original: unknown, patch: unknown, rule: Rule): unknown {
  if (isObject(patch)) return isObject(original) && !rule.replaceMap ? mergeMap(original, patch, rule.message) : freshMap(patch);
  if (Array.isArray(patch) && Array.isArray(original) && rule.mergeList) return mergeList(original, patch, rule);
  return fresh(patch);
}

/** An object that stands alone in the patch; only `$patch: delete` empties it. */
const freshMap = (patch: Json): unknown => (patch[directive] === "delete" ? {} : fresh(patch));

function mergeOrdered(out: Json, patch: Json, field: string, order: unknown, rule: Rule): void {
  if (!Array.isArray(order)) throw malformed(`invalid patch format of ${setElementOrder}${field}`);
  const original = out[field];
  const change = patch[field];
  if (change === null) {
    delete out[field];
    return;
  }
  if (!Array.isArray(original) && !Array.isArray(change)) return;
  let merged: unknown[];
  if (Array.isArray(original) && Array.isArray(change)) merged = mergeElements(original, change, rule);
  else merged = Array.isArray(original) ? original : (fresh(change) as unknown[]);
  setKey(out, field, orderBySetElementOrder(merged, order, Array.isArray(original) ? original : [], rule.mergeKey));
}

function mergeList(original: unknown[], patch: unknown[], rule: Rule): unknown[] {
  const merged = mergeElements(original, patch, rule);
  return orderByPatch(merged, patch, original, rule.mergeKey);
}

function mergeElements(original: unknown[], patch: unknown[], rule: Rule): unknown[] {
  if (!patch.some(isObject) && !original.some(isObject)) return [...new Set([...original, ...patch])];
  if (rule.mergeKey === "") throw malformed(`cannot merge lists without merge key for ${rule.message ?? "list"}`);
  const key = rule.mergeKey;
  let out = [...original];
  const changes: Json[] = [];
  let replace = false;
  for (const element of patch) {
    if (!isObject(element)) throw malformed(`delete patch type with no merge key defined: ${show(element)}`);
    const how = element[directive];
    if (how === undefined) {
      if (!(key in element)) throw malformed(`map: ${show(element)} does not contain declared merge key: ${key}`);
      changes.push(element);
    } else if (how === "delete") {
      if (!(key in element)) throw malformed(`map: ${show(element)} does not contain declared merge key: ${key}`);
      out = out.filter((x) => !(isObject(x) && deepEqual(x[key], element[key])));
    } else if (how === "replace") replace = true;
    else if (how === "merge") throw malformed("merging lists cannot yet be specified in the patch");
    else throw malformed(`unknown patch type: ${show(how)} in map: ${show(element)}`);
  }
  if (replace) return changes.map(fresh);
  for (const change of changes) {
    const at = out.findIndex((x) => isObject(x) && deepEqual(x[key], change[key]));
    if (at < 0) out.push(fresh(change));
    else out[at] = mergeMap(out[at] as Json, change, rule.message);
  }
  return out;
}

/** The object after the patch, `name` the full name of its message. Neither argument is changed. Throws a PatchError. */
export function applyStrategicMergePatch(original: unknown, patch: unknown, name: string): unknown {
  if (!isObject(patch)) throw malformed("invalid JSON document");
  return mergeMap(isObject(original) ? original : {}, patch, name);
}
