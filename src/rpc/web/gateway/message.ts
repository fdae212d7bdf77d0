// JSON as messages, by the rules of protobuf's JSON mapping as golang/protobuf's
// jsonpb has them, which etcd's gateway reads with: fields by either of their
// names, 64-bit integers as numbers or strings, bytes in base64, enums by name or
// number, null for what is not set; fields that are not known are passed over.
// What is wrong is said in its words. Maps and well-known types are not mapped.
import type { DescEnum, DescField, DescMessage, Message } from "@bufbuild/protobuf";
import { create, protobufEs } from "../../protobuf.ts";
import { type Json, JsonError, JsonNumber, readJson } from "./json.ts";

/** google.protobuf.FieldDescriptorProto.Type, of the scalars. */
enum Scalar {
  DOUBLE = 1,
  FLOAT = 2,
  INT64 = 3,
  UINT64 = 4,
  INT32 = 5,
  FIXED64 = 6,
  FIXED32 = 7,
  BOOL = 8,
  STRING = 9,
  BYTES = 12,
  UINT32 = 13,
  SFIXED32 = 15,
  SFIXED64 = 16,
  SINT32 = 17,
  SINT64 = 18,
}

interface Integer {
  /** As Go calls it. */
  readonly type: string;
  readonly min: bigint;
  readonly max: bigint;
  readonly big: boolean;
}

const INT64: Integer = { type: "int64", min: -(2n ** 63n), max: 2n ** 63n - 1n, big: true };
const UINT64: Integer = { type: "uint64", min: 0n, max: 2n ** 64n - 1n, big: true };
const INT32: Integer = { type: "int32", min: -(2n ** 31n), max: 2n ** 31n - 1n, big: false };
const UINT32: Integer = { type: "uint32", min: 0n, max: 2n ** 32n - 1n, big: false };
const UINT8: Integer = { type: "uint8", min: 0n, max: 255n, big: false };

const INTEGERS: Partial<Record<number, Integer>> = {
  [Scalar.INT64]: INT64,
  [Scalar.SINT64]: INT64,
  [Scalar.SFIXED64]: INT64,
  [Scalar.UINT64]: UINT64,
  [Scalar.FIXED64]: UINT64,
  [Scalar.INT32]: INT32,
  [Scalar.SINT32]: INT32,
  [Scalar.SFIXED32]: INT32,
  [Scalar.UINT32]: UINT32,
  [Scalar.FIXED32]: UINT32,
};

function kindOf(json: Json): string {
  if (json instanceof JsonNumber) return "number";
  if (json instanceof Map) return "object";
  if (Array.isArray(json)) return "array";
  return typeof json === "boolean" ? "bool" : "string";
}

const mismatch = (what: string, type: string) => new JsonError(`json: cannot unmarshal ${what} into Go value of type ${type}`);

/** The message that a value is. @throws JsonError */
export function messageOf(desc: DescMessage, json: Json): Message {
  const message = create(desc) as Message & Record<string, unknown>;
  if (json === null) return message;
  if (!(json instanceof Map)) throw mismatch(kindOf(json), "map[string]json.RawMessage");
  // Those of a oneof come last, as there.
  for (const oneof of [false, true]) {
    for (const field of desc.fields) {
      if ((field.oneof !== undefined) !== oneof) continue;
      const value: Json | undefined = json.get(field.jsonName) ?? json.get(field.name);
      if (value === undefined || (value === null && !oneof)) continue;
      const read = fieldValue(field, value);
      if (field.oneof) message[field.oneof.localName] = { case: field.localName, value: read };
      else if (read !== undefined) message[field.localName] = read;
    }
  }
  return message;
}

function fieldValue(field: DescField, json: Json): unknown {
  switch (field.fieldKind) {
    case "message":
      return messageOf(field.message, json);
    case "enum":
      return enumOf(field.enum, json);
    case "scalar":
      return scalarOf(field.scalar, json);
    case "list":
      return listOf(field, json);
    case "map":
      throw new JsonError(`${field.toString()} is a map`);
  }
}

