// Which objects of a collection a list or a watch is about.
import { type FieldSelector, parseFieldSelector, parseLabelSelector, SelectorError } from "../../api/selectors.ts";
import { badRequest } from "../../api/status.ts";
import type { Entry } from "../storage/entry.ts";
import { objectKey } from "../storage/keys.ts";
import type { Scope } from "../storage/storage.ts";
import type { Resource } from "./resources.ts";
import type { Stored } from "./strategy.ts";

export interface Selection {
  readonly namespace?: string;
  /** The one name that the selection can match. */
  readonly name?: string;
  /** An index of the cache, and the value it has to have. */
  readonly index?: { readonly index: string; readonly value: string };
  /** Absent: every object of the namespace. */
  readonly matches?: (entry: Entry) => boolean;
}

const basic = new Set(["metadata.name", "metadata.namespace"]);

function fieldNames(resource: Resource): ReadonlySet<string> {
  const empty = { metadata: {} } as Stored;
  return new Set([...basic, ...Object.keys(resource.strategy.fields?.(empty) ?? {})]);
}

const known = new WeakMap<Resource, ReadonlySet<string>>();

function parse<T>(what: string, read: (text: string) => T, text: string): T {
  try {
    return read(text);
  } catch (error) {
    if (error instanceof SelectorError) throw badRequest(`unable to parse ${what}: ${error.message}`);
    throw error;
  }
}

/** Reads the selectors of a request. Throws 400 on text that is none, and on fields the resource does not offer. */
export function select(resource: Resource, namespace: string | undefined, labels = "", fields = "", onlyName?: string): Selection {
  const label = labels === "" ? undefined : parse("label selector", parseLabelSelector, labels);
  let field: FieldSelector | undefined = fields === "" ? undefined : parse("field selector", parseFieldSelector, fields);
  if (field?.isEverything) field = undefined;
  if (field) {
    let names = known.get(resource);
    if (!names) {
      names = fieldNames(resource);
      known.set(resource, names);
    }
    for (const r of field.requirements)
      if (!names.has(r.field)) {
        const { group, version, plural } = resource.info;
        throw badRequest(
          `Unable to find ${JSON.stringify(`${group ? `${group}/` : ""}${version}, Resource=${plural}`)} that match label selector ${JSON.stringify(labels)}, field selector ${JSON.stringify(fields)}: field label not supported: ${r.field}`,
        );
      }
  }
  const name = onlyName ?? field?.requiresExact("metadata.name");
  const inNamespace = namespace ?? field?.requiresExact("metadata.namespace");
  const strategyFields = resource.strategy.fields;
  const matchers: ((e: Entry) => boolean)[] = [];
  if (label && !label.isEverything) matchers.push((e) => label.matches(e.object.metadata.labels));
  if (onlyName !== undefined) matchers.push((e) => e.object.metadata.name === onlyName);
  if (field) {
    const selector = field;
    matchers.push((e) => {
      const meta = e.object.metadata;
      let own: Record<string, string> | undefined;
      return selector.matches((f) => {
        if (f === "metadata.name") return meta.name ?? "";
        if (f === "metadata.namespace") return meta.namespace ?? "";
        own ??= strategyFields?.(e.object as Stored) ?? {};
        return own[f] ?? "";
      });
    });
  }
  let index: Selection["index"];
  for (const f of Object.keys(resource.strategy.indexes ?? {})) {
    const value = field?.requiresExact(f);
    if (value !== undefined) index = { index: f, value };
  }
  const [first, second, third] = matchers;
  const matches = !first
    ? undefined
    : !second
      ? first
      : third
        ? (e: Entry) => first(e) && second(e) && third(e)
        : (e: Entry) => first(e) && second(e);
  return {
    ...(inNamespace && resource.info.namespaced ? { namespace: inNamespace } : {}),
    ...(name === undefined ? {} : { name }),
    ...(index ? { index } : {}),
    ...(matches ? { matches } : {}),
  };
}

/** Whether an entry is in the namespace and matches. */
export function selects(s: Selection, entry: Entry): boolean {
  if (s.namespace !== undefined && entry.object.metadata.namespace !== s.namespace) return false;
  return s.matches ? s.matches(entry) : true;
}

/** The part of the collection that a selection lies in. */
export function scopeOf(resource: Resource, { namespace, name }: Selection): Scope {
  if (name !== undefined && (namespace !== undefined || !resource.info.namespaced)) return { key: objectKey(namespace, name) };
  return namespace === undefined ? {} : { namespace };
}

/** The current entries of a selection, ordered by key, found by the narrowest index. */
export function find(resource: Resource, s: Selection): Entry[] {
  const { bucket } = resource;
  const { key } = scopeOf(resource, s);
  if (key !== undefined) {
    const entry = bucket.get(key);
    return entry && selects(s, entry) ? [entry] : [];
  }
  if (s.index) return bucket.by(s.index.index, s.index.value).filter((e) => selects(s, e));
  const all = s.namespace === undefined ? bucket.all() : bucket.by("namespace", s.namespace);
  return s.matches ? all.filter(s.matches) : all;
}
