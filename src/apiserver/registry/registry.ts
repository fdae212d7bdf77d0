// What the verbs of all resources stand on: the store, the table of resources,
// admission, and the time.
import { dns1123Label } from "../../api/names.ts";
import type { Admission } from "../admission/mod.ts";
import type { RequestContext } from "../request.ts";
import type { Storage } from "../storage/storage.ts";
import type { Resource, Resources } from "./resources.ts";
import type { Fresh, Stored } from "./strategy.ts";

/** What a hook took for a write. */
export interface Claim {
  /** The write did not happen. */
  release(): void;
  /** It did: what the object no longer needs can go. */
  commit(): void;
}

/** What has to be found outside the object before it can be written, such as a Service's address. */
export interface Hook {
  create?(object: Fresh, context: RequestContext): Promise<Claim> | Claim;
  update?(next: Fresh, old: Stored, context: RequestContext): Promise<Claim> | Claim;
  /** The object is gone from the store. */
  deleted?(object: Stored): void;
}

export interface Registry {
  readonly storage: Storage;
  readonly resources: Resources;
  readonly admission: Admission;
  /** By "group/plural". */
  readonly hooks: ReadonlyMap<string, Hook>;
  /** Milliseconds since the epoch. */
  now(): number;
}

export const hookOf = (registry: Registry, resource: Resource): Hook | undefined =>
  registry.hooks.get(`${resource.info.group}/${resource.info.plural}`);

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
