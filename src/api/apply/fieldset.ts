// The paths that an object sets, and the checks that a configuration has to
// pass before its paths mean something.
import { type FieldSet, formatPath, insert } from "./sets.ts";
import { keyOf, type ListType, type MergeType, type SetType } from "./types.ts";

type Json = Record<string, unknown>;

/** A configuration that its type does not allow. */
export class TypedError extends Error {
  override name = "TypedError";
}

const isMap = (v: unknown): v is Json => typeof v === "object" && v !== null && !Array.isArray(v);
const isEmptyValue = (v: unknown) => v === null || (isMap(v) && Object.keys(v).length === 0);

class Walker {
  readonly set: FieldSet = {};
  readonly path: string[] = [];
  readonly #strict: boolean;
  constructor(strict: boolean) {
    this.#strict = strict;
  }

  fail(why: string): never {
    throw new TypedError(`${formatPath(this.path)}: ${why}`);
  }

  value(type: MergeType, v: unknown): void {
    switch (type.kind) {
      case "leaf":
        insert(this.set, this.path);
        return;
      case "untyped":
        if (isMap(v)) this.#members(v, () => type, true);
        else insert(this.set, this.path);
        return;
      case "struct":
        if (v === null) return;
        if (!isMap(v)) this.fail(`expected map, got ${describe(v)}`);
        this.#members(v as Json, (key) => type.field(key), false);
        return;
      case "map":
        if (v === null) return;
        if (!isMap(v)) this.fail(`expected map, got ${describe(v)}`);
        this.#members(v as Json, () => type.element, true);
        return;
      default:
        if (v === null) return;
        if (!Array.isArray(v)) this.fail(`expected list, got ${describe(v)}`);
        this.#elements(type, v as unknown[]);
    }
  }

  #members(v: Json, typeOf: (key: string) => MergeType | undefined, isKeyed: boolean): void {
    const depth = this.path.length;
    for (const key in v) {
      const member = v[key];
      if (member === undefined) continue;
      this.path[depth] = `f:${key}`;
      const type = typeOf(key);
      if (type === undefined) {
        if (this.#strict) this.fail("field not declared in schema");
        insert(this.set, this.path);
      } else {
        this.value(type, member);
        if (isKeyed || isEmptyValue(member)) insert(this.set, this.path);
      }
      this.path.length = depth;
    }
  }

  #elements(type: ListType | SetType, list: unknown[]): void {
    const depth = this.path.length;
    const seen = new Set<string>();
    for (let i = 0; i < list.length; i++) {
      let key = keyOf(type, list[i]);
      if (key === undefined) {
        if (this.#strict)
          this.fail(
            `element ${i}: ${type.kind === "list" ? "associative list with keys has an element that omits all key fields " : ""}(and doesn't have default values for any key fields)`,
          );
        key = `i:${i}`;
      }
      this.path[depth] = key;
      if (seen.has(key) && this.#strict) {
        this.path.length = depth;
        this.fail(`duplicate entries for key ${formatPath([key])}`);
      }
      seen.add(key);
      if (type.kind === "list") this.value(type.element, list[i]);
      insert(this.set, this.path);
      this.path.length = depth;
    }
  }
}

const describe = (v: unknown) => (Array.isArray(v) ? "&{list}" : typeof v === "object" ? "map" : `&{${String(v)}}`);

/** The paths that an object sets. With `strict`, throws a TypedError on what its type does not have. */
export function fieldSetOf(type: MergeType, object: unknown, strict = false): FieldSet {
  const walker = new Walker(strict);
  walker.value(type, object);
  return walker.set;
}

/** The set with each struct field that leads to a path made a path itself. */
export function withNamedFields(type: MergeType | undefined, set: FieldSet): FieldSet {
  const out: Record<string, FieldSet> = {};
  let own = false;
  for (const key in set) {
    if (key === ".") {
      out[key] = set[key]!;
      continue;
    }
    own = true;
    const child = set[key]!;
    const childType = step(type, key);
    const below = withNamedFields(childType, child);
    const isField = type?.kind === "struct" && key.startsWith("f:") && childType !== undefined;
    out[key] = isField && !("." in below) && Object.keys(below).length > 0 ? { ".": {}, ...below } : below;
  }
  return own ? out : set;
}

/** The type that a path element leads to. */
export function step(type: MergeType | undefined, element: string): MergeType | undefined {
  switch (type?.kind) {
    case "struct":
      return type.field(element.slice(2));
    case "map":
    case "list":
      return type.element;
    case "untyped":
      return type;
    default:
      return undefined;
  }
}
