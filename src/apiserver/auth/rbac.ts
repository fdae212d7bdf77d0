// Role-based access control (k8s.io/kubernetes/plugin/pkg/auth/authorizer/rbac):
// what a user may do is the union of the rules of every role bound to it.
import type * as rbac from "../../api/gen/rbac/v1.ts";
import { forbidden, type StatusError } from "../../api/status.ts";
import type { Attributes, UserInfo } from "../request.ts";

/** Where roles and bindings are read from: the watch cache. */
export interface RbacSource {
  clusterRole(name: string): rbac.ClusterRole | undefined;
  role(namespace: string, name: string): rbac.Role | undefined;
  clusterRoleBindings(): Iterable<rbac.ClusterRoleBinding>;
  roleBindings(namespace: string): Iterable<rbac.RoleBinding>;
}

export interface Decision {
  allowed: boolean;
  reason: string;
}

const MASTERS = "system:masters";
const SERVICE_ACCOUNT = /^system:serviceaccount:([^:]+):([^:]+)$/;

function appliesTo(subject: rbac.Subject, user: UserInfo, bindingNamespace: string | undefined): boolean {
  switch (subject.kind) {
    case "User":
      return subject.name === user.name;
    case "Group":
      return user.groups.includes(subject.name);
    case "ServiceAccount": {
      const account = SERVICE_ACCOUNT.exec(user.name);
      return account?.[1] === (subject.namespace || bindingNamespace) && account?.[2] === subject.name;
    }
    default:
      return false;
  }
}

const has = (list: readonly string[] | undefined, value: string) => list?.includes("*") === true || list?.includes(value) === true;

function resourceMatches(rule: rbac.PolicyRule, r: NonNullable<Attributes["resource"]>): boolean {
  const asked = r.subresource ? `${r.resource}/${r.subresource}` : r.resource;
  return (rule.resources ?? []).some((x) => x === "*" || x === asked || (r.subresource !== undefined && x === `*/${r.subresource}`));
}

function ruleAllows(rule: rbac.PolicyRule, a: Attributes): boolean {
  if (!has(rule.verbs, a.verb)) return false;
  const r = a.resource;
  if (!r)
    return (rule.nonResourceURLs ?? []).some((u) => u === "*" || u === a.path || (u.endsWith("*") && a.path.startsWith(u.slice(0, -1))));
  return (
    has(rule.apiGroups, r.group) &&
    resourceMatches(rule, r) &&
    (!rule.resourceNames?.length || (r.name !== undefined && rule.resourceNames.includes(r.name)))
  );
}

interface Grant {
  rules: readonly rbac.PolicyRule[];
  /** How the reason of a decision names it. */
  by: string;
}

export class RbacAuthorizer {
  readonly #source: RbacSource;

  constructor(source: RbacSource) {
    this.#source = source;
  }

  authorize(a: Attributes): Decision {
    if (a.user.groups.includes(MASTERS)) return { allowed: true, reason: "" };
    for (const grant of this.#grants(a.user, a.resource?.namespace)) {
      if (grant.rules.some((rule) => ruleAllows(rule, a))) return { allowed: true, reason: `RBAC: allowed by ${grant.by}` };
    }
    return { allowed: false, reason: "" };
  }

  /** Everything that a user may do in a namespace, for SelfSubjectRulesReview. */
  rulesFor(user: UserInfo, namespace: string): { resourceRules: rbac.PolicyRule[]; nonResourceRules: rbac.PolicyRule[] } {
    if (user.groups.includes(MASTERS)) {
      return {
        resourceRules: [{ verbs: ["*"], apiGroups: ["*"], resources: ["*"] }],
        nonResourceRules: [{ verbs: ["*"], nonResourceURLs: ["*"] }],
      };
    }
    const rules = [...this.#grants(user, namespace)].flatMap((g) => g.rules);
    return { resourceRules: rules.filter((r) => r.resources?.length), nonResourceRules: rules.filter((r) => r.nonResourceURLs?.length) };
  }

  *#grants(user: UserInfo, namespace: string | undefined): Generator<Grant> {
    for (const b of this.#source.clusterRoleBindings()) {
      const subject = b.subjects?.find((s) => appliesTo(s, user, undefined));
      const rules = subject && this.#source.clusterRole(b.roleRef.name)?.rules;
      if (rules)
        yield {
          rules,
          by: `ClusterRoleBinding ${JSON.stringify(b.metadata.name)} of ClusterRole ${JSON.stringify(b.roleRef.name)} to ${described(subject)}`,
        };
    }
    if (!namespace) return;
    for (const b of this.#source.roleBindings(namespace)) {
      const subject = b.subjects?.find((s) => appliesTo(s, user, namespace));
      if (!subject) continue;
      const role =
        b.roleRef.kind === "ClusterRole" ? this.#source.clusterRole(b.roleRef.name) : this.#source.role(namespace, b.roleRef.name);
      if (role?.rules)
        yield {
          rules: role.rules,
          by: `RoleBinding "${b.metadata.name}/${namespace}" of ${b.roleRef.kind} ${JSON.stringify(b.roleRef.name)} to ${described(subject)}`,
        };
    }
  }
}

const described = (s: rbac.Subject) =>
  s.kind === "ServiceAccount" ? `${s.kind} "${s.name}/${s.namespace}"` : `${s.kind} ${JSON.stringify(s.name)}`;

/** The 403 of a request that nothing allows, in upstream's words. */
export function forbiddenFor(a: Attributes, reason = ""): StatusError {
  const user = JSON.stringify(a.user.name);
  const why = reason ? `: ${reason}` : "";
  const r = a.resource;
  if (!r) return forbidden({ resource: "" }, "", `User ${user} cannot ${a.verb} path ${JSON.stringify(a.path)}${why}`);
  const resource = r.subresource ? `${r.resource}/${r.subresource}` : r.resource;
  const where = r.namespace ? `in the namespace ${JSON.stringify(r.namespace)}` : "at the cluster scope";
  return forbidden(
    { group: r.group, resource: r.resource },
    r.name ?? "",
    `User ${user} cannot ${a.verb} resource ${JSON.stringify(resource)} in API group ${JSON.stringify(r.group)} ${where}${why}`,
  );
}
