// YAML bodies, read and written as sigs.k8s.io/yaml does: YAML 1.1 scalars,
// but no times and no base-60 numbers. Import lazily: the parser is large.
import { Document, isMap, isScalar, isSeq, parseAllDocuments, Scalar, type Tags, visit } from "yaml";

/** Text that is no YAML. */
export class YamlError extends Error {
  override name = "YamlError";
}

export interface DecodedYaml {
  value: unknown;
  /** Paths of members that stand twice, as parseJsonStrict gives them; the last one wins. */
  duplicates: string[];
}

/** Scalars that stay strings. */
const customTags = (tags: Tags): Tags =>
  tags
    .filter((t) => typeof t === "string" || !("format" in t && t.format === "TIME"))
    .filter((t) => typeof t === "string" || !t.tag.endsWith(":timestamp"));

/** No key that is written merges. */
const plainTags = (tags: Tags): Tags => customTags(tags).filter((t) => typeof t === "string" || !t.tag.endsWith(":merge"));

const options = { version: "1.1", customTags, merge: true, prettyErrors: false, logLevel: "silent" } as const;

const lineOf = (text: string, offset: number) => text.slice(0, offset).split("\n").length;

function findDuplicates(node: unknown, path: string, found: string[]): void {
  if (isSeq(node)) for (const [i, item] of node.items.entries()) findDuplicates(item, `${path}[${i}]`, found);
  if (!isMap(node)) return;
  const seen = new Set<string>();
  for (const { key, value } of node.items) {
    const name = isScalar(key) ? String(key.value) : String(key);
    const here = path === "" ? name : `${path}.${name}`;
    if (seen.has(name)) found.push(here);
    seen.add(name);
    findDuplicates(value, here, found);
  }
}

/** The first document of a text. Throws a YamlError. */
export function decodeYaml(text: string): DecodedYaml {
  const documents = parseAllDocuments(text, { ...options, uniqueKeys: false });
  const document = Array.isArray(documents) ? documents[0] : undefined;
  if (!document) return { value: null, duplicates: [] };
  const [error] = document.errors;
  if (error) throw new YamlError(`yaml: line ${lineOf(text, error.pos[0])}: ${error.message}`, { cause: error });
  const duplicates: string[] = [];
  findDuplicates(document.contents, "", duplicates);
  return { value: document.toJS({ maxAliasCount: 1000 }), duplicates };
}

/** YAML text of a JSON value, keys sorted. */
export function encodeYaml(value: unknown): string {
  const document = new Document(value, { version: "1.1", sortMapEntries: true, aliasDuplicateObjects: false, customTags: plainTags });
  document.directives!.yaml.explicit = false;
  // Only a bare << would merge.
  visit(document, {
    Scalar: (_, node) => {
      if (node.value === "<<") node.type = Scalar.QUOTE_DOUBLE;
    },
  });
  return document.toString({ lineWidth: 0, indentSeq: false });
}
