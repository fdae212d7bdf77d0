// How values merge, by type: what structured-merge-diff's schema says of the
// Kubernetes API, taken from the schema table.
import { type FieldSchema, type MessageSchema, messageSchema } from "../schema.ts";

/** A leaf: scalars, and what is owned and replaced as a whole. */
export interface LeafType {
  readonly kind: "leaf";
}
/** Any JSON: objects merge member by member, the rest is a leaf. */
export interface UntypedType {
  readonly kind: "untyped";
}
export interface StructType {
  readonly kind: "struct";
  field(name: string): MergeType | undefined;
}
export interface MapType {
  readonly kind: "map";
  readonly element: MergeType;
}
/** A list of scalars, each its own key. */
export interface SetType {
  readonly kind: "set";
}
/** A list of objects that some of their fields tell apart. */
export interface ListType {
  readonly kind: "list";
  /** Sorted. */
  readonly keys: readonly string[];
  /** What an absent key field stands for. */
  readonly defaults: Readonly<Record<string, unknown>>;
  readonly element: MergeType;
}
export type MergeType = LeafType | UntypedType | StructType | MapType | SetType | ListType;

const leaf: LeafType = { kind: "leaf" };
const untyped: UntypedType = { kind: "untyped" };
const set: SetType = { kind: "set" };

class Struct implements StructType {
  readonly kind = "struct";
  readonly #schema: MessageSchema;
  readonly #fields = new Map<string, MergeType | undefined>();
  constructor(schema: MessageSchema) {
    this.#schema = schema;
    if (schema.isKind) this.#fields.set("apiVersion", leaf).set("kind", leaf);
  }
  field(name: string): MergeType | undefined {
    let type = this.#fields.get(name);
    if (type !== undefined || this.#fields.has(name)) return type;
    const f = this.#schema.byJsonName.get(name);
    type = f && fieldType(f);
    this.#fields.set(name, type);
    return type;
  }
}

const structs = new Map<string, Struct>();

function structOf(schema: MessageSchema): Struct {
  let s = structs.get(schema.name);
  if (!s) {
    s = new Struct(schema);
    structs.set(schema.name, s);
  }
  return s;
}

/** The type of one value: of the field itself, or of an element of a list or map. */
function valueType(f: FieldSchema): MergeType {
  if (f.any) return untyped;
  if (f.message === undefined) return leaf;
  const schema = messageSchema(f.message);
  if (schema.json === "OBJECT") return structOf(schema);
  return schema.json.startsWith("RAW") || schema.json.startsWith("SCHEMA_OR") ? untyped : leaf;
}

function fieldType(f: FieldSchema): MergeType {
  const element = valueType(f);
  if (f.list) {
    const merges = f.listType === undefined && f.patchStrategy?.includes("merge");
    if (f.listType === "map" || (merges && f.patchMergeKey !== undefined)) {
      const keys = [...(f.listMapKeys ?? [f.patchMergeKey!])].sort();
      const fields = messageSchema(f.message!).byJsonName;
      const defaults = Object.fromEntries(keys.flatMap((k) => (fields.get(k)?.default === undefined ? [] : [[k, fields.get(k)!.default]])));
      return { kind: "list", keys, defaults, element };
    }
    return f.listType === "set" || merges ? set : leaf;
  }
  if (f.map) return f.mapType === "atomic" ? leaf : { kind: "map", element };
  if (element.kind === "struct") {
    const atomic = f.structType ?? f.mapType ?? messageSchema(f.message!).structType;
    return atomic === "atomic" ? leaf : element;
  }
  return element;
}

/** How objects of a message merge, by its full name. */
export const mergeTypeOf = (name: string): StructType => structOf(messageSchema(name));

type Json = Record<string, unknown>;

/** The path element that tells an element of a list apart; undefined when it lacks all keys. */
export function keyOf(type: ListType | SetType, element: unknown): string | undefined {
  if (type.kind === "set") return `v:${JSON.stringify(element)}`;
  if (typeof element !== "object" || element === null) return undefined;
  let text = "";
  for (const k of type.keys) {
    const value = (element as Json)[k] ?? type.defaults[k];
    if (value === undefined) continue;
    text += `${text === "" ? "" : ","}${JSON.stringify(k)}:${JSON.stringify(value)}`;
  }
  return text === "" ? undefined : `k:{${text}}`;
}
