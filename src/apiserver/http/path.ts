// Paths of the REST API into what they ask for (k8s.io/apiserver/pkg/endpoints/request).
import type { Target } from "../../client/transport.ts";

export interface ResourcePath extends Target {
  /** What stands behind "proxy", with its slash. */
  rest?: string;
}

/** Subresources of a namespace itself; everything else in that place is a resource in it. */
const ofNamespace = new Set(["status", "finalize"]);

const escaped = /%[0-9A-Fa-f]{2}/g;
const unusual = /[%\x80-\xff]/;

/**
 * What a path says without its escapes, which may hide slashes too, as Go's
 * URL.Path has it.
 * @param raw Latin-1, a character a byte
 * @throws {SyntaxError} for a percent sign that begins no escape
 */
export function decodePath(raw: string): string {
  if (!unusual.test(raw)) return raw;
  const wrong = /%(?![0-9A-Fa-f]{2}).{0,2}/.exec(raw);
  if (wrong) throw new SyntaxError(`invalid URL escape ${JSON.stringify(wrong[0])}`);
  return Buffer.from(raw.replace(escaped, character), "latin1").toString();
}

const character = (hex: string) => String.fromCharCode(Number.parseInt(hex.slice(1), 16));

/** The query of a target; what is no ASCII is UTF-8 there, escaped or not. */
export const decodeQuery = (raw: string): URLSearchParams =>
  new URLSearchParams(/[\x80-\xff]/.test(raw) ? Buffer.from(raw, "latin1").toString() : raw);

/** Where discovery and documents lie, with a slash behind or without. */
const withSlash = /^\/(apis?|version|openid|\.well-known)\/.*/;

/** A path that is no resource, as it is looked up. */
export const documentPath = (path: string): string => (path.endsWith("/") && withSlash.test(path) ? path.slice(0, -1) : path);

/**
 * The resource of a path below /api/v1 or /apis/GROUP/VERSION; undefined where it names none.
 * @param raw the same with its escapes, of which a proxy passes the rest on
 */
export function resourcePath(path: string, raw = path): ResourcePath | undefined {
  const parts = path.split("/");
  // "", "api", "v1", … or "", "apis", group, version, …
  const core = parts[1] === "api";
  let at = core ? 3 : 4;
  const group = core ? "" : parts[2]!;
  const version = parts[at - 1];
  if (!version || (!core && parts[1] !== "apis")) return undefined;
  // The old form /api/v1/watch/… means ?watch=1; the caller reads that itself.
  const watch = parts[at] === "watch";
  if (watch) at++;
  if (parts.at(-1) === "") parts.pop();
  if (at >= parts.length) return undefined;
  const target: ResourcePath = { group, version, resource: "" };
  if (parts[at] === "namespaces" && parts.length > at + 1) {
    const name = parts[at + 1]!;
    const next = parts[at + 2];
    if (next === undefined || (core && !watch && ofNamespace.has(next) && parts.length === at + 3))
      return { ...target, resource: "namespaces", name, ...(next === undefined ? {} : { subresource: next }) };
    target.namespace = name;
    at += 2;
  }
  target.resource = parts[at]!;
  if (parts[at + 1] !== undefined) target.name = parts[at + 1];
  if (parts[at + 2] !== undefined) target.subresource = parts[at + 2];
  // It is of whole objects alone.
  if (watch && target.subresource !== undefined) return undefined;
  if (parts.length > at + 3) {
    if (target.subresource !== "proxy") return undefined;
    target.rest = restOf(path, raw, at + 3);
  }
  return target;
}

/** What stands from the nth part on, as it came. */
function restOf(path: string, raw: string, from: number): string {
  const parts = raw.split("/");
  const before = parts.slice(0, from).join("/");
  // An escaped slash before makes parts of the path that are none of the raw one.
  if (before.includes("%2f") || before.includes("%2F")) return `/${path.split("/").slice(from).map(encodeURIComponent).join("/")}`;
  return `/${parts.slice(from).join("/")}`;
}

/** Whether the path has the old form that asks for a watch. */
export const isOldWatch = (path: string): boolean => /^\/(api\/[^/]+|apis\/[^/]+\/[^/]+)\/watch(\/|$)/.test(path);
