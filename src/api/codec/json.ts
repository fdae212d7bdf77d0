// JSON into the form objects have in memory: what Go's decoder followed by its
// encoder would leave. Unknown members are dropped and reported, quantities and
// times take their canonical form, empty optional values are left out, and
// struct fields that Go always writes are there.
import { copy, setKey } from "../equal.ts";
import { canonicalQuantity } from "../quantity.ts";
import { type FieldSchema, type MessageSchema, messageSchema } from "../schema.ts";
import { canonicalMicroTime, canonicalTime, formatDuration, parseDuration } from "./time.ts";

/** A value that does not fit its field, in the words of Go's decoder. */
export class DecodeError extends Error {
  override name = "DecodeError";
}

export interface DecodeOptions {
  /** Paths from parseJsonStrict, passed on in the result's words. */
  duplicates?: readonly string[];
}

export interface Decoded {
  /** A fresh object that shares nothing with the input. */
  object: Record<string, unknown>;
  /** `unknown field "spec.foo"`, at most 100. */
  unknown: string[];
  /** `duplicate field "spec.foo"` */
  duplicates: string[];
}

type Json = Record<string, unknown>;
type Decode = (d: Decoder, value: unknown, field: FieldPlan) => unknown;

/** What stands for a field that is not there. */
enum Absent {
  Omit,
  Value,
  Struct,
}

interface FieldPlan {
  name: string;
  /** Go's type of one value, for errors. */
  go: string;
  shape: "one" | "list" | "map";
  decode: Decode;
  absent: Absent;
  /** With Absent.Value. */
  zero: unknown;
  /** A zero scalar, or an empty list or map, counts as absent. */
  dropZero: boolean;
  /** What null stands for as an element of a list or map. */
  nullElement: unknown;
  message?: string;
}

interface MessagePlan {
  name: string;
  isKind: boolean;
  fields: FieldPlan[];
  known: Set<string>;
}

const maxUnknown = 100;

class Decoder {
  unknown: string[] = [];
  /** Field names, list indices, and map keys (after a NUL), down to here. */
  stack: (string | number)[] = [];
  struct = "";

  path(): string {
    let text = "";
    for (const p of this.stack) {
      if (typeof p === "number") text += `[${p}]`;
      else text += (text === "" ? "" : ".") + (p.startsWith("\0") ? p.slice(1) : p);
    }
    return text;
  }

  mismatch(what: string, type: string): DecodeError {
    const path = this.stack.filter((p) => typeof p === "string" && !p.startsWith("\0")).join(".");
    const into = path === "" ? "value" : `struct field ${this.struct}.${path}`;
    return new DecodeError(`json: cannot unmarshal ${what} into Go ${into} of type ${type}`);
  }
}

const kindOfValue = (v: unknown): string =>
  Array.isArray(v) ? "array" : typeof v === "boolean" ? "bool" : typeof v === "object" ? "object" : typeof v;

const text: Decode = (d, v, f) => {
  if (typeof v !== "string") throw d.mismatch(kindOfValue(v), f.go);
  return v;
};
const bool: Decode = (d, v, f) => {
  if (typeof v !== "boolean") throw d.mismatch(kindOfValue(v), f.go);
  return v;
};
const int32: Decode = (d, v, f) => {
  if (typeof v !== "number") throw d.mismatch(kindOfValue(v), f.go);
  if ((v | 0) !== v) throw d.mismatch(`number ${v}`, f.go);
  return v;
};
const int64: Decode = (d, v, f) => {
  if (typeof v !== "number") throw d.mismatch(kindOfValue(v), f.go);
  if (!Number.isInteger(v) || Math.abs(v) > 2 ** 63) throw d.mismatch(`number ${v}`, f.go);
  return v;
};
const double: Decode = (d, v, f) => {
  if (typeof v !== "number") throw d.mismatch(kindOfValue(v), f.go);
  return v;
};

const base64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;
const bytes: Decode = (d, v, f) => {
  if (typeof v !== "string") throw d.mismatch(kindOfValue(v), f.go);
  if (base64.test(v)) return v;
  const clean = v.replace(/[\r\n]/g, "");
  if (base64.test(clean)) return clean;
  const bad = /[^A-Za-z0-9+/\r\n]/.exec(v);
  throw new DecodeError(`illegal base64 data at input byte ${bad ? bad.index : Math.floor(v.length / 4) * 4}`);
};

