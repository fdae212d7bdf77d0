import type { KubeObject } from "../../api/object.ts";

/**
 * One revision of one object: parsed once, frozen, shared by every reader, and
 * encoded at most once for each media type.
 */
export class Entry<T extends KubeObject = KubeObject> {
  /** "ns/name", or "name" where the resource is cluster-scoped. */
  readonly key: string;
  readonly revision: number;
  readonly object: T;
  #json: Uint8Array | undefined;
  #encoded: Map<string, Uint8Array> | undefined;

  constructor(key: string, revision: number, object: T) {
    this.key = key;
    this.revision = revision;
    this.object = object;
  }

  /** The object as compact JSON in UTF-8, resourceVersion included. */
  get json(): Uint8Array {
    this.#json ??= Buffer.from(JSON.stringify(this.object));
    return this.#json;
  }

  /** Bytes in another form, made by `encode` when first asked for. */
  encoded(form: string, encode: (object: T) => Uint8Array): Uint8Array {
    this.#encoded ??= new Map();
    let bytes = this.#encoded.get(form);
    if (!bytes) {
      bytes = encode(this.object);
      this.#encoded.set(form, bytes);
    }
    return bytes;
  }
}

/** A change of one object, as every watcher of its collection sees it. */
export interface Change {
  readonly revision: number;
  readonly type: "ADDED" | "MODIFIED" | "DELETED";
  /** For DELETED the last state, under the revision of the deletion. */
  readonly entry: Entry;
  readonly before?: Entry;
  /** Milliseconds on a monotonic clock. */
  readonly at: number;
}
