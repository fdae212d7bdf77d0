// GET and LIST, with upstream's meaning of resourceVersion, resourceVersionMatch,
// limit and continue (https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions).
import type { KubeObject } from "../../api/object.ts";
import { badRequest, gone, invalid, notFound } from "../../api/status.ts";
import type { ListOptions } from "../../client/transport.ts";
import { Entry } from "../storage/entry.ts";
import { objectKey } from "../storage/keys.ts";
import type { Resource } from "./resources.ts";
import { find, type Selection, scopeOf, select, selects } from "./select.ts";

export interface ListResult {
  entries: Entry[];
  resourceVersion: string;
  continue?: string;
  remainingItemCount?: number;
}

export const named = (resource: Resource) => ({ group: resource.info.group, resource: resource.info.plural });

const views = new WeakMap<Resource, WeakMap<Entry, Entry>>();

/** The entry in the resource's own version; the same each time. */
export function view(resource: Resource, entry: Entry): Entry {
  const { conversion } = resource;
  if (!conversion) return entry;
  let map = views.get(resource);
  if (!map) {
    map = new WeakMap();
    views.set(resource, map);
  }
  let seen = map.get(entry);
  if (!seen) {
    seen = new Entry(entry.key, entry.revision, Object.freeze(conversion.fromStored(entry.object)) as KubeObject);
    map.set(entry, seen);
  }
  return seen;
}

/** Reads a resource version of a query: digits, or "" and "0". Throws upstream's refusal. */
export function parseVersion(text: string | undefined): number {
  if (!text) return 0;
  if (!/^\d+$/.test(text))
    throw invalid({ kind: "ListOptions", group: "meta.k8s.io" }, "", [
      {
        reason: "FieldValueInvalid",
        field: "resourceVersion",
        message: `Invalid value: ${JSON.stringify(text)}: strconv.ParseUint: parsing ${JSON.stringify(text)}: invalid syntax`,
      },
    ]);
  return Number(text);
}

/** One object. Without a resourceVersion it is the newest; with one, at least as new. */
export async function get(resource: Resource, namespace: string | undefined, name: string, resourceVersion?: string): Promise<Entry> {
  const { storage } = resource;
  const key = objectKey(namespace, name);
  let entry: Entry | undefined;
  if (resourceVersion) {
    await storage.until(parseVersion(resourceVersion));
    entry = resource.bucket.get(key);
  } else entry = await storage.get(resource.bucket, key);
  if (!entry) throw notFound(named(resource), name);
  return view(resource, entry);
}

interface Token {
  v: "meta.k8s.io/v1";
  rv: number;
  start: string;
}

const encodeToken = (rv: number, start: string): string =>
  Buffer.from(JSON.stringify({ v: "meta.k8s.io/v1", rv, start } satisfies Token)).toString("base64url");

function decodeToken(text: string): Token {
  try {
    const token = JSON.parse(Buffer.from(text, "base64url").toString()) as Token;
    if (token.v !== "meta.k8s.io/v1" || typeof token.start !== "string" || !Number.isSafeInteger(token.rv))
      throw new Error("unrecognized encoded version");
    if (token.start.includes("..")) throw new Error("invalid start key");
    return token;
  } catch (error) {
    throw badRequest(`continue key is not valid: ${(error as Error).message}`);
  }
}

/** A collection, or a page of it. */
export async function list(resource: Resource, namespace: string | undefined, options: ListOptions, name?: string): Promise<ListResult> {
  const selection = select(resource, namespace, options.labelSelector, options.fieldSelector, name);
  const { storage } = resource;
  const { limit = 0 } = options;
  if (options.continue) {
    if (options.resourceVersion && options.resourceVersion !== "0")
      throw badRequest("specifying resource version is not allowed when using continue");
    return page(resource, selection, decodeToken(options.continue), limit);
  }
  const wanted = parseVersion(options.resourceVersion);
  if (options.resourceVersionMatch && !options.resourceVersion)
    throw badRequest("resourceVersionMatch is forbidden unless resourceVersion is provided");
  if (options.resourceVersionMatch === "Exact") {
    if (wanted === 0) throw badRequest('resourceVersionMatch "exact" is forbidden for resourceVersion "0"');
    return page(resource, selection, { v: "meta.k8s.io/v1", rv: wanted, start: "" }, limit);
  }
  const read = () => firstPage(storage.revision, resource, selection, limit);
  if (!options.resourceVersion) {
    const { bucket } = resource;
    const scope = scopeOf(resource, selection);
    const size = scope.namespace === undefined ? bucket.size : bucket.count("namespace", scope.namespace);
    // A page of what nothing is left out of is read with no more than it holds.
    const small = limit > 0 && limit < size && !selection.matches && !selection.index;
    const newest = { v: "meta.k8s.io/v1", rv: 0, start: "" } as const;
    return storage.fresh(bucket, scope, read, small ? () => page(resource, selection, newest, limit) : undefined);
  }
  await storage.until(wanted);
  return read();
}

/** What the cache has now, up to a limit. */
function firstPage(revision: number, resource: Resource, selection: Selection, limit: number): ListResult {
  const found = find(resource, selection);
  if (!limit || found.length <= limit) return { entries: found.map((e) => view(resource, e)), resourceVersion: String(revision) };
  const entries = found.slice(0, limit);
  const below = selection.namespace === undefined ? "" : `${selection.namespace}/`;
  return {
    entries: entries.map((e) => view(resource, e)),
    resourceVersion: String(revision),
    continue: encodeToken(revision, `${entries.at(-1)!.key.slice(below.length)}\0`),
    ...(selection.matches ? {} : { remainingItemCount: found.length - limit }),
  };
}

/** A later page, or a list at an old revision: read from the store's history. */
async function page(resource: Resource, selection: Selection, token: Token, limit: number): Promise<ListResult> {
  const below = selection.namespace === undefined ? "" : `${selection.namespace}/`;
  const entries: Entry[] = [];
  let from = below + token.start;
  let rv = token.rv;
  let more = true;
  let left = 0;
  while (more) {
    const want = limit ? Math.max(limit - entries.length, 1) : 0;
    const part = await resource.storage.rangeAt(
      resource.bucket,
      below,
      from,
      Math.max(rv, 0),
      selection.matches && limit ? Math.max(want, 500) : want,
    );
    if (rv <= 0) rv = part.revision;
    more = part.more;
    left = part.count - part.entries.length;
    for (const e of part.entries) {
      from = `${e.key}\0`;
      if (!selects(selection, e)) continue;
      entries.push(e);
      if (limit && entries.length === limit) {
        more ||= e !== part.entries.at(-1);
        break;
      }
    }
    if (!limit || entries.length === limit) break;
  }
  const base = { entries: entries.map((e) => view(resource, e)), resourceVersion: String(rv) };
  if (!limit || !more || entries.length < limit) return base;
  return { ...base, continue: encodeToken(rv, from.slice(below.length)), ...(selection.matches ? {} : { remainingItemCount: left }) };
}

/** 410 for a watch or list from a version whose history is gone. */
export const tooOld = (wanted: number, oldest: number) => gone(`too old resource version: ${wanted} (${oldest})`);
