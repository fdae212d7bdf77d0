// The cache behind an informer: objects by key, and keys by index.
import type { KubeObject } from "../api/object.ts";
import { keyOf } from "./resources.ts";

/** The values under which an index finds an object; none leaves it out. */
export type IndexFunction<T> = (object: T) => readonly string[];

/** Reads what an informer has seen. Objects are frozen and shared: a change starts from a copy. */
export interface Lister<T> {
  get(key: string): T | undefined;
  /** All objects, or those of one namespace, in no particular order. */
  list(namespace?: string): T[];
  /** Objects that the index has under this value. Throws a RangeError on an unknown index. */
  byIndex(index: string, value: string): T[];
  readonly size: number;
}

const namespaceIndex = "namespace";

export class Store<T extends KubeObject> implements Lister<T> {
  readonly #objects = new Map<string, T>();
  readonly #indexers = new Map<string, IndexFunction<T>>();
  readonly #indexes = new Map<string, Map<string, Map<string, T>>>();

  constructor() {
    this.addIndex(namespaceIndex, (o) => (o.metadata.namespace ? [o.metadata.namespace] : []));
  }

  /** Adds an index over what is and will be there; the same name twice keeps the first. */
  addIndex(name: string, values: IndexFunction<T>): void {
    if (this.#indexers.has(name)) return;
    this.#indexers.set(name, values);
    const index = new Map<string, Map<string, T>>();
    this.#indexes.set(name, index);
    for (const [key, object] of this.#objects) for (const value of values(object)) place(index, value, key, object);
  }

  get size(): number {
    return this.#objects.size;
  }

  get(key: string): T | undefined {
    return this.#objects.get(key);
  }

  keys(): Iterable<string> {
    return this.#objects.keys();
  }

  list(namespace?: string): T[] {
    return namespace === undefined ? [...this.#objects.values()] : this.byIndex(namespaceIndex, namespace);
  }

  byIndex(index: string, value: string): T[] {
    const found = this.#indexes.get(index);
    if (!found) throw new RangeError(`no index ${JSON.stringify(index)}`);
    const entries = found.get(value);
    return entries ? [...entries.values()] : [];
  }

  /** Puts an object in and returns the one before it. */
  set(object: T): T | undefined {
    const key = keyOf(object);
    const before = this.#objects.get(key);
    this.#objects.set(key, object);
    for (const [name, values] of this.#indexers) {
      const index = this.#indexes.get(name)!;
      const next = values(object);
      if (before) for (const value of values(before)) if (!next.includes(value)) remove(index, value, key);
      for (const value of next) place(index, value, key, object);
    }
    return before;
  }

  delete(key: string): T | undefined {
    const before = this.#objects.get(key);
    if (!before) return undefined;
    this.#objects.delete(key);
    for (const [name, values] of this.#indexers) for (const value of values(before)) remove(this.#indexes.get(name)!, value, key);
    return before;
  }
}

function place<T>(index: Map<string, Map<string, T>>, value: string, key: string, object: T): void {
  const entries = index.get(value);
  if (entries) entries.set(key, object);
  else index.set(value, new Map([[key, object]]));
}

function remove<T>(index: Map<string, Map<string, T>>, value: string, key: string): void {
  const entries = index.get(value);
  entries?.delete(key);
  if (entries?.size === 0) index.delete(value);
}
