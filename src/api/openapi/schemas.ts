// JSON schemas of the API's messages, in the dialects of OpenAPI v2 and v3, with
// the extensions that kubectl, apply and patch read.
import { apiVersion } from "../object.ts";
import { builtinKinds, type FieldSchema, type KindInfo, type MessageSchema, messageSchema, stringType } from "../schema.ts";
import { docOf } from "./docs.ts";

export type Dialect = 2 | 3;
export type Json = Record<string, unknown>;

/** "k8s.io.api.core.v1.Pod" is io.k8s.api.core.v1.Pod in OpenAPI. */
export const definitionName = (message: string): string =>
  message
    .replace(/^k8s\.io\./, "io.k8s.")
    .replace("apiextensions_apiserver", "apiextensions-apiserver")
    .replace("kube_aggregator", "kube-aggregator");

const prefix = { 2: "#/definitions/", 3: "#/components/schemas/" } as const;
export const reference = (message: string, dialect: Dialect): Json => ({ $ref: prefix[dialect] + definitionName(message) });

const scalars: Record<string, Json> = {
  string: { type: "string" },
  bytes: { type: "string", format: "byte" },
  bool: { type: "boolean" },
  int32: { type: "integer", format: "int32" },
  int64: { type: "integer", format: "int64" },
  double: { type: "number", format: "double" },
};
const zeros: Record<string, unknown> = { string: "", bool: false, int32: 0, int64: 0, double: 0 };

/** Messages that are no JSON object. */
const forms: Record<string, (dialect: Dialect) => Json> = {
  TIME: () => ({ type: "string", format: "date-time" }),
  MICRO_TIME: () => ({ type: "string", format: "date-time" }),
  DURATION: () => ({ type: "string" }),
  QUANTITY: (d) => (d === 2 ? { type: "string" } : { oneOf: [{ type: "string" }, { type: "number" }] }),
  INT_OR_STRING: (d) =>
    d === 2 ? { type: "string", format: "int-or-string" } : { format: "int-or-string", oneOf: [{ type: "integer" }, { type: "string" }] },
  RAW_JSON: () => ({ description: "Any JSON value." }),
  RAW_OBJECT: () => ({ type: "object" }),
  STRING_LIST: () => ({ type: "array", items: { type: "string" } }),
  SCHEMA_OR_ARRAY: () => ({ description: "A schema, or a list of schemas." }),
  SCHEMA_OR_BOOL: () => ({ description: "A schema, or a boolean." }),
  SCHEMA_OR_STRING_ARRAY: () => ({ description: "A schema, or a list of strings." }),
};

function valueSchema(f: FieldSchema, dialect: Dialect): Json {
  if (f.any) return { type: "object" };
  if (f.message === undefined) {
    const type = f.values === undefined ? undefined : stringType(f.values);
    return { ...scalars[f.type!]!, ...(type?.closed ? { enum: [...type.values].sort() } : {}) };
  }
  return reference(f.message, dialect);
}

/** A reference in v3 stands alone, so what belongs beside it needs a wrapper. */
const beside = (schema: Json, more: Json, dialect: Dialect): Json => {
  if (Object.keys(more).length === 0) return schema;
  return dialect === 3 && "$ref" in schema ? { allOf: [schema], ...more } : { ...schema, ...more };
};

function withDefault(f: FieldSchema, schema: Json, dialect: Dialect, inList: boolean): Json {
  if (dialect === 2) return schema;
  if (f.message !== undefined) return f.pointer && !inList ? schema : beside(schema, isStruct(f) ? { default: {} } : {}, dialect);
  const zero = zeros[f.type!];
  return zero === undefined || (f.pointer && !inList) || (!inList && !f.required) ? schema : { ...schema, default: zero };
}

const isStruct = (f: FieldSchema) => messageSchema(f.message!).json === "OBJECT";

