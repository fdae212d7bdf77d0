// Turns proto/ into what the program runs on: gRPC message types (by
// protoc-gen-es), TypeScript types of the Kubernetes API, the schema table that
// every codec, patch, validation and OpenAPI document is driven by, and the
// table of served kinds. `--check` compares instead of writing.
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import {
  createFileRegistry,
  type DescField,
  type DescFile,
  type DescMessage,
  fromBinary,
  getOption,
  hasOption,
  ScalarType,
} from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import type { KindInfo } from "../src/api/schema.ts";

const root = join(import.meta.dirname, "..");
const check = process.argv.includes("--check");
const out = check ? mkdtempSync(join(tmpdir(), "kubun-generate-")) : root;
const bin = (name: string) => join(root, "node_modules/.bin", name);

function run(...cmd: string[]): void {
  const p = Bun.spawnSync(cmd, { cwd: root, stderr: "inherit", stdout: "inherit" });
  if (p.exitCode !== 0) {
    console.error(`generate: ${cmd.join(" ")} ended with exit code ${p.exitCode}`);
    process.exit(1);
  }
}

run(bin("buf"), "generate", "-o", out);
const scratch = mkdtempSync(join(tmpdir(), "kubun-descriptors-"));
run(bin("buf"), "build", "-o", join(scratch, "fds.binpb"));
const set = fromBinary(FileDescriptorSetSchema, readFileSync(join(scratch, "fds.binpb")));
rmSync(scratch, { recursive: true });
const registry = createFileRegistry(set);

const opts = await import("../src/rpc/gen/kubun/api/options_pb.ts");
const files = [...registry.files].filter((f) => f.name.startsWith("k8s/")).sort((a, b) => (a.name < b.name ? -1 : 1));

function write(path: string, text: string): void {
  const file = join(out, path);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text);
}

const banner = "// Generated from proto/ by scripts/generate.ts. Do not edit.\n";
const jsonKinds = Object.fromEntries(
  Object.entries(opts.Json)
    .filter(([, v]) => typeof v === "number")
    .map(([k, v]) => [v as number, k]),
) as Record<number, string>;
const fieldOptions = (f: DescField) => getOption(f, opts.field);
const jsonKind = (m: DescMessage) => jsonKinds[getOption(m, opts.json)] ?? "OBJECT";
const jsonName = (f: DescField) => fieldOptions(f).json || f.name;

// ---- TypeScript types

