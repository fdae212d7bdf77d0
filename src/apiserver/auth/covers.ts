// Whether rules grant what other rules do
// (k8s.io/component-helpers/auth/rbac/validation, Covers): the wanted ones are
// broken down so far that each part is held by a single rule or by none.
import type * as rbac from "../../api/gen/rbac/v1.ts";

type Rule = rbac.PolicyRule;

const none: readonly string[] = [];

/** A rule as rules of one verb for one resource, of one name where names are given, or for one path. */
export function breakdown(rule: Rule): Rule[] {
  const parts: Rule[] = [];
  const verbs = rule.verbs ?? none;
  for (const group of rule.apiGroups ?? none)
    for (const resource of rule.resources ?? none)
      for (const verb of verbs) {
        const part = { apiGroups: [group], resources: [resource], verbs: [verb] };
        if (rule.resourceNames?.length) for (const name of rule.resourceNames) parts.push({ ...part, resourceNames: [name] });
        else parts.push(part);
      }
  for (const url of rule.nonResourceURLs ?? none) for (const verb of verbs) parts.push({ nonResourceURLs: [url], verbs: [verb] });
  return parts;
}

const includes = (held: readonly string[] | undefined, wanted: string | undefined) => held?.includes(wanted ?? "") === true;
const orAll = (held: readonly string[] | undefined, wanted: string | undefined) => includes(held, "*") || includes(held, wanted);

/** A subresource is also held by the one of that name of every resource. */
function resourceHeld(held: readonly string[] | undefined, wanted: string): boolean {
  if (orAll(held, wanted)) return true;
  const slash = wanted.indexOf("/");
  return slash >= 0 && includes(held, `*${wanted.slice(slash)}`);
}

function urlHeld(held: readonly string[] | undefined, wanted: string): boolean {
  return (held ?? none).some((h) => h === wanted || (h.endsWith("*") && wanted.startsWith(h.replace(/\*+$/, ""))));
}

/** Whether a rule holds a part of a breakdown. */
function holds(held: Rule, part: Rule): boolean {
  if (!orAll(held.verbs, part.verbs[0])) return false;
  // Without names a part means every object, which a rule for some of them is not enough for.
  if (held.resourceNames?.length && !(part.resourceNames && includes(held.resourceNames, part.resourceNames[0]))) return false;
  if (part.nonResourceURLs) return urlHeld(held.nonResourceURLs, part.nonResourceURLs[0]!);
  return orAll(held.apiGroups, part.apiGroups![0]) && resourceHeld(held.resources, part.resources![0]!);
}

/** What of the wanted rules no held one grants, broken down; empty where they are covered. */
export function uncovered(held: readonly Rule[], wanted: readonly Rule[]): Rule[] {
  return wanted.flatMap(breakdown).filter((part) => !held.some((h) => holds(h, part)));
}