function listOf(field: DescField & { fieldKind: "list" }, json: Json): unknown[] {
  if (!Array.isArray(json)) throw mismatch(kindOf(json), "[]json.RawMessage");
  return json.map((item) => {
    if (field.listKind === "message") return messageOf(field.message, item);
    return field.listKind === "enum" ? enumOf(field.enum, item) : scalarOf(field.scalar, item);
  });
}

/** "pkg.Outer_Inner", as in Go. */
function goName(desc: DescEnum): string {
  const { package: of } = desc.file.proto;
  return of ? `${of}.${desc.typeName.slice(of.length + 1).replaceAll(".", "_")}` : desc.typeName.replaceAll(".", "_");
}

function enumOf(desc: DescEnum, json: Json): number {
  if (typeof json !== "string") return json === null ? 0 : Number(integerOf({ ...INT32, type: goName(desc) }, json));
  const value = desc.values.find(({ name }) => name === json);
  if (!value) throw new JsonError(`unknown value ${JSON.stringify(json)} for enum ${goName(desc)}`);
  return value.number;
}

function scalarOf(type: number, json: Json): unknown {
  const integer = INTEGERS[type];
  if (integer) {
    const read = integerOf(integer, typeof json === "string" ? readJson(json) : json);
    return integer.big ? read : Number(read);
  }
  switch (type) {
    case Scalar.BYTES:
      return bytesOf(json);
    case Scalar.STRING:
      if (json === null) return "";
      if (typeof json !== "string") throw mismatch(kindOf(json), "string");
      return json;
    case Scalar.BOOL:
      if (json === null) return false;
      if (typeof json !== "boolean") throw mismatch(kindOf(json), "bool");
      return json;
    default: {
      const number = typeof json === "string" ? readJson(json) : json;
      if (number === null) return 0;
      if (!(number instanceof JsonNumber)) throw mismatch(kindOf(number), type === Scalar.FLOAT ? "float32" : "float64");
      return Number(number.text);
    }
  }
}

function integerOf({ type, min, max }: Integer, json: Json): bigint {
  if (json === null) return 0n;
  if (!(json instanceof JsonNumber)) throw mismatch(kindOf(json), type);
  const value = /^-?[0-9]{1,20}$/.test(json.text) ? BigInt(json.text) : undefined;
  if (value === undefined || value < min || value > max) throw mismatch(`number ${json.text}`, type);
  return value;
}

function bytesOf(json: Json): Uint8Array {
  if (json === null) return new Uint8Array(0);
  if (Array.isArray(json)) return Uint8Array.from(json, (item) => Number(integerOf(UINT8, item)));
  if (typeof json !== "string") throw mismatch(kindOf(json), "[]uint8");
  const text = json.replace(/[\r\n]/g, "");
  const wrong = corruptAt(text);
  if (wrong !== undefined) throw new JsonError(`illegal base64 data at input byte ${wrong}`);
  return new Uint8Array(Buffer.from(text, "base64"));
}

/** Where a text is no standard base64 with its padding, by Go's count; undefined if it is. */
function corruptAt(text: string): number | undefined {
  const plain = /^[A-Za-z0-9+/]*/.exec(text)![0].length;
  const begun = plain % 4;
  if (plain === text.length) return begun === 0 ? undefined : plain - begun;
  // A character that is none, or padding where none may be.
  if (text[plain] !== "=" || begun < 2) return plain;
  const padding = 4 - begun;
  if (padding === 2 && text[plain + 1] !== "=") return plain + 1 === text.length ? text.length : plain;
  return text.length > plain + padding ? plain + padding : undefined;
}

/** A message as JSON: fields by the names of the .proto, those with their defaults left out. */
export const jsonOf = (desc: DescMessage, message: Message): string =>
  protobufEs().toJsonString(desc, message, { useProtoFieldName: true });
