// Image references, normalised the way every container tool does
// (distribution/reference: domain, path, tag, digest).

export interface Reference {
  /** "docker.io", "localhost:5000". */
  domain: string;
  /** "library/busybox". */
  path: string;
  tag?: string;
  /** "sha256:…". */
  digest?: string;
}

export class InvalidReference extends Error {
  override name = "InvalidReference";
}

const PATH = /^[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*$/;
const TAG = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/;
const DIGEST = /^[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[0-9a-f]{32,}$/;
const DOMAIN = /^(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*|\[[0-9a-fA-F:]+\])(?::\d+)?$/;

/** Parses and normalises: "busybox" becomes docker.io/library/busybox:latest. Throws InvalidReference. */
export function parseReference(text: string): Reference {
  const invalid = (why = "") => new InvalidReference(`failed to parse reference ${JSON.stringify(text)}: invalid reference format${why}`);
  if (text === "") throw invalid();
  const at = text.indexOf("@");
  const digest = at < 0 ? undefined : text.slice(at + 1);
  if (digest !== undefined && !DIGEST.test(digest)) throw invalid();
  let name = at < 0 ? text : text.slice(0, at);
  const colon = name.lastIndexOf(":");
  let tag: string | undefined;
  if (colon > name.lastIndexOf("/")) {
    tag = name.slice(colon + 1);
    name = name.slice(0, colon);
    if (!TAG.test(tag)) throw invalid();
  }
  const slash = name.indexOf("/");
  const first = slash < 0 ? "" : name.slice(0, slash);
  const hasDomain = slash >= 0 && (/[.:]/.test(first) || first === "localhost" || first !== first.toLowerCase());
  let domain = hasDomain ? first : "docker.io";
  let path = hasDomain ? name.slice(slash + 1) : name;
  if (domain === "index.docker.io") domain = "docker.io";
  if (domain === "docker.io" && !path.includes("/")) path = `library/${path}`;
  if (!DOMAIN.test(domain)) throw invalid();
  if (!PATH.test(path)) throw invalid(path === path.toLowerCase() ? "" : `: repository name (${path}) must be lowercase`);
  if (tag === undefined && digest === undefined) tag = "latest";
  return { domain, path, tag, digest };
}

/** "docker.io/library/busybox". */
export const repository = (r: Reference): string => `${r.domain}/${r.path}`;

/** The whole reference as text. */
export const formatReference = (r: Reference): string =>
  `${repository(r)}${r.tag === undefined ? "" : `:${r.tag}`}${r.digest === undefined ? "" : `@${r.digest}`}`;

/** Normalises, and leaves image IDs ("sha256:…", bare hex of 64) alone. */
export function normalise(text: string): string {
  if (/^(sha256:)?[0-9a-f]{64}$/.test(text)) return text.startsWith("sha256:") ? text : `sha256:${text}`;
  return formatReference(parseReference(text));
}
