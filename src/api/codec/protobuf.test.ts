import { expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createFileRegistry, type FileRegistry, fromBinary, toBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import fc from "fast-check";
import { type FieldSchema, kinds, messageSchema } from "../schema.ts";
import { decodeJson } from "./json.ts";
import {
  builtinMessage,
  decodeMessage,
  decodeProtobuf,
  encodeList,
  encodeMessage,
  encodeProtobuf,
  encodeWatchEvent,
  unwrapMessage,
} from "./protobuf.ts";

const namespace = "k8s.io.api.core.v1.Namespace";

test("a namespace has the very bytes that upstream keeps in etcd", () => {
  const object = decodeJson(namespace, {
    apiVersion: "v1",
    kind: "Namespace",
    metadata: { name: "default", uid: "0a6bd3ca-5fc1-4d7e-a1f4-6d3f3a6f2a3b", creationTimestamp: "2021-03-04T05:06:07Z" },
    spec: { finalizers: ["kubernetes"] },
    status: { phase: "Active" },
  }).object;
  const meta = '\n\x07default\x12\x00\x1a\x00"\x00*$0a6bd3ca-5fc1-4d7e-a1f4-6d3f3a6f2a3b2\x008\x00B\x08\x08\xbf\xd5\x81\x82\x06\x10\x00';
  const raw = `\n${String.fromCharCode(meta.length)}${meta}\x12\x0c\n\nkubernetes\x1a\x08\n\x06Active`;
  const want = `k8s\x00\n\x0f\n\x02v1\x12\x09Namespace\x12${String.fromCharCode(raw.length)}${raw}\x1a\x00"\x00`;
  expect(Buffer.from(encodeProtobuf(namespace, object)).toString("latin1")).toBe(want);
});

/** Any value of a field, a few levels deep. */
function anyValue(f: FieldSchema, depth: number): fc.Arbitrary<unknown> {
  if (f.any) return fc.jsonValue().filter((v) => v !== null);
  if (f.message !== undefined) {
    const forms: Record<string, fc.Arbitrary<unknown>> = {
      TIME: fc
        .date({ min: new Date(1000), max: new Date("9999-12-31"), noInvalidDate: true })
        .map((d) => `${d.toISOString().slice(0, -5)}Z`),
      MICRO_TIME: fc.date({ min: new Date(1000), max: new Date("9999-12-31"), noInvalidDate: true }).map((d) => d.toISOString()),
      DURATION: fc.integer().map((n) => `${n}s`),
      QUANTITY: fc.tuple(fc.integer(), fc.constantFrom("", "m", "Mi", "k")).map(([n, s]) => `${n}${s}`),
      INT_OR_STRING: fc.oneof(fc.integer(), fc.string()),
      RAW_JSON: fc.dictionary(fc.string(), fc.integer()),
      RAW_OBJECT: fc.dictionary(fc.string(), fc.integer()),
      STRING_LIST: fc.array(fc.string(), { minLength: 1, maxLength: 3 }),
      SCHEMA_OR_ARRAY: fc.constantFrom({ type: "string" }, [{ type: "string" }, { type: "integer" }]),
      SCHEMA_OR_BOOL: fc.constantFrom(true, false, { type: "string" }),
      SCHEMA_OR_STRING_ARRAY: fc.constantFrom(["a", "b"], { type: "string" }),
    };
    return forms[messageSchema(f.message).json] ?? objectOf(f.message, depth - 1);
  }
  const scalars: Record<string, fc.Arbitrary<unknown>> = {
    string: fc.string({ unit: "binary" }),
    bytes: fc.uint8Array({ minLength: 1 }).map((b) => Buffer.from(b).toString("base64")),
    bool: fc.boolean(),
    int32: fc.integer(),
    int64: fc.maxSafeInteger(),
    double: fc.double({ noNaN: true, noDefaultInfinity: true }).filter((n) => !Object.is(n, -0)),
  };
  return scalars[f.type!]!;
}

function objectOf(message: string, depth: number): fc.Arbitrary<Record<string, unknown>> {
  if (depth <= 0) return fc.constant({});
  const fields = messageSchema(message).jsonFields;
  // A few fields at a time: objects with all of them would be huge.
  return fc.subarray([...fields], { maxLength: Math.min(4, fields.length) }).chain((some) =>
    fc.record(
      Object.fromEntries(
        some.map((f) => {
          const value = anyValue(f, depth);
          return [f.json, f.list ? fc.array(value, { maxLength: 3 }) : f.map ? fc.dictionary(fc.string(), value, { maxKeys: 3 }) : value];
        }),
      ),
    ),
  );
}

const anyKind = fc.constantFrom(...kinds).chain((info) => objectOf(info.message, 5).map((value) => ({ info, value })));

test("objects of every kind come back from protobuf as they were", () => {
  fc.assert(
    fc.property(anyKind, ({ info, value }) => {
      const apiVersion = info.group === "" ? info.version : `${info.group}/${info.version}`;
      const { object } = decodeJson(info.message, { apiVersion, kind: info.kind, ...value });
      const bytes = encodeProtobuf(info.message, object);
      expect(decodeJson(info.message, decodeProtobuf(bytes, builtinMessage)).object).toEqual(object);
    }),
    { numRuns: 300 },
  );
});

function descriptors(): FileRegistry {
  const folder = mkdtempSync(join(tmpdir(), "kubun-protobuf-"));
  try {
    const root = join(import.meta.dirname, "../../..");
    const out = join(folder, "fds.binpb");
    const buf = Bun.spawnSync([join(root, "node_modules/.bin/buf"), "build", "-o", out], { cwd: root, stderr: "pipe" });
    if (buf.exitCode !== 0) throw new Error(buf.stderr.toString());
    return createFileRegistry(fromBinary(FileDescriptorSetSchema, readFileSync(out)));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test("another implementation reads what is written, knows every field, and writes what is read back", () => {
  const registry = descriptors();
  fc.assert(
    fc.property(anyKind, ({ info, value }) => {
      const { object } = decodeJson(info.message, value);
      const schema = registry.getMessage(info.message)!;
      const theirs = fromBinary(schema, encodeMessage(info.message, object));
      expect(JSON.stringify(theirs, (_, v) => (typeof v === "bigint" ? `${v}` : v))).not.toContain("$unknown");
      expect(decodeJson(info.message, decodeMessage(info.message, toBinary(schema, theirs))).object).toEqual(object);
    }),
    { numRuns: 300 },
  );
});

test("a list is put together from encoded items", () => {
  const item = (name: string) => decodeJson(namespace, { metadata: { name } }).object;
  const bytes = encodeList(
    { apiVersion: "v1", kind: "NamespaceList" },
    { resourceVersion: "7" },
    ["a", "b"].map((n) => encodeMessage(namespace, item(n))),
  );
  expect(decodeJson("k8s.io.api.core.v1.NamespaceList", decodeProtobuf(bytes, builtinMessage)).object).toEqual({
    kind: "NamespaceList",
    apiVersion: "v1",
    metadata: { resourceVersion: "7" },
    items: [item("a"), item("b")],
  });
});

test("a watch event holds a whole object", () => {
  const object = encodeProtobuf(namespace, decodeJson(namespace, { apiVersion: "v1", kind: "Namespace", metadata: { name: "a" } }).object);
  const frame = encodeWatchEvent("ADDED", object);
  expect(new DataView(frame.buffer).getUint32(0)).toBe(frame.length - 4);
  const event = decodeMessage("k8s.io.apimachinery.pkg.apis.meta.v1.WatchEvent", frame.subarray(4));
  expect(event).toMatchObject({ type: "ADDED", object: { kind: "Namespace", metadata: { name: "a" } } });
});

test("bytes that are none of ours are refused", () => {
  expect(() => unwrapMessage(Buffer.from("{}"))).toThrow("provided data does not appear to be a protobuf message");
  expect(() => decodeMessage(namespace, new Uint8Array([0x0a, 0x7f, 1]))).toThrow("unexpected EOF");
  expect(() => decodeProtobuf(encodeProtobuf(namespace, { apiVersion: "v9", kind: "Nope" }), builtinMessage)).toThrow(
    'no kind "Nope" is registered for version "v9"',
  );
});
