// Objects into Kubernetes' protobuf, by gogo's rules as upstream's generated code
// follows them: values that are no pointer are always there, maps are sorted.
import { type FieldSchema, messageSchema, type ScalarName } from "../schema.ts";
import { parseDuration, parseInstant } from "./time.ts";
import { BackWriter, Wire } from "./wire.ts";

type Json = Record<string, unknown>;

/** What every object begins with. */
export const magic: Uint8Array = new Uint8Array([0x6b, 0x38, 0x73, 0x00]);

/** Writes one value, its length included where it has one. */
type Write = (w: BackWriter, value: never) => void;

interface FieldPlan {
  name: string;
  number: number;
  shape: "one" | "list" | "map" | "inline";
  wire: Wire;
  write: Write;
  /** Written when absent, as what. */
  zero: unknown;
  message?: string;
}

const scalarWrites: Record<ScalarName, { wire: Wire; write: Write; zero: unknown }> = {
  string: { wire: Wire.Bytes, write: (w, v: string) => w.string(v), zero: "" },
  bytes: { wire: Wire.Bytes, write: (w, v: string) => w.base64(v), zero: undefined },
  bool: { wire: Wire.Varint, write: (w, v: boolean) => w.varint(v ? 1 : 0), zero: false },
  int32: { wire: Wire.Varint, write: (w, v: number) => w.int(v), zero: 0 },
  int64: { wire: Wire.Varint, write: (w, v: number) => w.int(v), zero: 0 },
  uint32: { wire: Wire.Varint, write: (w, v: number) => w.varint(v), zero: 0 },
  uint64: { wire: Wire.Varint, write: (w, v: number) => w.varint(v), zero: 0 },
  double: { wire: Wire.Fixed64, write: (w, v: number) => w.double(v), zero: 0 },
  float: { wire: Wire.Fixed64, write: (w, v: number) => w.double(v), zero: 0 },
};

function delimited(w: BackWriter, write: () => void): void {
  const before = w.length;
  write();
  w.varint(w.length - before);
}

const int = (w: BackWriter, number: number, value: number) => {
  w.int(value);
  w.tag(number, Wire.Varint);
};

const json =
  (number: number): Write =>
  (w, v: unknown) =>
    delimited(w, () => {
      if (v !== null && v !== undefined) w.stringField(number, JSON.stringify(v));
    });

const schemaProps = "k8s.io.apiextensions_apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps";
const schemaField = (w: BackWriter, number: number, v: unknown) => w.nested(number, () => writeFields(w, v as Json, planOf(schemaProps)));

/** An object has the same few moments many times. */
let lastTime = "";
let lastSeconds = 0;

function secondsOf(text: string): number {
  if (text !== lastTime) {
    lastSeconds = parseInstant(text).seconds;
    lastTime = text;
  }
  return lastSeconds;
}

/** Messages that are no JSON object. */
const formWrites: Record<string, Write> = {
  TIME: (w, v: string | null) => {
    const before = w.length;
    if (v) {
      int(w, 2, 0);
      int(w, 1, secondsOf(v));
    }
    w.varint(w.length - before);
  },
  MICRO_TIME: (w, v: string | null) =>
    delimited(w, () => {
      if (!v) return;
      const { seconds, nanos } = parseInstant(v);
      int(w, 2, Math.trunc(nanos / 1000) * 1000);
      int(w, 1, seconds);
    }),
  DURATION: (w, v: string) => delimited(w, () => int(w, 1, parseDuration(v))),
  QUANTITY: (w, v: string | number) => {
    const before = w.length;
    w.stringField(1, String(v));
    w.varint(w.length - before);
  },
  INT_OR_STRING: (w, v: string | number) =>
    delimited(w, () => {
      w.stringField(3, typeof v === "string" ? v : "");
      int(w, 2, typeof v === "string" ? 0 : v);
      int(w, 1, typeof v === "string" ? 1 : 0);
    }),
  RAW_JSON: json(1),
  RAW_OBJECT: json(1),
  STRING_LIST: (w, v: string[] | null) =>
    delimited(w, () => {
      for (let i = (v?.length ?? 0) - 1; i >= 0; i--) w.stringField(1, v![i]!);
    }),
  SCHEMA_OR_ARRAY: (w, v: Json | Json[]) =>
    delimited(w, () => {
      if (Array.isArray(v)) for (let i = v.length - 1; i >= 0; i--) schemaField(w, 2, v[i]);
      else schemaField(w, 1, v);
    }),
  SCHEMA_OR_BOOL: (w, v: Json | boolean) =>
    delimited(w, () => {
      if (typeof v !== "boolean") schemaField(w, 2, v);
      w.varint(v === false ? 0 : 1);
      w.tag(1, Wire.Varint);
    }),
  SCHEMA_OR_STRING_ARRAY: (w, v: Json | string[]) =>
    delimited(w, () => {
      if (Array.isArray(v)) for (let i = v.length - 1; i >= 0; i--) w.stringField(2, v[i]!);
      else schemaField(w, 1, v);
    }),
};

const formZeros: Record<string, unknown> = {
  TIME: null,
  MICRO_TIME: null,
  DURATION: "0s",
  QUANTITY: "0",
  INT_OR_STRING: 0,
  RAW_OBJECT: null,
  RAW_JSON: null,
};

