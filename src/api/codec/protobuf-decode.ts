// Kubernetes' protobuf into JSON objects.
import { setKey } from "../equal.ts";
import { parseApiVersion } from "../object.ts";
import { type FieldSchema, kindOf, messageSchema, type ScalarName } from "../schema.ts";
import { magic } from "./protobuf-encode.ts";
import { formatDuration, formatMicroTime, formatTime } from "./time.ts";
import { Reader, Wire, WireError } from "./wire.ts";

type Json = Record<string, unknown>;

const schemaProps = "k8s.io.apiextensions_apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps";

/** Whether bytes begin as this format does. */
export const isProtobuf = (bytes: Uint8Array): boolean => bytes.length >= 4 && magic.every((b, i) => bytes[i] === b);

interface ReadPlan {
  name: string;
  schema: FieldSchema;
  read: (r: Reader) => unknown;
}

const scalarReads: Record<ScalarName, (r: Reader) => unknown> = {
  string: (r) => r.string(),
  bytes: (r) => r.base64(),
  bool: (r) => r.varint() !== 0,
  int32: (r) => r.varint() | 0,
  int64: (r) => r.varint(),
  uint32: (r) => r.varint(),
  uint64: (r) => r.varint(),
  double: (r) => r.double(),
  float: (r) => r.double(),
};

/** The scalar fields of a small message by number. */
function numbers(r: Reader): { seen: boolean; at: number[]; text: string } {
  const out = { seen: false, at: [0, 0, 0, 0], text: "" };
  while (!r.done) {
    const tag = r.varint();
    out.seen = true;
    if (tag % 8 === Wire.Varint) out.at[tag >>> 3] = r.varint();
    else if (tag % 8 === Wire.Bytes) out.text = r.string();
    else r.skip(tag % 8);
  }
  return out;
}

const readJson = (r: Reader): unknown => {
  const { text } = numbers(r.nested());
  return text === "" ? null : JSON.parse(text);
};

/** The elements of a message's repeated or optional nested fields, by number. */
function parts(r: Reader, each: (number: number, r: Reader, wire: number) => void): void {
  while (!r.done) {
    const tag = r.varint();
    each(tag >>> 3, r, tag % 8);
  }
}

/** An object has the same few moments many times. */
let lastSeconds = Number.NaN;
let lastTime = "";

function textOf(seconds: number): string {
  if (seconds !== lastSeconds) {
    lastTime = formatTime(seconds);
    lastSeconds = seconds;
  }
  return lastTime;
}

const readSchema = (r: Reader) => readFields(r.nested(), schemaProps);

const formReads: Record<string, (r: Reader) => unknown> = {
  TIME: (r) => {
    const t = numbers(r.nested());
    return t.seen ? textOf(t.at[1]!) : null;
  },
  MICRO_TIME: (r) => {
    const t = numbers(r.nested());
    return t.seen ? formatMicroTime({ seconds: t.at[1]!, nanos: t.at[2]! }) : null;
  },
  DURATION: (r) => formatDuration(numbers(r.nested()).at[1]!),
  QUANTITY: (r) => numbers(r.nested()).text || "0",
  INT_OR_STRING: (r) => {
    const v = numbers(r.nested());
    return v.at[1] === 1 ? v.text : v.at[2]! | 0;
  },
  RAW_JSON: readJson,
  RAW_OBJECT: (r) => {
    let raw: Uint8Array | undefined;
    parts(r.nested(), (number, x, wire) => {
      if (number === 1) raw = x.bytes();
      else x.skip(wire);
    });
    if (!raw || raw.length === 0) return null;
    return isProtobuf(raw) ? decodeProtobufAs(raw) : JSON.parse(Buffer.from(raw.buffer, raw.byteOffset, raw.length).toString("utf8"));
  },
  STRING_LIST: (r) => {
    const list: string[] = [];
    parts(r.nested(), (_, x) => list.push(x.string()));
    return list;
  },
  SCHEMA_OR_ARRAY: (r) => {
    let one: unknown;
    const list: unknown[] = [];
    parts(r.nested(), (number, x) => {
      if (number === 1) one = readSchema(x);
      else list.push(readSchema(x));
    });
    return one ?? list;
  },
  SCHEMA_OR_BOOL: (r) => {
    let value: unknown = false;
    parts(r.nested(), (number, x) => {
      if (number === 2) value = readSchema(x);
      else if (typeof value === "boolean") value = x.varint() !== 0;
      else x.varint();
    });
    return value;
  },
  SCHEMA_OR_STRING_ARRAY: (r) => {
    let one: unknown;
    const list: string[] = [];
    parts(r.nested(), (number, x) => {
      if (number === 1) one = readSchema(x);
      else list.push(x.string());
    });
    return one ?? list;
  },
};

