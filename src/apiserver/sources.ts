// The watch cache as the parts beside the registry ask it.
import type * as rbac from "../api/gen/rbac/v1.ts";
import type { KubeObject } from "../api/object.ts";
import type { AdmissionSource } from "./admission/mod.ts";
import type { EscalationOptions } from "./auth/escalation.ts";
import type { RbacSource } from "./auth/rbac.ts";
import type { ServiceAccountTokenOptions } from "./auth/service-account-tokens.ts";
import { get } from "./registry/read.ts";
import type { Resources } from "./registry/resources.ts";
import { objectKey } from "./storage/keys.ts";

const rbacGroup = "rbac.authorization.k8s.io";

export function rbacSource(resources: Resources): RbacSource {
  const bucket = (plural: string) => resources.need(rbacGroup, "v1", plural).bucket;
  const [clusterRoles, roles, clusterBindings, bindings] = [
    bucket("clusterroles"),
    bucket("roles"),
    bucket("clusterrolebindings"),
    bucket("rolebindings"),
  ];
  return {
    clusterRole: (name) => clusterRoles.get(name)?.object as rbac.ClusterRole | undefined,
    role: (namespace, name) => roles.get(objectKey(namespace, name))?.object as rbac.Role | undefined,
    generation: () => clusterBindings.generation + bindings.generation,
    clusterRoleBindings: () => clusterBindings.all().map((e) => e.object as rbac.ClusterRoleBinding),
    roleBindings: (namespace) => bindings.by("namespace", namespace).map((e) => e.object as rbac.RoleBinding),
  };
}

export function storedRole(resources: Resources): EscalationOptions["role"] {
  return async (resource, namespace, name) =>
    (await get(resources.need(rbacGroup, "v1", resource), namespace, name)).object as rbac.ClusterRole;
}

export function tokenLookup(resources: Resources): ServiceAccountTokenOptions["lookup"] {
  const lookup = (plural: string) => {
    const { bucket } = resources.need("", "v1", plural);
    return (namespace: string, name: string): KubeObject | undefined => bucket.get(objectKey(namespace, name))?.object;
  };
  const nodes = resources.need("", "v1", "nodes").bucket;
  return {
    serviceAccount: lookup("serviceaccounts"),
    pod: lookup("pods"),
    secret: lookup("secrets"),
    node: (name) => nodes.get(name)?.object,
  };
}

export function admissionSource(resources: Resources): AdmissionSource {
  return {
    // What the cache has not seen yet may have been made a moment ago.
    async get(group, resource, namespace, name) {
      const key = objectKey(namespace, name);
      const { storage, bucket } = resources.need(group, "v1", resource);
      return (bucket.get(key) ?? (await storage.get(bucket, key)))?.object;
    },
    list: (group, resource) =>
      resources
        .need(group, "v1", resource)
        .bucket.all()
        .map((e) => e.object),
  };
}
