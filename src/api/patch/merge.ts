// JSON merge patch (RFC 7386).
import { setKey } from "../equal.ts";
import { isObject } from "./errors.ts";

/** The object after the patch. Neither argument is changed; the result shares what did not change. */
export function applyMergePatch(original: unknown, patch: unknown): unknown {
  if (!isObject(patch)) return patch;
  const result: Record<string, unknown> = isObject(original) ? { ...original } : {};
  for (const key in patch) {
    const v = patch[key];
    if (v === null) delete result[key];
    else setKey(result, key, applyMergePatch(Object.hasOwn(result, key) ? result[key] : undefined, v));
  }
  return result;
}
