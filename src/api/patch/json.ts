// JSON patch (RFC 6902), with the errors of the library that upstream uses.
import { copy, deepEqual, setKey } from "../equal.ts";
import { isObject, PatchError } from "./errors.ts";

interface Operation {
  op: string;
  path: string;
  from?: string;
  value?: unknown;
}

/** Most operations a patch may have, as upstream. */
const maxOperations = 10_000;

const malformed = (message: string) => new PatchError("malformed", message);
const failed = (message: string) => new PatchError("unprocessable", message);

function readOperations(patch: unknown): Operation[] {
  if (!Array.isArray(patch)) throw malformed("json: cannot unmarshal object into Go value of type jsonpatch.Patch");
  if (patch.length > maxOperations)
    throw new PatchError("unprocessable", `The allowed maximum operations in a JSON patch is ${maxOperations}, got ${patch.length}`);
  return patch.map((o) => {
    if (!isObject(o)) throw malformed("json: cannot unmarshal array into Go value of type jsonpatch.Operation");
    if (typeof o.op !== "string") throw malformed("Unexpected kind: unknown");
    if (typeof o.path !== "string") throw malformed(`${o.op} operation: missing path`);
    return o as unknown as Operation;
  });
}

const pointer = (path: string): string[] =>
  path
    .split("/")
    .slice(1)
    .map((p) => p.replaceAll("~1", "/").replaceAll("~0", "~"));

type Container = Record<string, unknown> | unknown[];
const missing = Symbol();

/** The container that holds the last token of a path; undefined where the path breaks off. */
function parentOf(root: unknown, tokens: string[]): Container | undefined {
  let node: unknown = root;
  for (const token of tokens.slice(0, -1)) {
    const next = child(node, token);
    if (next === missing) return undefined;
    node = next;
  }
  return typeof node === "object" && node !== null ? (node as Container) : undefined;
}

function child(node: unknown, token: string): unknown {
  if (Array.isArray(node)) {
    const i = index(token, node.length, false);
    return i === undefined ? missing : node[i];
  }
  return isObject(node) && Object.hasOwn(node, token) ? node[token] : missing;
}

/** A list index; negative ones count from the end, as the library lets them. */
function index(token: string, length: number, insert: boolean): number | undefined {
  if (token === "-" && insert) return length;
  if (!/^-?\d+$/.test(token)) return undefined;
  let i = Number(token);
  const last = insert ? length : length - 1;
  if (i < 0) i += insert ? length + 1 : length;
  return i < 0 || i > last ? undefined : i;
}

function add(root: { value: unknown }, path: string, value: unknown): void {
  if (path === "") {
    root.value = value;
    return;
  }
  const tokens = pointer(path);
  const parent = parentOf(root.value, tokens);
  if (!parent) throw failed(`add operation does not apply: doc is missing path: "${path}": missing value`);
  const key = tokens[tokens.length - 1]!;
  if (Array.isArray(parent)) {
    const i = index(key, parent.length, true);
    if (i === undefined) throw failed(`error in add for path: '${path}': Unable to access invalid index: ${key}: invalid index referenced`);
    parent.splice(i, 0, value);
  } else setKey(parent, key, value);
}

function remove(root: { value: unknown }, path: string, op: string): unknown {
  const tokens = pointer(path);
  const parent = parentOf(root.value, tokens);
  if (!parent) throw failed(`${op} operation does not apply: doc is missing path: "${path}": missing value`);
  const key = tokens[tokens.length - 1]!;
  const value = child(parent, key);
  if (Array.isArray(parent)) {
    if (value === missing)
      throw failed(`error in ${op} for path: '${path}': Unable to access invalid index: ${key}: invalid index referenced`);
    parent.splice(index(key, parent.length, false)!, 1);
  } else {
    if (value === missing) throw failed(`error in ${op} for path: '${path}': Unable to remove nonexistent key: ${key}: missing value`);
    delete parent[key];
  }
  return value;
}

function read(root: { value: unknown }, path: string): unknown {
  let node: unknown = root.value;
  for (const token of path === "" ? [] : pointer(path)) {
    node = child(node, token);
    if (node === missing) return missing;
  }
  return node;
}

function replace(root: { value: unknown }, path: string, value: unknown): void {
  if (path === "") {
    root.value = value;
    return;
  }
  const tokens = pointer(path);
  const parent = parentOf(root.value, tokens);
  if (!parent) throw failed(`replace operation does not apply: doc is missing path: ${path}: missing value`);
  const key = tokens[tokens.length - 1]!;
  if (child(parent, key) === missing) throw failed(`replace operation does not apply: doc is missing key: ${path}: missing value`);
  if (Array.isArray(parent)) parent[index(key, parent.length, false)!] = value;
  else setKey(parent, key, value);
}

function from(root: { value: unknown }, o: Operation): unknown {
  if (typeof o.from !== "string") throw malformed(`${o.op} operation failed to decode from`);
  const value = read(root, o.from);
  if (value === missing) throw failed(`${o.op} operation does not apply: doc is missing from path: ${o.from}: missing value`);
  return value;
}

const operations: Record<string, (root: { value: unknown }, o: Operation) => void> = {
  add: (root, o) => add(root, o.path, copy(o.value)),
  remove: (root, o) => void remove(root, o.path, "remove"),
  replace: (root, o) => replace(root, o.path, copy(o.value)),
  move: (root, o) => {
    const value = from(root, o);
    remove(root, o.from!, "move");
    add(root, o.path, value);
  },
  copy: (root, o) => add(root, o.path, copy(from(root, o))),
  test: (root, o) => {
    const found = read(root, o.path);
    // An absent member equals null.
    if (!deepEqual(found === missing ? null : found, o.value ?? null)) throw failed(`testing value ${o.path} failed: test failed`);
  },
};

/** The object after all operations. Neither argument is changed. Throws a PatchError. */
export function applyJsonPatch(original: unknown, patch: unknown): unknown {
  const root = { value: copy(original) as unknown };
  for (const o of readOperations(patch)) {
    const run = operations[o.op];
    if (!run) throw failed(`Unexpected kind: ${o.op}`);
    run(root, o);
  }
  return root.value;
}
