// The name that a pod template gives to its ReplicaSet, and whether two
// templates are the same but for it.
import type * as coreV1 from "../../api/gen/core/v1.ts";

export const templateHashLabel = "pod-template-hash";

/** No vowels and no digits that look like letters, so that no word comes out (k8s.io/apimachinery/pkg/util/rand). */
const alphabet = "bcdfghjklmnpqrstvwxz2456789";

const written = new WeakMap<object, string>();

/** JSON with sorted keys, without what is empty: equal for templates that mean the same. */
function canonical(value: unknown): string | undefined {
  if (value === null || value === undefined) return undefined;
  if (typeof value !== "object") return JSON.stringify(value);
  if (Array.isArray(value)) return value.length === 0 ? undefined : `[${value.map((v) => canonical(v) ?? "null").join(",")}]`;
  const members: string[] = [];
  for (const key of Object.keys(value).sort()) {
    const text = canonical((value as Record<string, unknown>)[key]);
    if (text !== undefined) members.push(`${JSON.stringify(key)}:${text}`);
  }
  // An empty object can mean something: emptyDir: {}.
  return `{${members.join(",")}}`;
}

function templateText(template: coreV1.PodTemplateSpec): string {
  let text = written.get(template);
  if (text === undefined) {
    const { [templateHashLabel]: _, ...labels } = template.metadata?.labels ?? {};
    text = canonical({ ...template, metadata: { ...template.metadata, labels } }) ?? "";
    if (Object.isFrozen(template)) written.set(template, text);
  }
  return text;
}

/** Whether two templates are the same, whatever their pod-template-hash. */
export function sameTemplate(a: coreV1.PodTemplateSpec | undefined, b: coreV1.PodTemplateSpec | undefined): boolean {
  return a === b || (a !== undefined && b !== undefined && templateText(a) === templateText(b));
}

/** FNV-1a, 32 bits. */
export function fnv32a(text: string): number {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(text)) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash >>> 0;
}

/** Spells a number in upstream's safe alphabet. */
export function safeEncode(text: string): string {
  let out = "";
  for (let i = 0; i < text.length; i++) out += alphabet[text.charCodeAt(i) % alphabet.length];
  return out;
}

/** The pod-template-hash; `collisions` makes another one where a name is taken by a different template. */
export function templateHash(template: coreV1.PodTemplateSpec, collisions: number | undefined): string {
  return safeEncode(String(fnv32a(templateText(template) + (collisions === undefined ? "" : `#${collisions}`))));
}
