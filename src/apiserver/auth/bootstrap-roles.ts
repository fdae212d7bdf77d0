// Roles and bindings that every cluster has from the start, as rows
// (k8s.io/kubernetes/plugin/pkg/auth/authorizer/rbac/bootstrappolicy).
import type * as rbac from "../../api/gen/rbac/v1.ts";
import type { KubeObject } from "../../api/object.ts";
import { AUTOUPDATE } from "./reconcile.ts";

type Rule = rbac.PolicyRule;

const GROUP = "rbac.authorization.k8s.io";
const READ = ["get", "list", "watch"];
const WRITE = ["create", "delete", "deletecollection", "patch", "update"];
const ALL = [...READ, ...WRITE];

const rule = (verbs: string[], group: string, ...resources: string[]): Rule => ({ verbs, apiGroups: [group], resources });
const urls = (...nonResourceURLs: string[]): Rule => ({ verbs: ["get"], nonResourceURLs });

const eventWriter: Rule[] = [
  rule(["create", "patch", "update"], "", "events"),
  rule(["create", "patch", "update"], "events.k8s.io", "events"),
];
const leases: Rule[] = [rule([...READ, "create", "update", "patch", "delete"], "coordination.k8s.io", "leases")];

/** What people read in a namespace, secrets apart. */
const viewed: [group: string, ...resources: string[]][] = [
  [
    "",
    "configmaps",
    "endpoints",
    "persistentvolumeclaims",
    "persistentvolumeclaims/status",
    "pods",
    "pods/log",
    "pods/status",
    "replicationcontrollers",
    "replicationcontrollers/scale",
    "replicationcontrollers/status",
    "serviceaccounts",
    "services",
    "services/status",
    "bindings",
    "events",
    "limitranges",
    "namespaces",
    "namespaces/status",
    "resourcequotas",
    "resourcequotas/status",
  ],
  ["discovery.k8s.io", "endpointslices"],
  [
    "apps",
    "controllerrevisions",
    "daemonsets",
    "daemonsets/status",
    "deployments",
    "deployments/scale",
    "deployments/status",
    "replicasets",
    "replicasets/scale",
    "replicasets/status",
    "statefulsets",
    "statefulsets/scale",
    "statefulsets/status",
  ],
  ["autoscaling", "horizontalpodautoscalers", "horizontalpodautoscalers/status"],
  ["batch", "cronjobs", "cronjobs/status", "jobs", "jobs/status"],
  ["policy", "poddisruptionbudgets", "poddisruptionbudgets/status"],
  ["networking.k8s.io", "ingresses", "ingresses/status", "networkpolicies"],
];
const edited: [group: string, ...resources: string[]][] = [
  [
    "",
    "pods",
    "pods/attach",
    "pods/exec",
    "pods/portforward",
    "pods/proxy",
    "pods/eviction",
    "configmaps",
    "endpoints",
    "persistentvolumeclaims",
    "replicationcontrollers",
    "replicationcontrollers/scale",
    "secrets",
    "serviceaccounts",
    "services",
    "services/proxy",
    "events",
  ],
  [
    "apps",
    "daemonsets",
    "deployments",
    "deployments/rollback",
    "deployments/scale",
    "replicasets",
    "replicasets/scale",
    "statefulsets",
    "statefulsets/scale",
  ],
  ["autoscaling", "horizontalpodautoscalers"],
  ["batch", "cronjobs", "jobs"],
  ["policy", "poddisruptionbudgets"],
  ["networking.k8s.io", "ingresses", "networkpolicies"],
  ["coordination.k8s.io", "leases"],
];

const view = viewed.map((row) => rule(READ, ...row));
const edit = [
  ...view,
  ...edited.map((row) => rule(WRITE, ...row)),
  rule(READ, "", "pods/attach", "pods/exec", "pods/portforward", "pods/proxy", "secrets", "services/proxy"),
  rule(READ, "coordination.k8s.io", "leases"),
  rule(["impersonate"], "", "serviceaccounts"),
  rule(["create"], "", "serviceaccounts/token"),
];
const admin = [...edit, rule(["create"], "authorization.k8s.io", "localsubjectaccessreviews"), rule(ALL, GROUP, "roles", "rolebindings")];

