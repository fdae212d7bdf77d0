// YAML bodies, read and written as sigs.k8s.io/yaml does: YAML 1.1 scalars,
// but no times and no base-60 numbers. Import lazily: the parser is large.
import { Document, parseAllDocuments, type Tags } from "yaml";

/** Text that is no YAML. */
export class YamlError extends Error {
  override name = "YamlError";
}

export interface DecodedYaml {
  value: unknown;
  /** Sentences on keys that stand twice, as `line 3: key "a" already set in map`; the last one wins. */
  duplicates: string[];
}

/** Scalars that stay strings. */
const customTags = (tags: Tags): Tags =>
  tags
    .filter((t) => typeof t === "string" || !("format" in t && t.format === "TIME"))
    .filter((t) => typeof t === "string" || !t.tag.endsWith(":timestamp"));

const options = { version: "1.1", customTags, merge: true, prettyErrors: false, logLevel: "silent" } as const;

const lineOf = (text: string, offset: number) => text.slice(0, offset).split("\n").length;

/** The first document of a text. Throws a YamlError. */
export function decodeYaml(text: string): DecodedYaml {
  const documents = parseAllDocuments(text, { ...options, uniqueKeys: true });
  const document = Array.isArray(documents) ? documents[0] : undefined;
  if (!document) return { value: null, duplicates: [] };
  const duplicates: string[] = [];
  for (const e of document.errors) {
    if (e.code !== "DUPLICATE_KEY") throw new YamlError(`yaml: line ${lineOf(text, e.pos[0])}: ${e.message}`);
    const key =
      /^\s*(?:"([^"]*)"|'([^']*)'|([^:\n]*?))\s*(?::|$)/
        .exec(text.slice(e.pos[0]))
        ?.slice(1)
        .find((k) => k !== undefined) ?? "";
    duplicates.push(`line ${lineOf(text, e.pos[0])}: key ${JSON.stringify(key)} already set in map`);
  }
  return { value: document.toJS({ maxAliasCount: 1000 }), duplicates };
}

/** YAML text of a JSON value, keys sorted. */
export function encodeYaml(value: unknown): string {
  const document = new Document(value, { version: "1.1", sortMapEntries: true, aliasDuplicateObjects: false, customTags });
  document.directives!.yaml.explicit = false;
  return document.toString({ lineWidth: 0, indentSeq: false });
}
