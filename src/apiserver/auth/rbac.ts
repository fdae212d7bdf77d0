// Role-based access control (k8s.io/kubernetes/plugin/pkg/auth/authorizer/rbac):
// what a user may do is the union of the rules of every role bound to it.
import type * as rbac from "../../api/gen/rbac/v1.ts";
import { forbidden, type StatusError } from "../../api/status.ts";
import type { Attributes, UserInfo } from "../request.ts";
import { type Grant, Grants } from "./grants.ts";

/** Where roles and bindings are read from: the watch cache. */
export interface RbacSource {
  clusterRole(name: string): rbac.ClusterRole | undefined;
  role(namespace: string, name: string): rbac.Role | undefined;
  /** Another number after any change of a binding. */
  generation(): number;
  clusterRoleBindings(): Iterable<rbac.ClusterRoleBinding>;
  roleBindings(namespace: string): Iterable<rbac.RoleBinding>;
}

export interface Decision {
  allowed: boolean;
  reason: string;
}

/** Its members may do anything; the server itself is one. */
export const MASTERS = "system:masters";
const has = (list: readonly string[] | undefined, value: string) => list?.includes("*") === true || list?.includes(value) === true;

/** How rules name what is asked for: "pods", "pods/log". */
const combined = (r: Attributes["resource"]) => (r?.subresource ? `${r.resource}/${r.subresource}` : (r?.resource ?? ""));

function listed(resources: readonly string[] | undefined, asked: string, subresource: string | undefined): boolean {
  if (!resources) return false;
  for (const x of resources)
    if (x === asked || x === "*" || (subresource !== undefined && x.startsWith("*/") && x.slice(2) === subresource)) return true;
  return false;
}

function pathMatches(urls: readonly string[] | undefined, path: string): boolean {
  if (!urls) return false;
  for (const u of urls) if (u === "*" || u === path || (u.endsWith("*") && path.startsWith(u.slice(0, -1)))) return true;
  return false;
}

function ruleAllows(rule: rbac.PolicyRule, a: Attributes, asked: string): boolean {
  const r = a.resource;
  if (!r) return pathMatches(rule.nonResourceURLs, a.path) && has(rule.verbs, a.verb);
  return (
    listed(rule.resources, asked, r.subresource) &&
    has(rule.apiGroups, r.group) &&
    has(rule.verbs, a.verb) &&
    (!rule.resourceNames?.length || (r.name !== undefined && rule.resourceNames.includes(r.name)))
  );
}

export class RbacAuthorizer {
  readonly #source: RbacSource;
  #generation = -1;
  #cluster = new Grants([], undefined);
  readonly #namespaces = new Map<string, Grants>();

  constructor(source: RbacSource) {
    this.#source = source;
  }

  authorize(a: Attributes): Decision {
    if (a.user.groups.includes(MASTERS)) return { allowed: true, reason: "" };
    const asked = combined(a.resource);
    for (const [rules, grant] of this.#rules(a.user, a.resource?.namespace))
      for (const rule of rules) if (ruleAllows(rule, a, asked)) return { allowed: true, reason: `RBAC: allowed by ${described(grant)}` };
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
    const rules = this.held(user, namespace);
    return { resourceRules: rules.filter((r) => r.resources?.length), nonResourceRules: rules.filter((r) => r.nonResourceURLs?.length) };
  }

  /** The rules of all roles bound to a user in a namespace, or in the whole cluster. */
  held(user: UserInfo, namespace: string | undefined): rbac.PolicyRule[] {
    return [...this.#rules(user, namespace)].flatMap(([rules]) => rules);
  }

  *#rules(user: UserInfo, namespace: string | undefined): Generator<readonly [rules: readonly rbac.PolicyRule[], grant: Grant]> {
    this.#refresh();
    for (const grant of this.#cluster.of(user)) {
      if (grant.roleRef.kind !== "ClusterRole") continue;
      const rules = this.#source.clusterRole(grant.roleRef.name)?.rules;
      if (rules) yield [rules, grant];
    }
    if (!namespace) return;
    for (const grant of this.#inNamespace(namespace).of(user)) {
      const { kind, name } = grant.roleRef;
      const rules = (kind === "ClusterRole" ? this.#source.clusterRole(name) : this.#source.role(namespace, name))?.rules;
      if (rules) yield [rules, grant];
    }
  }

  #refresh(): void {
    const generation = this.#source.generation();
    if (generation === this.#generation) return;
    this.#generation = generation;
    this.#cluster = new Grants(this.#source.clusterRoleBindings(), undefined);
    this.#namespaces.clear();
  }

  #inNamespace(namespace: string): Grants {
    let grants = this.#namespaces.get(namespace);
    if (!grants) {
      grants = new Grants(this.#source.roleBindings(namespace), namespace);
      this.#namespaces.set(namespace, grants);
    }
    return grants;
  }
}

function described({ binding, namespace, roleRef, subject: s }: Grant): string {
  const by = namespace === undefined ? `ClusterRoleBinding ${JSON.stringify(binding)}` : `RoleBinding "${binding}/${namespace}"`;
  const to = s.kind === "ServiceAccount" ? `"${s.name}/${s.namespace || namespace}"` : JSON.stringify(s.name);
  return `${by} of ${roleRef.kind} ${JSON.stringify(roleRef.name)} to ${s.kind} ${to}`;
}

/** The 403 of a request that nothing allows, in upstream's words. */
export function forbiddenFor(a: Attributes, reason = ""): StatusError {
  const user = JSON.stringify(a.user.name);
  const why = reason ? `: ${reason}` : "";
  const r = a.resource;
  if (!r) return forbidden({ resource: "" }, "", `User ${user} cannot ${a.verb} path ${JSON.stringify(a.path)}${why}`);
  const resource = combined(r);
  const where = r.namespace ? `in the namespace ${JSON.stringify(r.namespace)}` : "at the cluster scope";
  return forbidden(
    { group: r.group, resource: r.resource },
    r.name ?? "",
    `User ${user} cannot ${a.verb} resource ${JSON.stringify(resource)} in API group ${JSON.stringify(r.group)} ${where}${why}`,
  );
}
