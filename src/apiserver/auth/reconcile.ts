// Brings a stored bootstrap role or binding up to what this version's tables
// say, as upstream does at each start: what is missing is added, and what an
// administrator added stays.
import { deepEqual } from "../../api/equal.ts";
import type { KubeObject } from "../../api/object.ts";

/** "false" on an object keeps it as it is. */
export const AUTOUPDATE = "rbac.authorization.kubernetes.io/autoupdate";

type RbacObject = KubeObject & { rules?: readonly unknown[]; subjects?: readonly unknown[] };

const missing = (live: readonly unknown[] = [], wanted: readonly unknown[] = []) =>
  wanted.filter((w) => !live.some((l) => deepEqual(l, w)));

/** What to store instead of `live`; undefined where it already has everything, or is not to be touched. */
export function reconciled(live: RbacObject, wanted: RbacObject): RbacObject | undefined {
  if (live.metadata.annotations?.[AUTOUPDATE] !== "true") return undefined;
  const rules = missing(live.rules, wanted.rules);
  const subjects = missing(live.subjects, wanted.subjects);
  if (rules.length + subjects.length === 0) return undefined;
  return {
    ...live,
    ...(rules.length ? { rules: [...(live.rules ?? []), ...rules] } : {}),
    ...(subjects.length ? { subjects: [...(live.subjects ?? []), ...subjects] } : {}),
  };
}
