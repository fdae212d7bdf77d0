// The refusal of an apply that would take fields from others, as upstream words it.
import { StatusError } from "../status.ts";
import type { Manager } from "./managers.ts";
import { type FieldSet, forEachPath, formatPath } from "./sets.ts";

/** What an apply would take, and from whom. */
export interface Conflict {
  manager: Manager;
  set: FieldSet;
}

function describe(m: Manager): string {
  let text = JSON.stringify(m.manager);
  if (m.subresource) text += ` with subresource ${JSON.stringify(m.subresource)}`;
  return m.operation === "Update" ? `${text} using ${m.apiVersion}` : text;
}

/** 409 with a cause of type FieldManagerConflict for each path. */
export function applyConflict(conflicts: Conflict[]): StatusError {
  const causes: { reason: "FieldManagerConflict"; message: string; field: string }[] = [];
  const byManager = new Map<string, string[]>();
  for (const { manager, set } of conflicts) {
    const who = describe(manager);
    forEachPath(set, (path) => {
      const field = formatPath(path);
      causes.push({ reason: "FieldManagerConflict", message: `conflict with ${who}`, field });
      byManager.set(who, [...(byManager.get(who) ?? []), field]);
    });
  }
  const message =
    causes.length === 1
      ? `Apply failed with 1 conflict: ${causes[0]!.message}: ${causes[0]!.field}`
      : `Apply failed with ${causes.length} conflicts: ${[...byManager]
          .sort(([a], [b]) => (a < b ? -1 : 1))
          .map(([who, fields]) => `conflicts with ${who}:\n${fields.map((f) => `- ${f}`).join("\n")}`)
          .join("\n")}`;
  return new StatusError({
    kind: "Status",
    apiVersion: "v1",
    metadata: {},
    status: "Failure",
    message,
    reason: "Conflict",
    details: { causes },
    code: 409,
  });
}
