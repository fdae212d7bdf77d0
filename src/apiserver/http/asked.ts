// What a request asks for, by its method and target, and under which labels
// the metrics count it.
import { badRequest } from "../../api/status.ts";
import type { Incoming } from "./incoming.ts";
import type { RequestLabels } from "./metrics.ts";
import { decodePath, decodeQuery, isOldWatch, type ResourcePath, resourcePath } from "./path.ts";
import { wantsWatch } from "./query.ts";

export interface Asked {
  /** Without escapes. */
  readonly path: string;
  readonly query: URLSearchParams;
  /** Absent: a path that is no resource. */
  readonly target: ResourcePath | undefined;
  readonly watch: boolean;
}

const noQuery = new URLSearchParams();

/** HEAD is GET whose body stays away. */
export const isRead = (method: string): boolean => method === "GET" || method === "HEAD";

/** @throws {StatusError} 400 for a target that can't be read */
export function ask(incoming: Incoming): Asked {
  const { target: text } = incoming;
  const at = text.indexOf("?");
  const raw = at < 0 ? text : text.slice(0, at);
  const query = at < 0 ? noQuery : decodeQuery(text.slice(at + 1));
  const path = decoded(raw);
  const target = path.startsWith("/api") ? resourcePath(path, raw) : undefined;
  const watch = target !== undefined && isRead(incoming.method) && (isOldWatch(path) || (wantsWatch(query) && !target.subresource));
  return { path, query, target, watch };
}

function decoded(raw: string): string {
  try {
    return decodePath(raw);
  } catch (error) {
    throw badRequest(`parse ${JSON.stringify(raw)}: ${(error as SyntaxError).message}`);
  }
}

const methods = new Set(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE"]);

/**
 * The labels of a request: what only a client has thought of is not among
 * them, or anybody could make series without end.
 * @param asked undefined where it could not be read, or names nothing that is served
 */
export function labelsOf(method: string, asked: Asked | undefined): RequestLabels {
  const { group = "", version = "", resource = "", subresource = "", name, namespace } = asked?.target ?? {};
  return { verb: verbOf(method, asked), group, version, resource, subresource, scope: scopeOf(resource, name, namespace) };
}

function verbOf(method: string, asked: Asked | undefined): string {
  if (asked?.watch) return "WATCH";
  if (!methods.has(method)) return "other";
  const collection = asked?.target && asked.target.name === undefined;
  if (isRead(method)) return collection ? "LIST" : method;
  return method === "DELETE" && collection ? "DELETECOLLECTION" : method;
}

function scopeOf(resource: string, name: string | undefined, namespace: string | undefined): string {
  if (!resource) return "";
  return name ? "resource" : namespace ? "namespace" : "cluster";
}
