// What all API objects share. In memory an object is its JSON form: camelCase
// names, times and quantities as strings, bytes as base64. Objects that leave
// the apiserver, a cache or a codec are frozen; a change starts from a copy.
import type * as metaV1 from "./gen/meta/v1.ts";

export interface KubeObject {
  apiVersion?: string;
  kind?: string;
  metadata: metaV1.ObjectMeta;
}

export interface KubeList<T = KubeObject> {
  apiVersion?: string;
  kind?: string;
  metadata: metaV1.ListMeta;
  items: T[];
}

export interface GroupVersionKind {
  /** "" for the core group. */
  group: string;
  version: string;
  kind: string;
}

/** Names a collection: `resource` is the lower-case plural. */
export interface GroupVersionResource {
  group: string;
  version: string;
  resource: string;
}

/** "v1" or "apps/v1". */
export function apiVersion(gv: { group: string; version: string }): string {
  return gv.group === "" ? gv.version : `${gv.group}/${gv.version}`;
}

/** The inverse of apiVersion. Throws a RangeError on more than one slash. */
export function parseApiVersion(text: string): { group: string; version: string } {
  const parts = text.split("/");
  if (parts.length > 2) throw new RangeError(`unexpected GroupVersion string: ${text}`);
  return parts.length === 2 ? { group: parts[0]!, version: parts[1]! } : { group: "", version: text };
}
