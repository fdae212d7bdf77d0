// Paths of the REST API into what they ask for (k8s.io/apiserver/pkg/endpoints/request).
import type { Target } from "../../client/transport.ts";

export interface ResourcePath extends Target {
  /** What stands behind "proxy", with its slash. */
  rest?: string;
}

/** Subresources of a namespace itself; everything else in that place is a resource in it. */
const ofNamespace = new Set(["status", "finalize"]);

function decode(part: string): string {
  if (!part.includes("%")) return part;
  try {
    return decodeURIComponent(part);
  } catch (error) {
    if (error instanceof URIError) return part;
    throw error;
  }
}

/** The resource of a path below /api/v1 or /apis/GROUP/VERSION; undefined where it names none. */
export function resourcePath(path: string): ResourcePath | undefined {
  const parts = path.split("/").map(decode);
  // "", "api", "v1", … or "", "apis", group, version, …
  const core = parts[1] === "api";
  let at = core ? 3 : 4;
  const group = core ? "" : parts[2]!;
  const version = parts[at - 1];
  if (!version || (!core && parts[1] !== "apis")) return undefined;
  // The old form /api/v1/watch/… means ?watch=1; the caller reads that itself.
  if (parts[at] === "watch") at++;
  if (parts.at(-1) === "") parts.pop();
  if (at >= parts.length) return undefined;
  const target: ResourcePath = { group, version, resource: "" };
  if (parts[at] === "namespaces" && parts.length > at + 1) {
    const name = parts[at + 1]!;
    const next = parts[at + 2];
    if (next === undefined || (core && ofNamespace.has(next) && parts.length === at + 3))
      return { ...target, resource: "namespaces", name, ...(next === undefined ? {} : { subresource: next }) };
    target.namespace = name;
    at += 2;
  }
  target.resource = parts[at]!;
  if (parts[at + 1] !== undefined) target.name = parts[at + 1];
  if (parts[at + 2] !== undefined) target.subresource = parts[at + 2];
  if (parts.length > at + 3) {
    if (target.subresource !== "proxy") return undefined;
    target.rest = `/${path
      .split("/")
      .slice(at + 3)
      .join("/")}`;
  }
  return target;
}

/** Whether the path has the old form that asks for a watch. */
export const isOldWatch = (path: string): boolean => /^\/(api\/[^/]+|apis\/[^/]+\/[^/]+)\/watch(\/|$)/.test(path);
