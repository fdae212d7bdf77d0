// An OpenAPI v2 document in the protobuf form of proto/openapi/v2.proto, which
// client-go insists on.
import { BackWriter, Wire } from "../codec/wire.ts";
import type { Json } from "./schemas.ts";

/** How one JSON member is written: its field number and the writer of its value. */
type Write = (w: BackWriter, value: unknown) => void;
type Fields = Record<string, [number: number, write: Write]>;

const text: Write = (w, v) => w.string(v as string);
const any: Write = (w, v) => message(w, () => w.stringField(2, JSON.stringify(v)));

/** The length that precedes what `write` writes. */
function message(w: BackWriter, write: () => void): void {
  const before = w.length;
  write();
  w.varint(w.length - before);
}

/** Members in the order of their numbers: written backwards, so from the last. */
function fields(w: BackWriter, object: Json, table: Fields, extensions?: number): void {
  if (extensions !== undefined)
    for (const key of Object.keys(object).reverse()) {
      if (!key.startsWith("x-")) continue;
      w.nested(extensions, () => {
        any(w, object[key]);
        w.tag(2, Wire.Bytes);
        w.stringField(1, key);
      });
    }
  for (const [key, [number, write]] of Object.entries(table).reverse()) {
    const value = object[key];
    if (value === undefined) continue;
    if (typeof value === "boolean") {
      if (!value) continue;
      w.varint(1);
      w.tag(number, Wire.Varint);
    } else {
      const values = Array.isArray(value) ? value : [value];
      for (let i = values.length - 1; i >= 0; i--) {
        write(w, values[i]);
        w.tag(number, Wire.Bytes);
      }
    }
  }
}

const struct =
  (table: Fields, extensions?: number): Write =>
  (w, v) =>
    message(w, () => fields(w, v as Json, table, extensions));

/** A message whose one field holds the value. */
const wrap =
  (number: number, write: Write): Write =>
  (w, v) =>
    message(w, () => {
      write(w, v);
      w.tag(number, Wire.Bytes);
    });

/** A JSON object as a repeated field of (name, value). */
const named =
  (number: number, write: Write): Write =>
  (w, v) =>
    message(w, () => {
      for (const [name, value] of Object.entries(v as Json).reverse())
        w.nested(number, () => {
          write(w, value);
          w.tag(2, Wire.Bytes);
          w.stringField(1, name);
        });
    });

const schema: Write = (w, v) => struct(schemaFields, 31)(w, v);
const list: Write = wrap(1, text);
const schemaFields: Fields = {
  $ref: [1, text],
  format: [2, text],
  description: [4, text],
  default: [5, any],
  required: [19, text],
  enum: [20, any],
  additionalProperties: [21, wrap(1, schema)],
  type: [22, list],
  items: [23, wrap(1, schema)],
  properties: [25, named(1, schema)],
};

const bodyParameter: Fields = { description: [1, text], name: [2, text], in: [3, text], required: [4, text], schema: [5, schema] };
const pathParameter: Fields = {
  required: [1, text],
  in: [2, text],
  description: [3, text],
  name: [4, text],
  type: [5, text],
  uniqueItems: [19, text],
};
const queryParameter: Fields = { ...pathParameter, type: [6, text], uniqueItems: [20, text] };

const parameter: Write = (w, v) => {
  const where = (v as Json).in;
  const own =
    where === "body"
      ? wrap(1, struct(bodyParameter))
      : wrap(2, where === "path" ? wrap(4, struct(pathParameter)) : wrap(3, struct(queryParameter)));
  wrap(1, own)(w, v);
};

const response = struct({ description: [1, text], schema: [2, wrap(1, schema)] });
const operation = struct(
  {
    tags: [1, text],
    description: [3, text],
    operationId: [5, text],
    produces: [6, text],
    consumes: [7, text],
    parameters: [8, parameter],
    responses: [9, named(1, wrap(1, response))],
    schemes: [10, text],
  },
  13,
);
const pathItem = struct({
  get: [2, operation],
  put: [3, operation],
  post: [4, operation],
  delete: [5, operation],
  options: [6, operation],
  head: [7, operation],
  patch: [8, operation],
  parameters: [9, parameter],
});

const document: Fields = {
  swagger: [1, text],
  info: [2, struct({ title: [1, text], version: [2, text] })],
  paths: [8, named(2, pathItem)],
  definitions: [9, named(1, schema)],
  security: [
    12,
    named(1, (w, v) =>
      message(w, () => {
        for (const s of v as string[]) w.stringField(1, s);
      }),
    ),
  ],
  securityDefinitions: [13, named(1, wrap(2, struct({ type: [1, text], name: [2, text], in: [3, text], description: [4, text] })))],
};

/** The protobuf form of a document that buildV2 made. */
export function encodeV2(value: Json): Uint8Array<ArrayBuffer> {
  const w = new BackWriter(1 << 20);
  fields(w, value, document);
  return w.finish();
}
