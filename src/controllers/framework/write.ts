// What a reconcile decides, as data: the shell carries it out.
import type { KubeObject } from "../../api/object.ts";
import type { EventDetails, EventType } from "../../client/events.ts";
import type { Collection } from "../../client/resources.ts";
import type { DeleteOptions, PatchType } from "../../client/transport.ts";

export type Write =
  | { op: "create"; of: Collection; object: KubeObject }
  /** Refused as a conflict when the object has changed since it was read. */
  | { op: "update"; of: Collection; object: KubeObject; subresource?: string }
  | { op: "patch"; of: Collection; on: KubeObject; type: PatchType; patch: unknown; subresource?: string }
  | { op: "delete"; of: Collection; on: KubeObject; options?: DeleteOptions }
  | { op: "event"; of: Collection; on: KubeObject; type: EventType; reason: string; message: string; details?: EventDetails };

/** What a reconcile wants: writes in their order, and when to look again. */
export interface Plan {
  writes: Write[];
  /** Milliseconds from now. */
  requeueAfter?: number;
}

export const create = <T extends KubeObject>(of: Collection<T>, object: T): Write => ({ op: "create", of: of as Collection, object });
export const update = <T extends KubeObject>(of: Collection<T>, object: T): Write => ({ op: "update", of: of as Collection, object });
export const updateStatus = <T extends KubeObject>(of: Collection<T>, object: T): Write => ({
  op: "update",
  of: of as Collection,
  object,
  subresource: "status",
});
export const patch = <T extends KubeObject>(of: Collection<T>, on: T, type: PatchType, body: unknown, subresource?: string): Write => ({
  op: "patch",
  of: of as Collection,
  on,
  type,
  patch: body,
  ...(subresource ? { subresource } : {}),
});
/** Deletes this very object, not one of the same name made since. */
export const remove = <T extends KubeObject>(of: Collection<T>, on: T, options: DeleteOptions = {}): Write => ({
  op: "delete",
  of: of as Collection,
  on,
  options: { preconditions: { uid: on.metadata.uid }, ...options },
});
export const event = <T extends KubeObject>(of: Collection<T>, on: T, type: EventType, reason: string, message: string): Write => ({
  op: "event",
  of: of as Collection,
  on,
  type,
  reason,
  message,
});