const clusterRoles: Record<string, Rule[]> = {
  "cluster-admin": [
    { verbs: ["*"], apiGroups: ["*"], resources: ["*"] },
    { verbs: ["*"], nonResourceURLs: ["*"] },
  ],
  admin,
  edit,
  view,
  "system:discovery": [
    urls("/api", "/api/*", "/apis", "/apis/*", "/healthz", "/livez", "/openapi", "/openapi/*", "/readyz", "/version", "/version/"),
  ],
  "system:basic-user": [
    rule(["create"], "authorization.k8s.io", "selfsubjectaccessreviews", "selfsubjectrulesreviews"),
    rule(["create"], "authentication.k8s.io", "selfsubjectreviews"),
  ],
  "system:public-info-viewer": [urls("/healthz", "/livez", "/readyz", "/version", "/version/")],
  "system:monitoring": [urls("/healthz", "/healthz/*", "/livez", "/livez/*", "/metrics", "/metrics/slis", "/readyz", "/readyz/*")],
  "system:service-account-issuer-discovery": [
    urls("/.well-known/openid-configuration", "/.well-known/openid-configuration/", "/openid/v1/jwks", "/openid/v1/jwks/"),
  ],
  "system:auth-delegator": [
    rule(["create"], "authentication.k8s.io", "tokenreviews"),
    rule(["create"], "authorization.k8s.io", "subjectaccessreviews"),
  ],
  "system:kubelet-api-admin": [
    rule(["proxy", ...READ], "", "nodes"),
    rule(
      ["*"],
      "",
      "nodes/proxy",
      "nodes/metrics",
      "nodes/stats",
      "nodes/log",
      "nodes/spec",
      "nodes/configz",
      "nodes/healthz",
      "nodes/pods",
    ),
  ],
  "system:node": [
    rule(["create"], "authentication.k8s.io", "tokenreviews"),
    rule(["create"], "authorization.k8s.io", "subjectaccessreviews", "localsubjectaccessreviews"),
    rule(READ, "", "services", "configmaps", "secrets", "persistentvolumeclaims", "persistentvolumes", "endpoints"),
    rule([...READ, "create", "update", "patch", "delete"], "", "nodes"),
    rule(["update", "patch"], "", "nodes/status"),
    rule([...READ, "create", "delete"], "", "pods"),
    rule(["update", "patch"], "", "pods/status"),
    rule(["create"], "", "pods/eviction", "serviceaccounts/token"),
    rule(READ, "", "serviceaccounts"),
    rule(READ, "node.k8s.io", "runtimeclasses"),
    rule(READ, "storage.k8s.io", "csidrivers", "volumeattachments"),
    rule([...READ, "create", "update", "patch", "delete"], "storage.k8s.io", "csinodes"),
    rule([...READ, "create"], "certificates.k8s.io", "certificatesigningrequests"),
    ...leases,
    ...eventWriter,
  ],
  "system:node-proxier": [
    rule(["list", "watch"], "", "services", "endpoints"),
    rule(READ, "", "nodes"),
    rule(["list", "watch"], "discovery.k8s.io", "endpointslices"),
    rule(["list", "watch"], "networking.k8s.io", "servicecidrs"),
    ...eventWriter,
  ],
  "system:coredns": [
    rule(["list", "watch"], "", "endpoints", "services", "pods", "namespaces"),
    rule(["list", "watch"], "discovery.k8s.io", "endpointslices"),
  ],
  "system:kube-dns": [rule(["list", "watch"], "", "endpoints", "services")],
  "system:kube-scheduler": [
    rule(READ, "", "nodes", "namespaces", "persistentvolumeclaims", "persistentvolumes", "replicationcontrollers", "services"),
    rule([...READ, "delete"], "", "pods"),
    rule(["create"], "", "bindings", "pods/binding"),
    rule(["patch", "update"], "", "pods/status"),
    rule(READ, "apps", "replicasets", "statefulsets"),
    rule(READ, "policy", "poddisruptionbudgets"),
    rule(READ, "storage.k8s.io", "csinodes", "csidrivers", "csistoragecapacities", "storageclasses", "volumeattachments"),
    rule(READ, "scheduling.k8s.io", "priorityclasses"),
    rule(["create"], "authentication.k8s.io", "tokenreviews"),
    rule(["create"], "authorization.k8s.io", "subjectaccessreviews"),
    ...leases,
    ...eventWriter,
  ],
  // Upstream gives each controller an account of its own; ours share one identity.
  "system:kube-controller-manager": [
    { verbs: READ, apiGroups: ["*"], resources: ["*"] },
    rule(
      [...WRITE],
      "",
      "pods",
      "pods/status",
      "nodes",
      "nodes/status",
      "namespaces",
      "namespaces/finalize",
      "namespaces/status",
      "serviceaccounts",
      "secrets",
      "configmaps",
      "endpoints",
      "replicationcontrollers",
      "replicationcontrollers/status",
      "replicationcontrollers/finalizers",
      "persistentvolumes",
      "persistentvolumeclaims",
      "resourcequotas/status",
      "services/finalizers",
    ),
    rule(["create"], "", "serviceaccounts/token", "pods/eviction"),
    rule([...WRITE], "apps", "*"),
    rule([...WRITE], "batch", "*"),
    rule([...WRITE], "discovery.k8s.io", "endpointslices", "endpointslices/restricted"),
    rule([...WRITE], "policy", "poddisruptionbudgets/status"),
    // The garbage collector and the namespace controller delete what others own, of any kind.
    { verbs: ["delete", "deletecollection", "patch", "update"], apiGroups: ["*"], resources: ["*"] },
    rule(["create"], "authentication.k8s.io", "tokenreviews"),
    rule(["create"], "authorization.k8s.io", "subjectaccessreviews"),
    ...leases,
    ...eventWriter,
  ],
};

