// What the store says, as the API says it.
import type { KubeObject } from "../../api/object.ts";
import { conflict, gone, StatusError, timeout, tooManyRequests, unknown } from "../../api/status.ts";
import { StoreError } from "../../client/etcd.ts";

/**
 * The API's error for one of the store. Upstream has a reason of its own for
 * compaction alone; every other text of etcd reaches the client as it is, with
 * code 500 and no reason.
 */
export function fromStore(error: unknown): unknown {
  if (!(error instanceof StoreError)) return error;
  const told = statusOf(error);
  told.cause = error;
  return told;
}

function statusOf(error: StoreError): StatusError {
  switch (error.reason) {
    case "compacted":
      return gone("The provided continue parameter is too old to display a consistent list result.");
    // The store did not take it up.
    case "busy":
      return tooManyRequests(error.message, 1);
    // Nobody answered in time, in contrast to a member that says so.
    case "deadline":
      return timeout("request did not complete within the allotted timeout");
    default:
      return unknown(error.message);
  }
}

/** With these the store says that it carried nothing out. */
const refusals: ReadonlySet<string> = new Set<StoreError["reason"]>([
  "busy",
  "compacted",
  "future-revision",
  "invalid",
  "lease-not-found",
  "no-space",
]);

/** Whether a write that failed so may be carried out all the same. */
export function mayHaveHappened(error: unknown): boolean {
  const cause = error instanceof StatusError ? error.cause : error;
  return cause instanceof StoreError && !refusals.has(cause.reason);
}

/** What was to be written together with an object is not as it was: to be found anew. */
export class Overtaken extends Error {
  override name = "Overtaken";
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
