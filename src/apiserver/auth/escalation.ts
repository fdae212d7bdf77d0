// Nobody hands out by a role or a binding what he does not hold himself
// (pkg/registry/rbac/{role,clusterrole,rolebinding,clusterrolebinding}/policybased):
// the right to write these objects would otherwise be the right to everything.
import { deepEqual } from "../../api/equal.ts";
import type * as rbac from "../../api/gen/rbac/v1.ts";
import { badRequest, forbidden, unknown } from "../../api/status.ts";
import type { Guard, GuardedWrite } from "../registry/registry.ts";
import type { Stored } from "../registry/strategy.ts";
import type { Attributes, UserInfo } from "../request.ts";
import { uncovered } from "./covers.ts";
import { MASTERS } from "./rbac.ts";
import { quoted, ruleLines } from "./rule-text.ts";

const group = "rbac.authorization.k8s.io";
const fullAuthority: readonly rbac.PolicyRule[] = [
  { verbs: ["*"], apiGroups: ["*"], resources: ["*"] },
  { verbs: ["*"], nonResourceURLs: ["*"] },
];

export interface EscalationOptions {
  /** Whether the server's authorizer allows it, so that without RBAC nobody is refused. */
  allowed(attributes: Attributes): boolean;
  /** What a user holds in a namespace, or in the whole cluster. */
  held(user: UserInfo, namespace: string | undefined): readonly rbac.PolicyRule[];
  /** A stored role, as fresh as a GET is. Throws 404, and what the store throws. */
  role(resource: "roles" | "clusterroles", namespace: string | undefined, name: string): Promise<Pick<rbac.ClusterRole, "rules">>;
}

/** What the garbage collector changes of metadata, and what follows from any change. */
const collected = {
  ownerReferences: undefined,
  finalizers: undefined,
  managedFields: undefined,
  selfLink: undefined,
  resourceVersion: undefined,
};
const uncollected = (o: Stored) => ({ ...o, metadata: { ...o.metadata, ...collected } });

/** Whether the write only lets the garbage collector go on with the object, which grants nothing. */
const onlyCollects = (object: Stored, old: Stored): boolean => deepEqual(uncollected(object), uncollected(old));

const roleResources: ReadonlyMap<string, string> = new Map([
  ["Role", "roles"],
  ["ClusterRole", "clusterroles"],
]);

const aggregates = (role: Stored | undefined) => (role as rbac.ClusterRole | undefined)?.aggregationRule?.clusterRoleSelectors?.length;

/** The guards of roles and bindings, by "group/plural". */
export function escalationGuards({ allowed, held, role }: EscalationOptions): Map<string, Guard> {
  const may = (user: UserInfo, verb: string, on: { group: string; resource: string; name?: string; namespace?: string }) =>
    allowed({ user, verb, path: "", resource: { version: "*", ...on } });

  const missing = ({ context, object }: GuardedWrite, rules: readonly rbac.PolicyRule[]) =>
    uncovered(held(context.user, object.metadata.namespace), rules);

  /** Throws 403 with what the user lacks. */
  function confirm(resource: string, write: GuardedWrite, rules: readonly rbac.PolicyRule[]): void {
    const lacks = missing(write, rules);
    if (!lacks.length) return;
    const { name, groups } = write.context.user;
    const who = `user ${JSON.stringify(name)} (groups=${quoted(groups)})`;
    const why = `${who} is attempting to grant RBAC permissions not currently held:\n${ruleLines(lacks)}`;
    throw forbidden({ group, resource }, write.object.metadata.name ?? "", why);
  }

  const guarded =
    (check: Guard): Guard =>
    (write) => {
      if (write.context.user.groups.includes(MASTERS) || (write.old && onlyCollects(write.object, write.old))) return;
      return check(write);
    };

  const ofRoles = (resource: string) =>
    guarded((write) => {
      const { context, object, old, name } = write;
      const { namespace } = object.metadata;
      if (may(context.user, "escalate", { group, resource, ...(name ? { name } : {}), ...(namespace ? { namespace } : {}) })) return;
      confirm(resource, write, (object as rbac.Role).rules ?? []);
      // It may gather any rules, and taking it away may keep rules that were to go.
      if ((aggregates(object) || aggregates(old)) && missing(write, fullAuthority).length)
        throw forbidden({ group, resource }, object.metadata.name ?? "", "must have cluster-admin privileges to use the aggregationRule");
    });

  async function referenced({ kind, name }: rbac.RoleRef, namespace: string | undefined): Promise<readonly rbac.PolicyRule[]> {
    if (kind === "ClusterRole") return (await role("clusterroles", undefined, name)).rules ?? [];
    if (kind !== "Role") throw unknown(`unsupported role reference kind: ${JSON.stringify(kind)}`);
    if (!namespace) throw badRequest("Namespace parameter required.");
    return (await role("roles", namespace, name)).rules ?? [];
  }

  const ofBindings = (resource: string) =>
    guarded(async (write) => {
      const { namespace } = write.object.metadata;
      const ref: rbac.RoleRef = { apiGroup: "", kind: "", name: "", ...(write.object as Partial<rbac.RoleBinding>).roleRef };
      const bound = roleResources.get(ref.kind);
      const on = { group: ref.apiGroup, name: ref.name, ...(namespace ? { namespace } : {}) };
      if (bound && may(write.context.user, "bind", { ...on, resource: bound })) return;
      confirm(resource, write, await referenced(ref, namespace));
    });

  return new Map([
    ...["roles", "clusterroles"].map((r) => [`${group}/${r}`, ofRoles(r)] as const),
    ...["rolebindings", "clusterrolebindings"].map((r) => [`${group}/${r}`, ofBindings(r)] as const),
  ]);
}
