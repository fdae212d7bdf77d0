// What the verbs of all resources stand on: the store, the table of resources,
// admission, and the time.
import { dns1123Label } from "../../api/names.ts";
import type { Admission } from "../admission/mod.ts";
import type { RequestContext } from "../request.ts";
import type { Along, Storage } from "../storage/storage.ts";
import type { Resource, Resources } from "./resources.ts";
import type { Fresh, Stored } from "./strategy.ts";

/** What a hook took for a write. */
export interface Claim {
  /** What the store is to check and write in the same transaction. */
  readonly along?: Along;
  /**
   * Told once how the write went: whether it is stored, undefined where nobody
   * knows. Resolves when others can have what is no longer needed.
   */
  settle(stored: boolean | undefined): Promise<void>;
}

/** What has to be found outside the object before it can be written, such as a Service's address. */
export interface Hook {
  /** May change the object; called again, with the object as it was, when others were faster. */
  create?(object: Fresh, context: RequestContext): Promise<Claim>;
  update?(next: Fresh, old: Stored, context: RequestContext): Promise<Claim>;
  /** The object is about to go from the store. */
  delete?(object: Stored): Promise<Claim>;
}

/** A write that is about to be stored, as a guard sees it. */
export interface GuardedWrite {
  readonly object: Stored;
  /** Absent: there is no such object yet. */
  readonly old?: Stored;
  /** The path's name; absent for a POST. */
  readonly name?: string;
  readonly context: RequestContext;
}

/** Says by the object whether the user may, where verb and resource do not tell. Throws a StatusError to refuse. */
export type Guard = (write: GuardedWrite) => Promise<void> | void;

export interface Registry {
  /** Of most resources, and of what is kept beside them. */
  readonly storage: Storage;
  readonly resources: Resources;
  readonly admission: Admission;
  /** By "group/plural". */
  readonly hooks: ReadonlyMap<string, Hook>;
  /** By "group/plural". */
  readonly guards: ReadonlyMap<string, Guard>;
  /** Milliseconds since the epoch. */
  now(): number;
}

export const hookOf = (registry: Registry, resource: Resource): Hook | undefined =>
  registry.hooks.get(`${resource.info.group}/${resource.info.plural}`);

export const guardOf = (registry: Registry, resource: Resource): Guard | undefined =>
  registry.guards.get(`${resource.info.group}/${resource.info.plural}`);

/** RFC 3339 in whole seconds. */
export const timestamp = (milliseconds: number): string => `${new Date(milliseconds).toISOString().slice(0, 19)}Z`;

/** No vowels and no digits that look like them, so that no word comes out (apimachinery/pkg/util/rand). */
const alphabet = "bcdfghjklmnpqrstvwxz2456789";
const maxPrefix = 58;

/** A name for a generateName. */
export function generateName(prefix: string): string {
  const random = crypto.getRandomValues(new Uint8Array(5));
  const suffix = Array.from(random, (b) => alphabet[b % alphabet.length]).join("");
  return prefix.slice(0, maxPrefix) + suffix;
}

/** Whether a text can be a namespace in a path. */
export const isNamespaceName = (name: string): boolean => dns1123Label(name).length === 0;
