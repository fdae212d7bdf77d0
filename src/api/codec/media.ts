// Which representation a request brings or asks for: Content-Type and Accept
// with quality, and the parameters that Kubernetes gives them.

export type Format = "json" | "yaml" | "protobuf" | "cbor";

/** The media type of each format. */
export const mediaTypes: Readonly<Record<Format, string>> = {
  json: "application/json",
  yaml: "application/yaml",
  protobuf: "application/vnd.kubernetes.protobuf",
  cbor: "application/cbor",
};

/** The media type of a watch stream in each format. */
export const streamTypes: Readonly<Record<Format, string>> = {
  json: "application/json;stream=watch",
  yaml: "application/yaml;stream=watch",
  protobuf: "application/vnd.kubernetes.protobuf;stream=watch",
  cbor: "application/cbor-seq",
};

export interface MediaType {
  /** Lower case, as "application/json". */
  type: string;
  /** Names in lower case. */
  parameters: Record<string, string>;
}

/** Splits at a separator outside quotes. */
function split(text: string, separator: string): string[] {
  if (!text.includes('"')) return text.split(separator);
  const out = [""];
  let quoted = false;
  for (const c of text) {
    if (c === '"') quoted = !quoted;
    if (c === separator && !quoted) out.push("");
    else out[out.length - 1] += c;
  }
  return out;
}

/** Reads `application/json; charset=utf-8`. */
export function parseMediaType(text: string): MediaType {
  const [type = "", ...rest] = split(text, ";");
  const parameters: Record<string, string> = {};
  for (const p of rest) {
    const at = p.indexOf("=");
    if (at < 0) continue;
    parameters[p.slice(0, at).trim().toLowerCase()] = p
      .slice(at + 1)
      .trim()
      .replace(/^"(.*)"$/, "$1");
  }
  return { type: type.trim().toLowerCase(), parameters };
}

/** The clauses of an Accept header, most wanted first; clauses of quality 0 are left out. */
export function parseAccept(header: string): MediaType[] {
  const clauses = split(header, ",")
    .filter((c) => c.trim() !== "")
    .map((c) => {
      const media = parseMediaType(c);
      const q = Number(media.parameters.q ?? 1);
      delete media.parameters.q;
      const specific = media.type === "*/*" ? 0 : media.type.endsWith("/*") ? 1 : 2;
      return { media, q: Number.isNaN(q) ? 1 : q, specific };
    });
  return clauses
    .filter((c) => c.q > 0)
    .sort((a, b) => b.q - a.q || b.specific - a.specific)
    .map((c) => c.media);
}

/** A kind that an answer is asked to be turned into, such as Table. */
export interface Transform {
  group: string;
  version: string;
  kind: string;
}

export interface Negotiated {
  format: Format;
  /** `as=Table;v=v1;g=meta.k8s.io` */
  as?: Transform;
  pretty: boolean;
  /** `stream=watch` */
  stream: boolean;
  /** `profile=nopeer`, for discovery. */
  profile?: string;
}

export interface NegotiateOptions {
  /** What the endpoint can write, most wanted first. */
  formats: readonly Format[];
  /** Kinds that the endpoint can turn its answer into; by default none. */
  transforms?: readonly Transform[];
  /** The endpoint is a watch. */
  stream?: boolean;
}

/** The transforms that every resource can be read as. */
export const metaTransforms: readonly Transform[] = ["v1", "v1beta1"].flatMap((version) =>
  ["Table", "PartialObjectMetadata", "PartialObjectMetadataList"].map((kind) => ({ group: "meta.k8s.io", version, kind })),
);

const matches = (pattern: string, type: string) =>
  pattern === "*/*" || pattern === type || (pattern.endsWith("/*") && type.startsWith(pattern.slice(0, -1)));

/** Other names that clients use. */
const aliases: Record<string, string> = { "application/cbor-seq": "application/cbor", "text/yaml": "application/yaml" };

/** What to answer with; undefined when the client takes nothing that the endpoint can write (406). */
export function negotiate(accept: string | null | undefined, options: NegotiateOptions): Negotiated | undefined {
  const first = options.formats[0]!;
  if (!accept) return { format: first, pretty: false, stream: options.stream ?? false };
  for (const clause of parseAccept(accept)) {
    const type = aliases[clause.type] ?? clause.type;
    for (const format of options.formats) {
      if (!matches(type, mediaTypes[format])) continue;
      const found = parametersOf(clause.parameters, format, options);
      if (found) return found;
    }
  }
  return undefined;
}

function parametersOf(p: Record<string, string>, format: Format, options: NegotiateOptions): Negotiated | undefined {
  const out: Negotiated = { format, pretty: p.pretty === "1" || p.pretty === "true", stream: options.stream ?? false };
  if (p.as !== undefined) {
    const as = { kind: p.as, group: p.g ?? "", version: p.v ?? "" };
    const ok = (options.transforms ?? []).some((t) => t.kind === as.kind && t.group === as.group && t.version === as.version);
    if (!ok) return undefined;
    out.as = as;
  }
  if (p.stream !== undefined) {
    if (p.stream !== "watch") return undefined;
    out.stream = true;
  }
  if (p.charset !== undefined && p.charset.toLowerCase() !== "utf-8") return undefined;
  if (p.profile !== undefined) out.profile = p.profile;
  return out;
}

const byType = new Map(Object.entries(mediaTypes).map(([format, type]) => [type, format as Format]));

/** The format of a request's body; JSON when it does not say, undefined when it is none of ours (415). */
export function bodyFormat(contentType: string | null | undefined): Format | undefined {
  if (!contentType) return "json";
  const { type } = parseMediaType(contentType);
  return byType.get(aliases[type] ?? type);
}

const patchTypes = {
  "application/json-patch+json": { patch: "json", format: "json" },
  "application/merge-patch+json": { patch: "merge", format: "json" },
  "application/strategic-merge-patch+json": { patch: "strategic", format: "json" },
  "application/apply-patch+yaml": { patch: "apply", format: "yaml" },
  "application/apply-patch+cbor": { patch: "apply", format: "cbor" },
} as const satisfies Record<string, { patch: string; format: Format }>;

/** The media types of PATCH bodies. */
export const patchMediaTypes: readonly string[] = Object.keys(patchTypes);

/** Which patch a PATCH request's Content-Type announces, and how its body is written; undefined when it is none (415). */
export function patchFormat(
  contentType: string | null | undefined,
): { patch: "json" | "merge" | "strategic" | "apply"; format: Format } | undefined {
  return contentType ? patchTypes[parseMediaType(contentType).type as keyof typeof patchTypes] : undefined;
}