/** By the field's number; numbers are dense in Kubernetes' messages. */
type MessagePlan = (ReadPlan | undefined)[];

const readPlans = new Map<string, MessagePlan>();

function readPlanOf(name: string): MessagePlan {
  let plan = readPlans.get(name);
  if (!plan) {
    plan = [];
    readPlans.set(name, plan);
    for (const f of messageSchema(name).fields) plan[f.number] = { name: f.json, schema: f, read: readerOf(f) };
  }
  return plan;
}

function readerOf(f: FieldSchema): (r: Reader) => unknown {
  const { message } = f;
  if (message === undefined) return scalarReads[f.type!];
  const form = messageSchema(message).json;
  if (form !== "OBJECT") return formReads[form]!;
  let plan: MessagePlan | undefined;
  return (r) => {
    plan ??= readPlanOf(message);
    return readPlanned(r.nested(), plan, {});
  };
}

const readFields = (r: Reader, name: string, into: Json = {}): Json => readPlanned(r, readPlanOf(name), into);

function readPlanned(r: Reader, plan: MessagePlan, into: Json): Json {
  while (!r.done) {
    const tag = r.varint();
    const wire = tag % 8;
    const f = plan[Math.floor(tag / 8)];
    if (!f) r.skip(wire);
    else if (f.schema.inline) readFields(r.nested(), f.schema.message!, into);
    else if (f.schema.map) readEntry(r.nested(), f, into);
    else if (f.schema.list) {
      into[f.name] ??= [];
      const list = into[f.name] as unknown[];
      if (wire === Wire.Bytes && f.schema.message === undefined && f.schema.type !== "string" && f.schema.type !== "bytes") {
        for (const packed = r.nested(); !packed.done; ) list.push(f.read(packed));
      } else list.push(f.read(r));
    } else into[f.name] = f.read(r);
  }
  return into;
}

function readEntry(r: Reader, f: ReadPlan, into: Json): void {
  let key = "";
  let value: unknown;
  while (!r.done) {
    const tag = r.varint();
    if (tag >>> 3 === 1) key = r.string();
    else if (tag >>> 3 === 2) value = f.read(r);
    else r.skip(tag % 8);
  }
  into[f.name] ??= {};
  const zero = f.schema.message === undefined ? (f.schema.type === "string" || f.schema.type === "bytes" ? "" : 0) : {};
  setKey(into[f.name] as Json, key, value ?? zero);
}

/** The parts of the envelope. `raw` is a view of the bytes. Throws a WireError. */
export function unwrapMessage(bytes: Uint8Array): { apiVersion: string; kind: string; raw: Uint8Array; contentType: string } {
  if (!isProtobuf(bytes)) throw new WireError("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]");
  const out = { apiVersion: "", kind: "", raw: new Uint8Array() as Uint8Array, contentType: "" };
  parts(new Reader(bytes, magic.length), (number, r, wire) => {
    if (number === 1)
      parts(r.nested(), (n, t, w) => {
        if (n === 1) out.apiVersion = t.string();
        else if (n === 2) out.kind = t.string();
        else t.skip(w);
      });
    else if (number === 2) out.raw = r.bytes();
    else if (number === 4) out.contentType = r.string();
    else r.skip(wire);
  });
  return out;
}

/** A message as JSON, not canonical yet: pass it through decodeJson. Throws a WireError. */
export const decodeMessage = (name: string, raw: Uint8Array): Json => readFields(new Reader(raw), name);

/**
 * An object in the format as JSON, not canonical yet: pass it through decodeJson.
 * @param messageOf full name of a kind's message; undefined for a kind that is not known
 * @throws WireError
 */
export function decodeProtobuf(bytes: Uint8Array, messageOf: (type: { apiVersion: string; kind: string }) => string | undefined): Json {
  const { apiVersion, kind, raw, contentType } = unwrapMessage(bytes);
  const type = { apiVersion, kind };
  if (contentType === "application/json") return JSON.parse(Buffer.from(raw).toString("utf8")) as Json;
  const name = messageOf(type);
  if (name === undefined) throw new WireError(`no kind ${JSON.stringify(kind)} is registered for version ${JSON.stringify(apiVersion)}`);
  return { kind, apiVersion, ...decodeMessage(name, raw) };
}

/** An embedded object, of a built-in kind. */
function decodeProtobufAs(bytes: Uint8Array): Json {
  return decodeProtobuf(bytes, builtinMessage);
}

/** The message of a built-in kind. */
export function builtinMessage(type: { apiVersion: string; kind: string }): string | undefined {
  return kindOf({ ...parseApiVersion(type.apiVersion), kind: type.kind })?.message;
}
