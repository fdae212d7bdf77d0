// What the fields of the API mean, from the comments in proto/. Read only when
// an OpenAPI document is built.
import docsJson from "../gen/docs.json" with { type: "text" };

let parsed: Record<string, string> | undefined;
const docs = () => {
  parsed ??= JSON.parse(docsJson as unknown as string) as Record<string, string>;
  return parsed;
};

/** The sentence on a message, or on one of its fields; undefined where proto/ has none. */
export function docOf(message: string, field?: string): string | undefined {
  const all = docs();
  const key = field === undefined ? message : `${message}.${field}`;
  return Object.hasOwn(all, key) ? all[key] : undefined;
}

/** The text that docOf reads, for hashing. */
export const docsText = (): string => docsJson as unknown as string;