const group = (name: string): rbac.Subject => ({ kind: "Group", apiGroup: GROUP, name });
const user = (name: string): rbac.Subject => ({ kind: "User", apiGroup: GROUP, name });

const bindings: [role: string, ...subjects: rbac.Subject[]][] = [
  ["cluster-admin", group("system:masters")],
  ["system:discovery", group("system:authenticated")],
  ["system:basic-user", group("system:authenticated")],
  ["system:public-info-viewer", group("system:authenticated"), group("system:unauthenticated")],
  ["system:monitoring", group("system:monitoring")],
  ["system:service-account-issuer-discovery", group("system:serviceaccounts")],
  ["system:node", group("system:nodes")],
  ["system:node-proxier", user("system:kube-proxy")],
  ["system:coredns", user("system:coredns")],
  ["system:kube-dns", { kind: "ServiceAccount", name: "kube-dns", namespace: "kube-system" }],
  ["system:kube-scheduler", user("system:kube-scheduler")],
  ["system:kube-controller-manager", user("system:kube-controller-manager")],
];

const meta = (name: string) => ({
  name,
  labels: { "kubernetes.io/bootstrapping": "rbac-defaults" },
  annotations: { [AUTOUPDATE]: "true" },
});

/** The objects of the tables above, ready to be created. */
export function bootstrapRbac(): KubeObject[] {
  const roles = Object.entries(clusterRoles).map(([name, rules]) => ({
    apiVersion: `${GROUP}/v1`,
    kind: "ClusterRole",
    metadata: meta(name),
    rules,
  }));
  const bound = bindings.map(([role, ...subjects]) => ({
    apiVersion: `${GROUP}/v1`,
    kind: "ClusterRoleBinding",
    metadata: meta(role),
    roleRef: { apiGroup: GROUP, kind: "ClusterRole", name: role },
    subjects,
  }));
  return [...roles, ...bound];
}