function planField(f: FieldSchema): FieldPlan {
  const shape = f.inline ? "inline" : f.list ? "list" : f.map ? "map" : "one";
  const base = { name: f.json, number: f.number, shape } as const;
  if (f.message === undefined) {
    const { wire, write, zero } = scalarWrites[f.type!];
    return { ...base, wire, write, zero: f.pointer ? undefined : zero };
  }
  const { json: form } = messageSchema(f.message);
  const { message } = f;
  if (form !== "OBJECT")
    return { ...base, wire: Wire.Bytes, write: formWrites[form]!, zero: f.pointer ? undefined : formZeros[form], message };
  let plan: FieldPlan[] | undefined;
  const write: Write = (w, v: Json) => {
    const before = w.length;
    plan ??= planOf(message);
    writeFields(w, v, plan);
    w.varint(w.length - before);
  };
  return { ...base, wire: Wire.Bytes, write, zero: f.pointer ? undefined : {}, message };
}

const plans = new Map<string, FieldPlan[]>();

/** Fields by falling number, as they are written. */
function planOf(name: string): FieldPlan[] {
  let plan = plans.get(name);
  if (!plan) {
    plan = [];
    plans.set(name, plan);
    plan.push(
      ...messageSchema(name)
        .fields.map(planField)
        .sort((a, b) => b.number - a.number),
    );
  }
  return plan;
}

function writeFields(w: BackWriter, object: Json, plan: FieldPlan[]): void {
  for (const f of plan) {
    if (f.shape === "inline") {
      w.nested(f.number, () => writeFields(w, object, planOf(f.message!)));
      continue;
    }
    const value = object[f.name] ?? undefined;
    if (f.shape === "one") {
      const v = value === undefined ? f.zero : value;
      if (v === undefined) continue;
      f.write(w, v as never);
      w.tag(f.number, f.wire);
    } else if (value !== undefined) {
      if (f.shape === "list") writeList(w, value as unknown[], f);
      else writeMap(w, value as Json, f);
    }
  }
}

function writeList(w: BackWriter, list: unknown[], f: FieldPlan): void {
  for (let i = list.length - 1; i >= 0; i--) {
    f.write(w, list[i] as never);
    w.tag(f.number, f.wire);
  }
}

function writeMap(w: BackWriter, map: Json, f: FieldPlan): void {
  const keys = Object.keys(map).sort();
  for (let i = keys.length - 1; i >= 0; i--)
    w.nested(f.number, () => {
      f.write(w, map[keys[i]!] as never);
      w.tag(2, f.wire);
      w.stringField(1, keys[i]!);
    });
}

/** The message alone, as it stands in lists and in `raw`. */
export function encodeMessage(name: string, object: object): Uint8Array<ArrayBuffer> {
  const w = new BackWriter();
  writeFields(w, object as Json, planOf(name));
  return w.finish();
}

/** The envelope around what `write` writes. */
function wrapped(w: BackWriter, type: { apiVersion: string; kind: string }, write: () => void): Uint8Array<ArrayBuffer> {
  w.stringField(4, "");
  w.stringField(3, "");
  w.nested(2, write);
  w.nested(1, () => {
    w.stringField(2, type.kind);
    w.stringField(1, type.apiVersion);
  });
  return w.finish(magic);
}

/** Puts a message into the envelope. */
export function wrapMessage(type: { apiVersion: string; kind: string }, raw: Uint8Array): Uint8Array<ArrayBuffer> {
  const w = new BackWriter(raw.length + 128);
  return wrapped(w, type, () => w.raw(raw));
}

/** An object in the format. `name` is the full name of its message; kind and apiVersion are the object's own. */
export function encodeProtobuf(name: string, object: { apiVersion?: string; kind?: string }): Uint8Array<ArrayBuffer> {
  const { apiVersion = "", kind = "" } = object;
  const w = new BackWriter();
  return wrapped(w, { apiVersion, kind }, () => writeFields(w, object as Json, planOf(name)));
}

/**
 * A list from items that are encoded already.
 * @param items each as encodeMessage leaves it
 */
export function encodeList(
  type: { apiVersion: string; kind: string },
  metadata: object,
  items: readonly Uint8Array[],
): Uint8Array<ArrayBuffer> {
  let size = 256;
  for (const i of items) size += i.length + 8;
  const w = new BackWriter(size);
  for (let i = items.length - 1; i >= 0; i--) {
    w.bytes(items[i]!);
    w.tag(2, Wire.Bytes);
  }
  w.nested(1, () => writeFields(w, metadata as Json, planOf("k8s.io.apimachinery.pkg.apis.meta.v1.ListMeta")));
  return wrapMessage(type, w.finish());
}

/** One event of a watch stream: four bytes of length, and a WatchEvent without an envelope around an object with one. */
export function encodeWatchEvent(type: string, object: Uint8Array): Uint8Array<ArrayBuffer> {
  const w = new BackWriter(object.length + 64);
  w.nested(2, () => {
    w.bytes(object);
    w.tag(1, Wire.Bytes);
  });
  w.stringField(1, type);
  const body = w.finish();
  const out = new Uint8Array(4 + body.length);
  new DataView(out.buffer).setUint32(0, body.length);
  out.set(body, 4);
  return out;
}
