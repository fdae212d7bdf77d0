// What a kind does differently from all others, as the rows of the tables
// beside this file.
import type { KubeObject } from "../../api/object.ts";
import type { RequestContext } from "../request.ts";
import type { Index } from "../storage/bucket.ts";

/** A fresh object of which the writer may change anything. */
// biome-ignore lint/suspicious/noExplicitAny: strategies know their kind, the tables do not.
export type Fresh = KubeObject & Record<string, any>;
/** A stored object: frozen. */
// biome-ignore lint/suspicious/noExplicitAny: strategies know their kind, the tables do not.
export type Stored = KubeObject & Readonly<Record<string, any>>;

export interface Strategy {
  /** metadata.generation counts changes of what `changed` compares; by default of spec. */
  readonly generation?: true | ((next: Stored, old: Stored) => boolean);
  /** PUT of an absent object creates it. */
  readonly createOnUpdate?: boolean;
  /** PUT needs a resourceVersion. */
  readonly conditionalUpdate?: boolean;
  /** DELETE answers with the object and not with a Status. */
  readonly returnsDeleted?: boolean;
  /** The object of a status update keeps these of its metadata as they were. */
  readonly statusKeeps?: readonly ("labels" | "annotations" | "ownerReferences")[];
  /** status is part of an ordinary write, although there is a subresource. */
  readonly statusWithSpec?: boolean;
  /** Seconds until the store forgets an object. */
  readonly ttl?: number;
  prepareCreate?(object: Fresh, context: RequestContext): void;
  prepareUpdate?(next: Fresh, old: Stored, context: RequestContext): void;
  prepareStatus?(next: Fresh, old: Stored): void;
  /** Seconds that a deletion waits for, or undefined where the object goes at once. */
  gracePeriod?(object: Stored, asked: number | undefined): number | undefined;
  /** Finalizers outside metadata hold the object back. */
  heldBack?(object: Stored): boolean;
  /** Changes what a deletion leaves behind while finalizers hold it. */
  markDeleted?(object: Fresh): void;
  /** What field selectors can name besides metadata.name and metadata.namespace. */
  fields?(object: Stored): Record<string, string>;
  /** Indexes of the cache by the field selector's name. */
  readonly indexes?: Readonly<Record<string, Index>>;
}
