// The resources that are served: each kind with its strategy, the collection
// it lies in, and how its version is turned into the stored one.
import { type KindInfo, kinds } from "../../api/schema.ts";
import type { Bucket } from "../storage/bucket.ts";
import { collectionKey } from "../storage/keys.ts";
import type { Storage } from "../storage/storage.ts";
import type { Storages } from "../storage/storages.ts";
import { type Conversion, conversions } from "./conversion.ts";
import { strategies } from "./strategies.ts";
import type { Strategy } from "./strategy.ts";

export interface Resource {
  readonly info: KindInfo;
  readonly strategy: Strategy;
  readonly storage: Storage;
  readonly bucket: Bucket;
  /** Absent where the served version is the stored one. */
  readonly conversion?: Conversion;
}

/** Resources that are answered by a function and never stored. */
const virtual = new Set([
  "authentication.k8s.io/tokenreviews",
  "authentication.k8s.io/selfsubjectreviews",
  "authorization.k8s.io/subjectaccessreviews",
  "authorization.k8s.io/selfsubjectaccessreviews",
  "authorization.k8s.io/localsubjectaccessreviews",
  "authorization.k8s.io/selfsubjectrulesreviews",
  "/bindings",
  "/componentstatuses",
]);

export const isVirtual = (info: KindInfo): boolean => virtual.has(`${info.group}/${info.plural}`);

export const virtualKinds: readonly KindInfo[] = kinds.filter(isVirtual);

export class Resources {
  readonly #byPath = new Map<string, Resource>();

  constructor(storages: Storages) {
    for (const info of kinds) if (!isVirtual(info)) this.add(storages.of(info.group, info.plural), info);
  }

  add(storage: Storage, info: KindInfo, strategy: Strategy = strategies[`${info.group}/${info.plural}`] ?? {}, custom = false): Resource {
    const bucket = storage.addBucket(collectionKey(info.group, info.plural, custom), strategy.indexes);
    const conversion = conversions[`${info.group}/${info.version}/${info.kind}`];
    const resource: Resource = { info, strategy, storage, bucket, ...(conversion ? { conversion } : {}) };
    this.#byPath.set(`${info.group}/${info.version}/${info.plural}`, resource);
    return resource;
  }

  remove(info: KindInfo): void {
    this.#byPath.delete(`${info.group}/${info.version}/${info.plural}`);
  }

  find(group: string, version: string, plural: string): Resource | undefined {
    return this.#byPath.get(`${group}/${version}/${plural}`);
  }

  /** A resource that is known to be there. Throws a RangeError on one that is not. */
  need(group: string, version: string, plural: string): Resource {
    const found = this.find(group, version, plural);
    if (!found) throw new RangeError(`no resource ${group}/${version} ${plural}`);
    return found;
  }

  all(): Iterable<Resource> {
    return this.#byPath.values();
  }
}