/** Runs a parser whose RangeError carries upstream's text. */
function refine<T>(parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    if (error instanceof RangeError) throw new DecodeError(error.message, { cause: error });
    throw error;
  }
}
const time: Decode = (d, v) => {
  if (typeof v !== "string") throw valueMismatch(d, v, "string");
  return refine(() => canonicalTime(v));
};
const microTime: Decode = (d, v) => {
  if (typeof v !== "string") throw valueMismatch(d, v, "string");
  return refine(() => canonicalMicroTime(v));
};
const duration: Decode = (d, v) => {
  if (typeof v !== "string") throw valueMismatch(d, v, "string");
  return refine(() => formatDuration(parseDuration(v)));
};
const quantity: Decode = (_d, v) => {
  if (typeof v === "string" || typeof v === "number") return refine(() => canonicalQuantity(typeof v === "string" ? v.trim() : v));
  return refine(() => canonicalQuantity(JSON.stringify(v)));
};
const intOrString: Decode = (d, v) => {
  if (typeof v === "string") return v;
  if (typeof v !== "number") throw valueMismatch(d, v, "int32");
  if ((v | 0) !== v) throw new DecodeError(`json: cannot unmarshal number ${v} into Go value of type int32`);
  return v;
};
/** Types that decode themselves in Go know nothing of the field they stand in. */
const valueMismatch = (_d: Decoder, v: unknown, type: string) =>
  new DecodeError(`json: cannot unmarshal ${kindOfValue(v)} into Go value of type ${type}`);

const raw: Decode = (_d, v) => copy(v);

const stringList: Decode = (d, v, f) => {
  if (!Array.isArray(v)) throw d.mismatch(kindOfValue(v), f.go);
  return v.map((item) => {
    if (item === null) return "";
    if (typeof item !== "string") throw d.mismatch(kindOfValue(item), "string");
    return item;
  });
};

const schemaProps = "k8s.io.apiextensions_apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps";
const jsonSchema = (d: Decoder, v: unknown) => decodeMessage(d, v, planOf(schemaProps), "v1.JSONSchemaProps");
const schemaOrArray: Decode = (d, v) => (Array.isArray(v) ? v.map((s) => jsonSchema(d, s ?? {})) : jsonSchema(d, v));
const schemaOrBool: Decode = (d, v) => (typeof v === "boolean" ? v : jsonSchema(d, v));
const schemaOrStrings: Decode = (d, v, f) => (Array.isArray(v) ? stringList(d, v, f) : jsonSchema(d, v));

const message: Decode = (d, v, f) => decodeMessage(d, v, planOf(f.message!), f.go);

const scalars: Record<string, { decode: Decode; zero: unknown; go: string }> = {
  string: { decode: text, zero: "", go: "string" },
  bytes: { decode: bytes, zero: "", go: "[]uint8" },
  bool: { decode: bool, zero: false, go: "bool" },
  int32: { decode: int32, zero: 0, go: "int32" },
  int64: { decode: int64, zero: 0, go: "int64" },
  double: { decode: double, zero: 0, go: "float64" },
};

/** Messages that are no JSON object; `zero` is what Go writes for the zero value. */
const forms: Record<string, { decode: Decode; zero: unknown }> = {
  TIME: { decode: time, zero: null },
  MICRO_TIME: { decode: microTime, zero: null },
  DURATION: { decode: duration, zero: "0s" },
  QUANTITY: { decode: quantity, zero: "0" },
  INT_OR_STRING: { decode: intOrString, zero: 0 },
  RAW_JSON: { decode: raw, zero: null },
  RAW_OBJECT: { decode: raw, zero: null },
  STRING_LIST: { decode: stringList, zero: null },
  SCHEMA_OR_ARRAY: { decode: schemaOrArray, zero: null },
  SCHEMA_OR_BOOL: { decode: schemaOrBool, zero: false },
  SCHEMA_OR_STRING_ARRAY: { decode: schemaOrStrings, zero: null },
};

/** "k8s.io.api.core.v1.Container" is v1.Container in Go. */
const goName = (full: string) => full.split(".").slice(-2).join(".");

function planField(f: FieldSchema): FieldPlan {
  const form = f.message === undefined ? undefined : messageSchema(f.message).json;
  const shape = f.list ? "list" : f.map ? "map" : "one";
  const scalar = f.type === undefined ? undefined : scalars[f.type]!;
  const special = form === undefined || form === "OBJECT" ? undefined : forms[form]!;
  const struct = form === "OBJECT";
  const go = scalar ? (f.values ? goName(f.values) : scalar.go) : goName(f.message!);
  const plan: FieldPlan = {
    name: f.json,
    go,
    shape,
    decode: f.any ? raw : scalar ? scalar.decode : special ? special.decode : message,
    absent: Absent.Omit,
    zero: undefined,
    dropZero: false,
    nullElement: f.any ? null : struct ? undefined : (scalar ?? special)!.zero,
    message: f.message,
  };
  const optional = f.omitEmpty === true;
  if (shape !== "one" || f.type === "bytes" || form === "STRING_LIST") {
    plan.dropZero = true;
    if (!optional) {
      plan.absent = Absent.Value;
      // Lists of objects are the one place where the apiserver itself sees to "[]".
      plan.zero = null;
    }
  } else if (f.pointer) {
    if (!optional) {
      plan.absent = Absent.Value;
      plan.zero = null;
    }
  } else if (scalar) {
    plan.dropZero = optional;
    if (!optional) {
      plan.absent = Absent.Value;
      plan.zero = scalar.zero;
    }
  } else if (struct) {
    plan.absent = Absent.Struct;
  } else if (!f.omitZero) {
    plan.absent = Absent.Value;
    plan.zero = special!.zero;
  }
  return plan;
}

