// The schema table that scripts/generate.ts makes from proto/: what every
// codec, patch, apply and OpenAPI document is driven by, and the kinds that are
// served. Parsed on first use; each message is linked when it is first asked for.
import kindRows from "./gen/kinds.json";
// Taken as text: parsing waits until the first message is asked for.
import schemaJson from "./gen/schema.json" with { type: "text" };

export type JsonForm =
  | "OBJECT"
  | "TIME"
  | "MICRO_TIME"
  | "DURATION"
  | "QUANTITY"
  | "INT_OR_STRING"
  | "RAW_JSON"
  | "RAW_OBJECT"
  | "STRING_LIST"
  | "SCHEMA_OR_ARRAY"
  | "SCHEMA_OR_BOOL"
  | "SCHEMA_OR_STRING_ARRAY";

export type ScalarName = "string" | "bytes" | "bool" | "int32" | "int64" | "uint32" | "uint64" | "double" | "float";

/** One field of a message. Flags that are false, and empty settings, are absent. */
export interface FieldSchema {
  /** The name in JSON. */
  readonly json: string;
  /** The protobuf field number. */
  readonly number: number;
  /** Set unless `message` is; of the value, where the field is a map. */
  readonly type?: ScalarName;
  /** Full name of the field's (element's, value's) message. */
  readonly message?: string;
  readonly list?: boolean;
  readonly map?: boolean;
  /** Go has a pointer: absent and zero differ. */
  readonly pointer?: boolean;
  /** The message's fields stand in the parent's JSON object. */
  readonly inline?: boolean;
  readonly required?: boolean;
  readonly omitEmpty?: boolean;
  readonly omitZero?: boolean;
  readonly default?: unknown;
  /** Full name of the string type that lists the values. */
  readonly values?: string;
  readonly patchStrategy?: readonly ("merge" | "replace" | "retainKeys")[];
  readonly patchMergeKey?: string;
  readonly listType?: "atomic" | "set" | "map";
  readonly listMapKeys?: readonly string[];
  readonly mapType?: "atomic" | "granular";
  readonly structType?: "atomic" | "granular";
  readonly featureGate?: string;
  /** Elements are any JSON value. */
  readonly any?: boolean;
}

export interface MessageSchema {
  /** Full name, as "k8s.io.api.core.v1.Pod". */
  readonly name: string;
  readonly json: JsonForm;
  readonly structType?: "atomic" | "granular";
  /** Carries apiVersion and kind. */
  readonly isKind: boolean;
  /** As in proto/, in Go's order. */
  readonly fields: readonly FieldSchema[];
  /** The fields of the JSON object, inlined messages flattened, in Go's order; without apiVersion and kind. */
  readonly jsonFields: readonly FieldSchema[];
  readonly byJsonName: ReadonlyMap<string, FieldSchema>;
}

export interface KindInfo {
  /** "" for the core group. */
  readonly group: string;
  readonly version: string;
  readonly kind: string;
  readonly listKind: string;
  readonly singular: string;
  /** The resource; "" for kinds that are no resource of their own (lists, options). */
  readonly plural: string;
  readonly namespaced: boolean;
  readonly shortNames: readonly string[];
  readonly categories: readonly string[];
  readonly subresources: readonly string[];
  /** Full name of the message. */
  readonly message: string;
}

export interface StringType {
  readonly values: readonly string[];
  /** No other values are allowed. */
  readonly closed?: boolean;
}

interface Table {
  messages: Record<string, { json?: JsonForm; structType?: "atomic" | "granular"; fields: FieldSchema[] }>;
  stringTypes: Record<string, StringType>;
}

let parsed: Table | undefined;
const table = (): Table => (parsed ??= JSON.parse(schemaJson as unknown as string) as Table);

const linked = new Map<string, MessageSchema>();

/** The schema of a message by its full name. Throws a RangeError on a name that proto/ does not have. */
export function messageSchema(name: string): MessageSchema {
  let schema = linked.get(name);
  if (schema) return schema;
  const row = table().messages[name];
  if (!row) throw new RangeError(`no message ${name} in the API schema`);
  const fields = row.fields ?? [];
  const jsonFields = fields.flatMap((f) => (f.inline ? messageSchema(f.message!).jsonFields : [f]));
  schema = {
    name,
    json: row.json ?? "OBJECT",
    structType: row.structType,
    isKind: builtinKinds.hasMessage(name),
    fields,
    jsonFields,
    byJsonName: new Map(jsonFields.map((f) => [f.json, f])),
  };
  linked.set(name, schema);
  return schema;
}

/** The table as text, for hashing what is derived from it. */
export const schemaText = (): string => schemaJson as unknown as string;

/** Full names of all messages, in the order of proto/. */
export const messageNames = (): string[] => Object.keys(table().messages);

/** The known values of a string type by its full name. */
export const stringType = (name: string): StringType | undefined => table().stringTypes[name];

/** Kinds by name and by resource. The apiserver adds custom kinds to one of its own. */
export class KindRegistry {
  readonly #kinds = new Map<string, KindInfo>();
  readonly #resources = new Map<string, KindInfo>();
  readonly #messages = new Set<string>();

  constructor(kinds: Iterable<KindInfo> = []) {
    for (const k of kinds) this.add(k);
  }
  add(info: KindInfo): void {
    this.#kinds.set(`${info.group}/${info.version}/${info.kind}`, info);
    if (info.plural !== "") this.#resources.set(`${info.group}/${info.version}/${info.plural}`, info);
    this.#messages.add(info.message);
  }
  remove(info: KindInfo): void {
    this.#kinds.delete(`${info.group}/${info.version}/${info.kind}`);
    this.#resources.delete(`${info.group}/${info.version}/${info.plural}`);
  }
  /** Options and watch events of meta/v1 are known in every group and version. */
  kindOf(gvk: { group: string; version: string; kind: string }): KindInfo | undefined {
    const own = this.#kinds.get(`${gvk.group}/${gvk.version}/${gvk.kind}`);
    return own ?? (everywhere.has(gvk.kind) ? this.#kinds.get(`/v1/${gvk.kind}`) : undefined);
  }
  resourceOf(gvr: { group: string; version: string; resource: string }): KindInfo | undefined {
    return this.#resources.get(`${gvr.group}/${gvr.version}/${gvr.resource}`);
  }
  /** Kinds that are served as resources. */
  resources(): KindInfo[] {
    return [...this.#resources.values()];
  }
  all(): KindInfo[] {
    return [...this.#kinds.values()];
  }
  hasMessage(name: string): boolean {
    return this.#messages.has(name);
  }
}

const everywhere = new Set(["DeleteOptions", "CreateOptions", "PatchOptions", "UpdateOptions", "ListOptions", "GetOptions", "WatchEvent"]);

/** The kinds that come with kubun. */
export const builtinKinds = new KindRegistry(kindRows);

export const kindOf = (gvk: { group: string; version: string; kind: string }): KindInfo | undefined => builtinKinds.kindOf(gvk);
export const resourceOf = (gvr: { group: string; version: string; resource: string }): KindInfo | undefined => builtinKinds.resourceOf(gvr);
/** Kinds that are served as resources. */
export const kinds: readonly KindInfo[] = builtinKinds.resources();
