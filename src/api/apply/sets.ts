// Sets of field paths, kept in the very form of metav1.FieldsV1: an object
// whose members are path elements ("f:name", `k:{"name":"a"}`, `v:"x"`, "i:0").
// An element belongs to the set itself when its object is empty or holds ".".
// Sets are never changed once built; operations share what stays the same.

export interface FieldSet {
  readonly [element: string]: FieldSet;
}

const leaf: FieldSet = Object.freeze({});
export const emptySet = leaf;

export function isEmpty(set: FieldSet): boolean {
  for (const _ in set) return false;
  return true;
}

const isMember = (node: FieldSet): boolean => "." in node || isEmpty(node);

function hasChildren(node: FieldSet): boolean {
  for (const key in node) if (key !== ".") return true;
  return false;
}

/** The node with these children; undefined when it is neither a member nor has any. */
function node(member: boolean, children: Record<string, FieldSet>): FieldSet | undefined {
  if (isEmpty(children)) return member ? leaf : undefined;
  return member ? { ".": leaf, ...children } : children;
}

/** Adds a path to a set under construction. */
export function insert(set: FieldSet, path: readonly string[]): void {
  let at = set as Record<string, FieldSet>;
  const last = path.length - 1;
  for (let i = 0; i <= last; i++) {
    const element = path[i]!;
    const next = at[element] as Record<string, FieldSet> | undefined;
    if (i === last) {
      if (next === undefined) at[element] = {};
      else if (!isEmpty(next)) next["."] = leaf;
    } else if (next === undefined) {
      const fresh: Record<string, FieldSet> = {};
      at[element] = fresh;
      at = fresh;
    } else {
      if (isEmpty(next)) next["."] = leaf;
      at = next;
    }
  }
}

type Merge = (a: FieldSet, b: FieldSet) => FieldSet | undefined;

function combine(a: FieldSet, b: FieldSet, child: Merge): Record<string, FieldSet> {
  const out: Record<string, FieldSet> = {};
  for (const key in a) {
    if (key === ".") continue;
    const other = b[key];
    const result = other === undefined ? a[key] : child(a[key]!, other);
    if (result !== undefined) out[key] = result;
  }
  return out;
}

/** All paths of either set. */
export function union(a: FieldSet, b: FieldSet): FieldSet {
  if (isEmpty(b)) return a;
  if (isEmpty(a)) return b;
  const child: Merge = (x, y) => {
    if (x === y) return x;
    const children = combine(x, y, child);
    for (const key in y) if (key !== "." && !(key in x)) children[key] = y[key]!;
    return node(isMember(x) || isMember(y), children);
  };
  const out = combine(a, b, child);
  for (const key in b) if (!(key in a)) out[key] = b[key]!;
  return out;
}

/** The paths of a that are not paths of b. Returns a itself when nothing goes. */
export function difference(a: FieldSet, b: FieldSet): FieldSet {
  if (!intersects(a, b)) return a;
  const child: Merge = (x, y) => node(isMember(x) && !isMember(y), combine(x, y, child));
  return combine(a, b, child);
}

/** The paths of a that are neither paths of b nor below one. Returns a itself when nothing goes. */
export function recursiveDifference(a: FieldSet, b: FieldSet): FieldSet {
  if (isEmpty(b)) return a;
  const child: Merge = (x, y) => (isMember(y) ? undefined : node(isMember(x), combine(x, y, child)));
  return combine(a, b, child);
}

/** The paths of both sets. */
export function intersection(a: FieldSet, b: FieldSet): FieldSet {
  const child: Merge = (x, y) => {
    const children: Record<string, FieldSet> = {};
    for (const key in x) {
      if (key === "." || !(key in y)) continue;
      const both = child(x[key]!, y[key]!);
      if (both !== undefined) children[key] = both;
    }
    return node(isMember(x) && isMember(y), children);
  };
  const out: Record<string, FieldSet> = {};
  for (const key in a) {
    if (!(key in b)) continue;
    const both = child(a[key]!, b[key]!);
    if (both !== undefined) out[key] = both;
  }
  return out;
}

/** Whether the sets have a path in common. */
export function intersects(a: FieldSet, b: FieldSet): boolean {
  for (const key in a) {
    if (key === ".") continue;
    const y = b[key];
    if (y === undefined) continue;
    const x = a[key]!;
    if ((isMember(x) && isMember(y)) || intersects(x, y)) return true;
  }
  return false;
}

export function equalSets(a: FieldSet, b: FieldSet): boolean {
  if (a === b) return true;
  let count = 0;
  for (const key in a) {
    const y = b[key];
    if (y === undefined || !equalSets(a[key]!, y)) return false;
    count++;
  }
  for (const _ in b) count--;
  return count === 0;
}

/** What a set says of one element: whether it is a path itself, and the paths below it. */
export function look(set: FieldSet, element: string): { member: boolean; below?: FieldSet } {
  const found = set[element];
  if (found === undefined) return { member: false };
  return { member: isMember(found), below: hasChildren(found) ? found : undefined };
}

/** Calls back with every path in upstream's order: at each level first the paths that end there. */
export function forEachPath(set: FieldSet, each: (path: string[]) => void, prefix: string[] = []): void {
  const elements = Object.keys(set)
    .filter((key) => key !== ".")
    .sort();
  for (const key of elements) if (isMember(set[key]!)) each([...prefix, key]);
  for (const key of elements) forEachPath(set[key]!, each, [...prefix, key]);
}

/** A path as errors show it: `.spec.containers[name="a"].image`. */
export function formatPath(path: readonly string[]): string {
  return path
    .map((element) => {
      const rest = element.slice(2);
      if (element.startsWith("f:")) return `.${rest}`;
      if (element.startsWith("v:")) return `[=${rest}]`;
      if (element.startsWith("i:")) return `[${rest}]`;
      const key = JSON.parse(rest) as Record<string, unknown>;
      const parts = Object.keys(key)
        .sort()
        .map((k) => `${k}=${JSON.stringify(key[k])}`);
      return `[${parts.join(",")}]`;
    })
    .join("");
}