/** proto file -> module path below src/api/gen, without an extension. */
const moduleOf = (f: DescFile) => f.name.replace(/^k8s\//, "");
const aliasOf = (f: DescFile) => moduleOf(f).replace(/\W(\w)/g, (_, c: string) => c.toUpperCase());

function scalarType(s: ScalarType): string {
  if (s === ScalarType.STRING || s === ScalarType.BYTES) return "string";
  return s === ScalarType.BOOL ? "boolean" : "number";
}

const special: Record<string, string> = {
  TIME: "string",
  MICRO_TIME: "string",
  DURATION: "string",
  QUANTITY: "string",
  INT_OR_STRING: "number | string",
  RAW_JSON: "unknown",
  RAW_OBJECT: "unknown",
  STRING_LIST: "string[]",
};

function typesFile(file: DescFile): string {
  const imports = new Map<string, string>();
  const ref = (m: DescMessage): string => {
    const s = special[jsonKind(m)];
    if (s) return s.includes("|") ? `(${s})` : s;
    if (m.file === file) return m.name;
    imports.set(aliasOf(m.file), moduleOf(m.file));
    return `${aliasOf(m.file)}.${m.name}`;
  };
  const fieldType = (f: DescField): string => {
    const o = fieldOptions(f);
    if (o.any) return "unknown[]";
    if (f.fieldKind === "map") {
      const v = f.mapKind === "message" ? ref(f.message) : scalarType(f.scalar as ScalarType);
      return `Record<string, ${v}>`;
    }
    const named = o.values ? stringTypeRef(o.values) : undefined;
    if (f.fieldKind === "list") {
      const v = named ?? (f.listKind === "message" ? ref(f.message) : scalarType(f.scalar as ScalarType));
      return v.includes("|") && !v.startsWith("(") ? `(${v})[]` : `${v}[]`;
    }
    return named ?? (f.fieldKind === "message" ? ref(f.message) : scalarType(f.scalar as ScalarType));
  };
  const stringTypeRef = (full: string): string => {
    const pkg = full.slice(0, full.lastIndexOf("."));
    const name = full.slice(full.lastIndexOf(".") + 1);
    const home = files.find((f) => f.proto.package === pkg);
    if (!home) throw new Error(`${file.name}: no file holds the string type ${full}`);
    if (home === file) return name;
    imports.set(aliasOf(home), moduleOf(home));
    return `${aliasOf(home)}.${name}`;
  };

  let body = "";
  for (const t of getOption(file, opts.string_types)) {
    const union = t.values.map((v) => JSON.stringify(v)).join(" | ");
    body += `export type ${t.name} = ${union}${t.closed ? "" : " | (string & {})"};\n\n`;
  }
  for (const m of file.messages) {
    const kind = jsonKind(m);
    const s = special[kind];
    if (s) {
      body += `export type ${m.name} = ${s};\n\n`;
      continue;
    }
    if (kind.startsWith("SCHEMA_OR_")) {
      const other = { SCHEMA_OR_ARRAY: "JSONSchemaProps[]", SCHEMA_OR_BOOL: "boolean", SCHEMA_OR_STRING_ARRAY: "string[]" }[kind];
      body += `export type ${m.name} = JSONSchemaProps | ${other};\n\n`;
      continue;
    }
    const isKind = hasOption(m, opts.kind);
    const inline = m.fields.filter((f) => fieldOptions(f).inline);
    const bases = inline.map((f) => ref(f.message as DescMessage));
    body += `export interface ${m.name}${bases.length ? ` extends ${bases.join(", ")}` : ""} {\n`;
    if (isKind) body += "  apiVersion?: string;\n  kind?: string;\n";
    for (const f of m.fields) {
      if (fieldOptions(f).inline) continue;
      const name = jsonName(f);
      const must = fieldOptions(f).required || (isKind && (name === "metadata" || name === "spec"));
      body += `  ${/^[A-Za-z_$]\w*$/.test(name) ? name : JSON.stringify(name)}${must ? "" : "?"}: ${fieldType(f)}${fieldOptions(f).nullable ? " | null" : ""};\n`;
    }
    body += "}\n\n";
  }
  const depth = "../".repeat(moduleOf(file).split("/").length - 1) || "./";
  const head = [...imports]
    .sort()
    .map(([alias, path]) => `import type * as ${alias} from "${depth}${path}.ts";\n`)
    .join("");
  return `${banner}${head ? `${head}\n` : "\n"}${body.trimEnd()}\n`;
}

for (const f of files) write(`src/api/gen/${moduleOf(f)}.ts`, typesFile(f));

// ---- schema table

/** Leaves out what is false, empty or undefined, so that the table stays small. */
const compact = <T extends object>(o: T): Partial<T> =>
  Object.fromEntries(
    Object.entries(o).filter(([, v]) => v !== undefined && v !== false && v !== "" && !(Array.isArray(v) && v.length === 0)),
  ) as Partial<T>;

function scalarName(s: ScalarType): string {
  return ScalarType[s].toLowerCase();
}

function fieldRow(f: DescField) {
  const o = fieldOptions(f);
  const message = f.message?.typeName;
  return compact({
    json: jsonName(f),
    number: f.number,
    type: f.fieldKind === "enum" ? "int32" : message ? undefined : scalarName((f as { scalar: ScalarType }).scalar),
    message,
    list: f.fieldKind === "list",
    map: f.fieldKind === "map",
    pointer: f.proto.proto3Optional,
    inline: o.inline,
    required: o.required,
    omitEmpty: o.omitEmpty,
    omitZero: o.omitZero,
    nullable: o.nullable,
    default: o.default ? JSON.parse(o.default) : undefined,
    values: o.values,
    patchStrategy: o.patchStrategy ? o.patchStrategy.split(",") : undefined,
    patchMergeKey: o.patchMergeKey,
    listType: o.listType,
    listMapKeys: o.listMapKeys,
    mapType: o.mapType,
    structType: o.structType,
    featureGate: o.featureGate,
    any: o.any,
  });
}

const messages: Record<string, unknown> = {};
const stringTypes: Record<string, unknown> = {};
const kinds: Omit<KindInfo, "listKind" | "singular">[] = [];
for (const file of files) {
  for (const t of getOption(file, opts.string_types)) {
    stringTypes[`${file.proto.package}.${t.name}`] = compact({ values: t.values, closed: t.closed });
  }
  for (const m of file.messages) {
    messages[m.typeName] = compact({
      json: jsonKind(m) === "OBJECT" ? undefined : jsonKind(m),
      structType: getOption(m, opts.struct_type),
      fields: m.fields.map(fieldRow),
    });
    if (!hasOption(m, opts.kind)) continue;
    const k = getOption(m, opts.kind);
    kinds.push({
      group: getOption(file, opts.group),
      version: getOption(file, opts.version),
      kind: m.name,
      message: m.typeName,
      plural: k.plural,
      namespaced: k.scope !== opts.Scope.CLUSTER,
      shortNames: k.shortNames,
      categories: k.categories,
      subresources: k.subresources,
    });
  }
}
/** The comments of proto/, by message or message and field: the descriptions in OpenAPI. */
const docs: Record<string, string> = {};
for (const file of files) {
  const comments = new Map(file.proto.sourceCodeInfo?.location.map((l) => [l.path.join("."), l.leadingComments]));
  file.proto.messageType.forEach((proto, i) => {
    const m = file.messages.find((x) => x.name === proto.name)!;
    const note = (key: string, path: string) => {
      const text = comments.get(path)?.replace(/\s+/g, " ").trim();
      if (text) docs[key] = text;
    };
    // In a descriptor, 4 is a file's messages and 2 a message's fields.
    note(m.typeName, `4.${i}`);
    for (const [j, f] of m.fields.entries()) note(`${m.typeName}.${jsonName(f)}`, `4.${i}.2.${j}`);
  });
}

const names = new Set(kinds.map((k) => `${k.group}/${k.version}/${k.kind}`));
const kindRows = kinds.map((k) => ({
  ...k,
  listKind: names.has(`${k.group}/${k.version}/${k.kind}List`) ? `${k.kind}List` : "",
  singular: k.plural === "" ? "" : k.kind.toLowerCase(),
}));
const lines = (value: unknown) => `${JSON.stringify(value).replaceAll('},"', '},\n"').replaceAll("},{", "},\n{")}\n`;
write("src/api/gen/schema.json", lines({ messages, stringTypes }));
write("src/api/gen/kinds.json", lines(kindRows));
write("src/api/gen/docs.json", `${JSON.stringify(docs, null, 1)}\n`);

// ---- compare

if (check) {
  const stale: string[] = [];
  for (const dir of ["src/api/gen", "src/rpc/gen"]) {
    const list = (base: string) => {
      try {
        return (readdirSync(join(base, dir), { recursive: true, withFileTypes: true }) as import("node:fs").Dirent[])
          .filter((e) => e.isFile())
          .map((e) => join(e.parentPath, e.name).slice(base.length + 1));
      } catch {
        return [];
      }
    };
    for (const f of new Set([...list(root), ...list(out)])) {
      const read = (base: string) => {
        try {
          return readFileSync(join(base, f), "utf8");
        } catch {
          return undefined;
        }
      };
      if (read(root) !== read(out)) stale.push(f);
    }
  }
  rmSync(out, { recursive: true });
  if (stale.length) {
    console.error(`generated code is not up to date; run 'bun scripts/generate.ts':\n  ${stale.join("\n  ")}`);
    process.exit(1);
  }
  console.log("generated code is up to date");
}
