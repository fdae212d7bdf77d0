// What the store says, as the API says it.
import type { KubeObject } from "../../api/object.ts";
import { conflict, gone, internalError, type StatusError, serviceUnavailable, timeout } from "../../api/status.ts";
import { StoreError } from "../../client/etcd.ts";

/** The API's error for one of the store. */
export function fromStore(error: unknown): unknown {
  if (!(error instanceof StoreError)) return error;
  switch (error.reason) {
    case "compacted":
      return gone("The provided continue parameter is too old to display a consistent list result.");
    case "unavailable":
      return serviceUnavailable(error.message);
    case "timeout":
      return timeout(error.message);
    default:
      return internalError(error.message);
  }
}

/** 504 for a version that the cache has not come to. */
export function tooLarge(wanted: number, current: number): StatusError {
  const error = timeout(`Too large resource version: ${wanted}, current: ${current}`, 1);
  error.status.details = { causes: [{ reason: "ResourceVersionTooLarge", message: "Too large resource version" }], retryAfterSeconds: 1 };
  return error;
}

export interface Preconditions {
  uid?: string;
  resourceVersion?: string;
}

/** Throws 409 where an object is not the one that the caller means. */
export function checkPreconditions(named: { group?: string; resource: string }, object: KubeObject, want: Preconditions | undefined): void {
  const { uid, resourceVersion, name = "" } = object.metadata;
  if (want?.uid !== undefined && want.uid !== uid)
    throw conflict(named, name, `Precondition failed: UID in precondition: ${want.uid}, UID in object meta: ${uid}`);
  if (want?.resourceVersion !== undefined && want.resourceVersion !== resourceVersion)
    throw conflict(
      named,
      name,
      `Precondition failed: ResourceVersion in precondition: ${want.resourceVersion}, ResourceVersion in object meta: ${resourceVersion}`,
    );
}
