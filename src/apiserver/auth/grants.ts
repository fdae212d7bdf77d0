// Role bindings by whom they name, so that a decision looks at those of one
// user alone, however many there are.
import type * as rbac from "../../api/gen/rbac/v1.ts";
import type { UserInfo } from "../request.ts";

/** One subject of a binding. */
export interface Grant {
  /** The binding's name. */
  binding: string;
  /** Undefined for a ClusterRoleBinding. */
  namespace: string | undefined;
  roleRef: rbac.RoleRef;
  subject: rbac.Subject;
}

interface Binding {
  metadata: { name?: string };
  roleRef: rbac.RoleRef;
  subjects?: readonly rbac.Subject[];
}

const none: readonly Grant[] = [];

function add(to: Map<string, Grant[]>, name: string, grant: Grant): void {
  const list = to.get(name);
  if (list) list.push(grant);
  else to.set(name, [grant]);
}

export class Grants {
  readonly #users = new Map<string, Grant[]>();
  readonly #groups = new Map<string, Grant[]>();

  /** `namespace` is that of the bindings, undefined for those of the cluster. */
  constructor(bindings: Iterable<Binding>, namespace: string | undefined) {
    for (const { metadata, roleRef, subjects } of bindings)
      for (const subject of subjects ?? []) this.#add({ binding: metadata.name ?? "", namespace, roleRef, subject });
  }

  /** What is granted to a user or to a group that it is in. */
  *of(user: UserInfo): Generator<Grant> {
    yield* this.#users.get(user.name) ?? none;
    for (const group of user.groups) yield* this.#groups.get(group) ?? none;
  }

  #add(grant: Grant): void {
    const { subject, namespace } = grant;
    if (subject.kind === "User") add(this.#users, subject.name, grant);
    if (subject.kind === "Group") add(this.#groups, subject.name, grant);
    // An account without a namespace is of the binding's, and without that nobody's.
    const home = subject.namespace || namespace;
    if (subject.kind === "ServiceAccount" && home) add(this.#users, `system:serviceaccount:${home}:${subject.name}`, grant);
  }
}
