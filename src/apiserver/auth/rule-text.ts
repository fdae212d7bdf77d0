// Rules as the refusal of an escalation lists them
// (pkg/registry/rbac/validation, CompactRules; pkg/apis/rbac/v1, CompactString).
import type * as rbac from "../../api/gen/rbac/v1.ts";

type Rule = rbac.PolicyRule;

/** Strings as Go's %q prints a slice of them. */
export const quoted = (list: readonly string[]): string => `[${list.map((x) => JSON.stringify(x)).join(" ")}]`;

/** Puts the verbs for one and the same resource together; rules with names or paths stay as they are. */
function compact(parts: readonly Rule[]): Rule[] {
  const byResource = new Map<string, Rule>();
  const others: Rule[] = [];
  for (const part of parts) {
    if (part.resourceNames || part.nonResourceURLs) {
      others.push(part);
      continue;
    }
    const key = JSON.stringify([part.apiGroups, part.resources]);
    const seen = byResource.get(key);
    if (seen) seen.verbs.push(...part.verbs);
    else byResource.set(key, { ...part, verbs: [...part.verbs] });
  }
  return [...others, ...byResource.values()];
}

function text(rule: Rule): string {
  const fields: [string, readonly string[] | undefined][] = [
    ["APIGroups", rule.apiGroups],
    ["Resources", rule.resources],
    ["NonResourceURLs", rule.nonResourceURLs],
    ["ResourceNames", rule.resourceNames],
    ["Verbs", rule.verbs],
  ];
  return `{${fields.flatMap(([name, list]) => (list?.length ? [`${name}:${quoted(list)}`] : [])).join(", ")}}`;
}

/** Rules of a breakdown, one a line, sorted. */
export const ruleLines = (parts: readonly Rule[]): string => [...new Set(compact(parts).map(text))].sort().join("\n");
