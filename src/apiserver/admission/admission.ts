// What every admission plugin is given, and may ask for.
import type { KubeObject } from "../../api/object.ts";
import type { KindInfo } from "../../api/schema.ts";
import type { Fresh, Stored } from "../registry/strategy.ts";
import type { RequestContext } from "../request.ts";

export interface AdmissionRequest {
  operation: "create" | "update" | "delete";
  kind: KindInfo;
  subresource?: string;
  /** The object to be stored, which plugins may change; on delete the stored one. */
  object: Fresh;
  old?: Stored;
  context: RequestContext;
}

/** What the cluster holds. */
export interface AdmissionSource {
  /** The stored object, as fresh as a GET is. */
  get(group: string, resource: string, namespace: string | undefined, name: string): Promise<KubeObject | undefined>;
  /** All objects of a resource, from the cache. */
  list(group: string, resource: string): Iterable<KubeObject>;
}

/** Throws a StatusError to refuse the request. */
export interface AdmissionPlugin {
  /** Upstream's name, as --enable-admission-plugins takes it. */
  readonly name: string;
  admit(request: AdmissionRequest, source: AdmissionSource): Promise<void> | void;
}

export const isPodCreate = (r: AdmissionRequest): boolean =>
  r.operation === "create" && r.kind.group === "" && r.kind.kind === "Pod" && !r.subresource;
