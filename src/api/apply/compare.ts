// Which field paths two objects differ in. Subtrees that are the same object
// are not looked at, so that a small change to a shared object costs little.
import { deepEqual } from "../equal.ts";
import { type FieldSet, insert } from "./sets.ts";
import { keyOf, type ListType, type MergeType, type SetType } from "./types.ts";

type Json = Record<string, unknown>;

export interface Comparison {
  readonly added: FieldSet;
  readonly modified: FieldSet;
  readonly removed: FieldSet;
}

const isMap = (v: unknown): v is Json => typeof v === "object" && v !== null && !Array.isArray(v);

function isEmptyMap(v: unknown): boolean {
  if (v === undefined || v === null) return true;
  if (!isMap(v)) return false;
  for (const key in v) if (v[key] !== undefined) return false;
  return true;
}
const isEmptyList = (v: unknown) => v === undefined || v === null || (Array.isArray(v) && v.length === 0);

const untyped: MergeType = { kind: "untyped" };

/** Members of metadata that the server sets, and nobody manages. */
export const unowned: ReadonlySet<string> = new Set([
  "name",
  "namespace",
  "creationTimestamp",
  "selfLink",
  "uid",
  "clusterName",
  "generation",
  "managedFields",
  "resourceVersion",
]);
const none: ReadonlySet<string> = new Set();

class Walker implements Comparison {
  readonly added: FieldSet = {};
  readonly modified: FieldSet = {};
  readonly removed: FieldSet = {};
  readonly path: string[] = [];

  leaf(a: unknown, b: unknown): void {
    if (a === undefined) insert(this.added, this.path);
    else if (b === undefined) insert(this.removed, this.path);
    else if (!deepEqual(a, b)) insert(this.modified, this.path);
  }

  value(type: MergeType, a: unknown, b: unknown): void {
    if (a === b) return;
    const isLeaf = this.#descend(type, a, b);
    if (isLeaf) this.leaf(a, b);
    else if (a === undefined) insert(this.added, this.path);
    else if (b === undefined) insert(this.removed, this.path);
  }

  /** Compares below a and b; true when there is no below. */
  #descend(type: MergeType, a: unknown, b: unknown): boolean {
    switch (type.kind) {
      case "leaf":
        return true;
      case "untyped":
        if (!(isMap(a) || isMap(b)) || (a && !isMap(a)) || (b && !isMap(b)) || (isEmptyMap(a) && isEmptyMap(b))) return true;
        this.members(a as Json, b as Json, () => untyped);
        return false;
      case "struct":
        if (isEmptyMap(a) && isEmptyMap(b)) return true;
        this.members(a as Json, b as Json, (key) => type.field(key) ?? untyped);
        return false;
      case "map":
        if (isEmptyMap(a) && isEmptyMap(b)) return true;
        this.members(a as Json, b as Json, () => type.element);
        return false;
      default:
        if (isEmptyList(a) && isEmptyList(b)) return true;
        this.elements(type, a as unknown[], b as unknown[]);
        return false;
    }
  }

  members(a: Json | undefined, b: Json | undefined, typeOf: (key: string) => MergeType): void {
    const depth = this.path.length;
    const skip = depth === 1 && this.path[0] === "f:metadata" ? unowned : none;
    if (a)
      for (const key in a) {
        const x = a[key];
        const y = b && Object.hasOwn(b, key) ? b[key] : undefined;
        if (x === y || skip.has(key)) continue;
        this.path[depth] = `f:${key}`;
        this.value(typeOf(key), x, y);
        this.path.length = depth;
      }
    if (b)
      for (const key in b) {
        if (b[key] === undefined || (a && Object.hasOwn(a, key) && a[key] !== undefined) || skip.has(key)) continue;
        this.path[depth] = `f:${key}`;
        this.value(typeOf(key), undefined, b[key]);
        this.path.length = depth;
      }
  }

  elements(type: ListType | SetType, a: unknown[] | null | undefined, b: unknown[] | null | undefined): void {
    const depth = this.path.length;
    const element: MergeType = type.kind === "list" ? type.element : { kind: "leaf" };
    const right = index(type, b ?? []);
    for (const [key, x] of index(type, a ?? [])) {
      const y = right.get(key);
      right.delete(key);
      this.path[depth] = key;
      this.value(element, x, y);
      this.path.length = depth;
    }
    for (const [key, y] of right) {
      this.path[depth] = key;
      this.value(element, undefined, y);
      this.path.length = depth;
    }
  }
}

/** Elements by key. One that comes twice is compared as the list of both; one without a key, by its place. */
function index(type: ListType | SetType, list: unknown[]): Map<string, unknown> {
  const out = new Map<string, unknown>();
  for (let i = 0; i < list.length; i++) {
    const key = keyOf(type, list[i]) ?? `i:${i}`;
    out.set(key, out.has(key) ? [out.get(key), list[i]] : list[i]);
  }
  return out;
}

/** How `next` differs from `previous`, by the type of both. */
export function compare(type: MergeType, previous: unknown, next: unknown): Comparison {
  const walker = new Walker();
  walker.value(type, previous, next);
  return walker;
}
