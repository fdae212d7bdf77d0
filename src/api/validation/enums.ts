// Closed string types, checked by the schema table instead of by hand: a field
// whose type lists all its values takes no other.
import { messageSchema, stringType } from "../schema.ts";
import type { Errors } from "./errors.ts";

interface Place {
  json: string;
  list: boolean;
  map: boolean;
  /** The allowed values, or the message to look into. */
  values?: readonly string[];
  message?: string;
}

const cache = new Map<string, readonly Place[]>();

/** The fields of a message that are of a closed type, or hold one further down. */
function places(message: string): readonly Place[] {
  const known = cache.get(message);
  if (known) return known;
  // A message that holds itself (a JSON schema does) counts as empty while it is being looked at.
  cache.set(message, []);
  const schema = messageSchema(message);
  const found: Place[] = [];
  if (schema.json === "OBJECT") {
    for (const f of schema.jsonFields) {
      const place = { json: f.json, list: f.list === true, map: f.map === true };
      const type = f.values ? stringType(f.values) : undefined;
      if (type?.closed) found.push({ ...place, values: type.values });
      else if (f.message && places(f.message).length > 0) found.push({ ...place, message: f.message });
    }
  }
  cache.set(message, found);
  return found;
}

/** Adds NotSupported for each value that its type does not list. Empty values count as not given. */
export function enums(message: string, object: unknown, path: string, errors: Errors): void {
  if (object === null || typeof object !== "object") return;
  for (const place of places(message)) {
    const value = (object as Record<string, unknown>)[place.json];
    if (value === undefined || value === null || value === "") continue;
    const at = path ? `${path}.${place.json}` : place.json;
    const each = (v: unknown, where: string) => {
      if (place.message) enums(place.message, v, where, errors);
      else if (!place.values!.includes(v as string)) errors.notSupported(where, v, place.values!);
    };
    if (place.list) (value as unknown[]).forEach((v, i) => each(v, `${at}[${i}]`));
    else if (place.map) for (const [k, v] of Object.entries(value)) each(v, `${at}[${k}]`);
    else each(value, at);
  }
}