function property(message: string, f: FieldSchema, dialect: Dialect): Json {
  const value = valueSchema(f, dialect);
  let schema: Json;
  if (f.list) schema = { type: "array", items: withDefault(f, value, dialect, true) };
  else if (f.map) schema = { type: "object", additionalProperties: withDefault(f, value, dialect, true) };
  else schema = withDefault(f, value, dialect, false);
  const more: Json = {};
  const doc = docOf(message, f.json);
  if (doc !== undefined) more.description = doc;
  if (f.default !== undefined && dialect === 3 && !f.list && !f.map) more.default = f.default;
  if (f.listMapKeys) more["x-kubernetes-list-map-keys"] = f.listMapKeys;
  if (f.listType) more["x-kubernetes-list-type"] = f.listType;
  if (f.mapType ?? f.structType) more["x-kubernetes-map-type"] = f.mapType ?? f.structType;
  if (f.patchMergeKey) more["x-kubernetes-patch-merge-key"] = f.patchMergeKey;
  if (f.patchStrategy) more["x-kubernetes-patch-strategy"] = f.patchStrategy.join(",");
  return beside(schema, more, dialect);
}

const typeMeta: Json = {
  apiVersion: { type: "string", description: "The version of the schema that this object is written in, such as apps/v1." },
  kind: { type: "string", description: "What kind of object this is, in camel case." },
};

const everywhere = new Set(["DeleteOptions", "WatchEvent"]);

let byMessage: Map<string, KindInfo[]> | undefined;

/** The kinds that have this message. */
function kindsOf(message: string): readonly KindInfo[] {
  byMessage ??= Map.groupBy(builtinKinds.all(), (k) => k.message);
  return byMessage.get(message) ?? [];
}

function groupVersionKinds(schema: MessageSchema): Json[] {
  const short = schema.name.slice(schema.name.lastIndexOf(".") + 1);
  if (everywhere.has(short) && schema.name.includes(".meta.v1.")) {
    const groups = new Set(builtinKinds.resources().map((k) => apiVersion(k)));
    return [...groups].sort().map((gv) => {
      const [group, version] = gv.includes("/") ? gv.split("/") : ["", gv];
      return { group, kind: short, version };
    });
  }
  return kindsOf(schema.name).map((k) => ({ group: k.group, kind: k.kind, version: k.version }));
}

/** The schema of one message. */
export function definition(message: string, dialect: Dialect): Json {
  const schema = messageSchema(message);
  const description = docOf(message);
  if (schema.json !== "OBJECT") return { ...forms[schema.json]!(dialect), ...(description ? { description } : {}) };
  const properties: Json = schema.isKind ? { ...typeMeta } : {};
  const required: string[] = [];
  const inlines = schema.fields.some((f) => f.inline);
  for (const f of schema.jsonFields) {
    properties[f.json] = property(inlines ? ownerOf(schema, f) : message, f, dialect);
    if (f.required) required.push(f.json);
  }
  const kinds = groupVersionKinds(schema);
  return {
    ...(description ? { description } : {}),
    type: "object",
    ...(required.length > 0 ? { required: required.sort() } : {}),
    ...(Object.keys(properties).length > 0 ? { properties } : {}),
    ...(schema.structType ? { "x-kubernetes-map-type": schema.structType } : {}),
    ...(kinds.length > 0 ? { "x-kubernetes-group-version-kind": kinds } : {}),
  };
}

/** The message whose own field this is: an inlined one's fields keep its docs. */
function ownerOf(schema: MessageSchema, field: FieldSchema): string {
  if (schema.fields.includes(field)) return schema.name;
  for (const f of schema.fields) {
    if (!f.inline) continue;
    const inner = messageSchema(f.message!);
    if (inner.jsonFields.includes(field)) return ownerOf(inner, field);
  }
  return schema.name;
}

/** Messages that a message leads to, itself included. */
export function reach(roots: Iterable<string>): Set<string> {
  const seen = new Set<string>();
  const visit = (name: string) => {
    if (seen.has(name)) return;
    seen.add(name);
    const schema = messageSchema(name);
    if (schema.json !== "OBJECT") return;
    for (const f of schema.jsonFields) if (f.message !== undefined && !f.any) visit(f.message);
  };
  for (const r of roots) visit(r);
  return seen;
}

/** The schemas of these messages and all they lead to, by definition name. */
export function definitions(roots: Iterable<string>, dialect: Dialect): Json {
  const out: Json = {};
  for (const name of [...reach(roots)].sort()) out[definitionName(name)] = definition(name, dialect);
  return out;
}