const plans = new Map<string, MessagePlan>();

function planOf(name: string): MessagePlan {
  let plan = plans.get(name);
  if (plan) return plan;
  const schema: MessageSchema = messageSchema(name);
  plan = { name: name.slice(name.lastIndexOf(".") + 1), isKind: schema.isKind, fields: [], known: new Set(schema.byJsonName.keys()) };
  plans.set(name, plan);
  plan.fields = schema.jsonFields.map(planField);
  if (schema.isKind) plan.known.add("kind").add("apiVersion");
  if (schema.isKind && plan.name.endsWith("List")) {
    const items = plan.fields.find((f) => f.name === "items");
    if (items) items.zero = undefined;
  }
  return plan;
}

function typeMeta(d: Decoder, value: Json, out: Json, key: "kind" | "apiVersion"): number {
  const v = value[key];
  if (v === undefined) return 0;
  if (v !== null && typeof v !== "string") {
    d.stack.push(key);
    throw d.mismatch(kindOfValue(v), "string");
  }
  if (v) out[key] = v;
  return 1;
}

function decodeMessage(d: Decoder, value: unknown, plan: MessagePlan, go: string): Json {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw d.mismatch(kindOfValue(value), go);
  const input = value as Json;
  const outer = d.struct;
  d.struct = plan.name;
  const out: Json = {};
  let matched = 0;
  if (plan.isKind) matched += typeMeta(d, input, out, "kind") + typeMeta(d, input, out, "apiVersion");
  const { fields } = plan;
  for (let i = 0; i < fields.length; i++) {
    const f = fields[i]!;
    const v = input[f.name];
    if (v !== undefined) matched++;
    const result = v === undefined || v === null ? undefined : decodeField(d, v, f);
    if (result !== undefined) out[f.name] = result;
    else if (f.absent === Absent.Value) out[f.name] = f.zero === undefined ? [] : f.zero;
    else if (f.absent === Absent.Struct) {
      d.stack.push(f.name);
      out[f.name] = decodeMessage(d, empty, planOf(f.message!), f.go);
      d.stack.pop();
    }
  }
  let own = 0;
  for (const key in input) if (input[key] !== undefined) own++;
  if (own !== matched) reportUnknown(d, input, plan);
  d.struct = outer;
  return out;
}

const empty = Object.freeze({});

function decodeField(d: Decoder, v: unknown, f: FieldPlan): unknown {
  d.stack.push(f.name);
  let result: unknown;
  if (f.shape === "one") {
    result = f.decode(d, v, f);
    if (f.dropZero && (result === "" || result === 0 || result === false || (Array.isArray(result) && result.length === 0)))
      result = undefined;
  } else if (f.shape === "list") result = decodeList(d, v, f);
  else result = decodeMap(d, v, f);
  d.stack.pop();
  return result;
}

function decodeList(d: Decoder, v: unknown, f: FieldPlan): unknown[] | undefined {
  if (!Array.isArray(v)) throw d.mismatch(kindOfValue(v), `[]${f.go}`);
  if (v.length === 0) return undefined;
  const list = new Array(v.length);
  for (let i = 0; i < v.length; i++) {
    const item = v[i];
    d.stack.push(i);
    list[i] = item === null && f.nullElement !== undefined ? f.nullElement : f.decode(d, item ?? empty, f);
    d.stack.pop();
  }
  return list;
}

function decodeMap(d: Decoder, v: unknown, f: FieldPlan): Json | undefined {
  if (typeof v !== "object" || Array.isArray(v)) throw d.mismatch(kindOfValue(v), `map[string]${f.go}`);
  const map: Json = {};
  let filled = false;
  const nested = f.message !== undefined;
  for (const key in v as Json) {
    const item = (v as Json)[key];
    if (item === undefined) continue;
    filled = true;
    if (nested) d.stack.push(`\0${key}`);
    setKey(map, key, item === null && f.nullElement !== undefined ? f.nullElement : f.decode(d, item ?? empty, f));
    if (nested) d.stack.pop();
  }
  return filled ? map : undefined;
}

function reportUnknown(d: Decoder, input: Json, plan: MessagePlan): void {
  for (const key in input) {
    if (input[key] === undefined || plan.known.has(key) || d.unknown.length >= maxUnknown) continue;
    d.stack.push(key);
    d.unknown.push(`unknown field "${d.path()}"`);
    d.stack.pop();
  }
}

/**
 * Turns parsed JSON into the in-memory form of a message, by its full name.
 * Throws a DecodeError with upstream's text when a value does not fit.
 */
export function decodeJson(name: string, value: unknown, options: DecodeOptions = {}): Decoded {
  const d = new Decoder();
  const object = decodeMessage(d, value, planOf(name), goName(name));
  return { object, unknown: d.unknown, duplicates: (options.duplicates ?? []).map((p) => `duplicate field "${p}"`) };
}

/** The JSON text of an object. */
export const encodeJson = (object: unknown): string => JSON.stringify(object);
