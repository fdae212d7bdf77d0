// Kinds that hold data or configure the cluster.
import { deepEqual } from "../equal.ts";
import type * as coordination from "../gen/coordination/v1.ts";
import type * as core from "../gen/core/v1.ts";
import type * as nodeV1 from "../gen/node/v1.ts";
import type * as rbac from "../gen/rbac/v1.ts";
import type * as scheduling from "../gen/scheduling/v1.ts";
import type * as storage from "../gen/storage/v1.ts";
import { dns1123Label } from "../names.ts";
import { type Errors, IMMUTABLE, type Validator } from "./errors.ts";
import { nodeResources } from "./quantities.ts";

const RBAC = "rbac.authorization.k8s.io";
const MAX_DATA = 1024 * 1024;
const KEY =
  "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";

function dataKey(key: string, field: string, errors: Errors): void {
  if (key.length > 253) errors.invalid(field, key, "must be no more than 253 characters");
  if (!/^[-._a-zA-Z0-9]+$/.test(key)) errors.invalid(field, key, KEY);
  else if (key === ".") errors.invalid(field, key, "must not be '.'");
  else if (key.startsWith("..")) errors.invalid(field, key, "must not start with '..'");
}

/** Base64 holds three bytes in four characters. */
const decodedSize = (base64: string) => (base64.length / 4) * 3;

/** `fields` may not change once `immutable` is set, and it can't be taken back. */
function sealed<T extends { immutable?: boolean }>(
  object: T,
  old: T | undefined,
  fields: readonly (keyof T & string)[],
  errors: Errors,
): void {
  if (!old?.immutable) return;
  if (!object.immutable) errors.forbidden("immutable", "field is immutable when `immutable` is set");
  for (const f of fields) if (!deepEqual(object[f], old[f])) errors.forbidden(f, "field is immutable when `immutable` is set");
}

export const configMap: Validator<core.ConfigMap> = (c, errors, old) => {
  let size = 0;
  for (const [key, value] of Object.entries(c.data ?? {})) {
    dataKey(key, `data[${key}]`, errors);
    if (c.binaryData && key in c.binaryData) errors.invalid(`data[${key}]`, key, "duplicate of key present in binaryData");
    size += Buffer.byteLength(value);
  }
  for (const [key, value] of Object.entries(c.binaryData ?? {})) {
    dataKey(key, `binaryData[${key}]`, errors);
    size += decodedSize(value);
  }
  if (size > MAX_DATA) errors.tooLong("", MAX_DATA);
  sealed(c, old, ["data", "binaryData"], errors);
};

/** Keys that a secret of a type has to have. */
const secretKeys: Record<string, string[]> = {
  "kubernetes.io/dockercfg": [".dockercfg"],
  "kubernetes.io/dockerconfigjson": [".dockerconfigjson"],
  "kubernetes.io/ssh-auth": ["ssh-privatekey"],
  "kubernetes.io/tls": ["tls.crt", "tls.key"],
};

export const secret: Validator<core.Secret> = (s, errors, old) => {
  let size = 0;
  for (const [key, value] of Object.entries(s.data ?? {})) {
    dataKey(key, `data[${key}]`, errors);
    size += decodedSize(value);
  }
  if (size > MAX_DATA) errors.tooLong("data", MAX_DATA);
  for (const key of secretKeys[s.type ?? ""] ?? []) if (s.data?.[key] === undefined) errors.required(`data[${key}]`);
  if (old && s.type !== old.type) errors.invalid("type", s.type, IMMUTABLE);
  sealed(s, old, ["data"], errors);
};

export const node: Validator<core.Node> = (n, errors, old) => {
  (n.spec.taints ?? []).forEach((t, i) => {
    if (!t.key) errors.required(`spec.taints[${i}].key`);
    if (!t.effect) errors.required(`spec.taints[${i}].effect`);
  });
  nodeResources(n.status?.capacity, "status.capacity", errors);
  nodeResources(n.status?.allocatable, "status.allocatable", errors);
  if (old?.spec.podCIDR && n.spec.podCIDR !== old.spec.podCIDR)
    errors.forbidden("spec.podCIDRs", 'node updates may not change podCIDR except from "" to valid');
  if (old?.spec.providerID && n.spec.providerID !== old.spec.providerID)
    errors.forbidden("spec.providerID", 'node updates may not change providerID except from "" to valid');
};

export const lease: Validator<coordination.Lease> = (l, errors) => {
  const seconds = l.spec.leaseDurationSeconds;
  if (seconds !== undefined && seconds <= 0) errors.invalid("spec.leaseDurationSeconds", seconds, "must be greater than 0");
  errors.nonNegative("spec.leaseTransitions", l.spec.leaseTransitions);
};

export const runtimeClass: Validator<nodeV1.RuntimeClass> = (r, errors, old) => {
  if (!r.handler) errors.required("handler");
  else errors.names("handler", r.handler, dns1123Label(r.handler));
  if (old && r.handler !== old.handler) errors.invalid("handler", r.handler, IMMUTABLE);
};

export const priorityClass: Validator<scheduling.PriorityClass> = (p, errors, old) => {
  const system = p.metadata.name?.startsWith("system-");
  if (!system && p.value > 1_000_000_000) errors.forbidden("value", "maximum allowed value of a user defined priority is 1000000000");
  if (system && !["system-node-critical", "system-cluster-critical"].includes(p.metadata.name!)) {
    errors.forbidden(
      "metadata.name",
      "priority class names with 'system-' prefix are reserved for system use only. error: not a known system priority class",
    );
  }
  if (old && p.value !== old.value) errors.forbidden("value", "may not be changed in an update.");
};

function rules(list: readonly rbac.PolicyRule[] | null | undefined, errors: Errors, namespaced: boolean): void {
  (list ?? []).forEach((r, i) => {
    const at = `rules[${i}]`;
    if (!r.verbs?.length) errors.required(`${at}.verbs`, "verbs must contain at least one value");
    if (r.nonResourceURLs?.length) {
      if (namespaced) errors.invalid(`${at}.nonResourceURLs`, r.nonResourceURLs, "namespaced rules cannot apply to non-resource URLs");
      if (r.apiGroups?.length || r.resources?.length)
        errors.invalid(`${at}.nonResourceURLs`, r.nonResourceURLs, "rules cannot apply to both regular resources and non-resource URLs");
      return;
    }
    if (!r.apiGroups?.length) errors.required(`${at}.apiGroups`, "resource rules must supply at least one api group");
    if (!r.resources?.length) errors.required(`${at}.resources`, "resource rules must supply at least one resource");
  });
}

export const role: Validator<rbac.Role> = (r, errors) => rules(r.rules, errors, true);
export const clusterRole: Validator<rbac.ClusterRole> = (r, errors) => rules(r.rules, errors, false);

function subject(s: rbac.Subject, at: string, errors: Errors, namespaced: boolean): void {
  if (!s.name) errors.required(`${at}.name`);
  switch (s.kind) {
    case "ServiceAccount":
      if (s.apiGroup) errors.notSupported(`${at}.apiGroup`, s.apiGroup, [""]);
      if (!namespaced && !s.namespace) errors.required(`${at}.namespace`);
      break;
    case "User":
    case "Group":
      if (s.apiGroup !== RBAC) errors.notSupported(`${at}.apiGroup`, s.apiGroup, [RBAC]);
      break;
    default:
      errors.notSupported(`${at}.kind`, s.kind, ["ServiceAccount", "User", "Group"]);
  }
}

/** `kinds` are the roles that it may refer to: authorization and the check of escalations know them by kind and group. */
const binding =
  (namespaced: boolean, ...kinds: string[]): Validator<rbac.RoleBinding> =>
  (b, errors, old) => {
    if (!b.roleRef?.name) errors.required("roleRef.name");
    if (b.roleRef && b.roleRef.apiGroup !== RBAC) errors.notSupported("roleRef.apiGroup", b.roleRef.apiGroup, [RBAC]);
    if (b.roleRef && !kinds.includes(b.roleRef.kind)) errors.notSupported("roleRef.kind", b.roleRef.kind, kinds);
    if (old && !deepEqual(b.roleRef, old.roleRef)) errors.invalid("roleRef", b.roleRef, "cannot change roleRef");
    (b.subjects ?? []).forEach((s, i) => {
      subject(s, `subjects[${i}]`, errors, namespaced);
    });
  };

export const roleBinding = binding(true, "ClusterRole", "Role");
export const clusterRoleBinding = binding(false, "ClusterRole");

export const storageClass: Validator<storage.StorageClass> = (c, errors, old) => {
  if (!c.provisioner) errors.required("provisioner");
  if (!old) return;
  for (const key of ["parameters", "provisioner", "reclaimPolicy", "volumeBindingMode"] as const) {
    if (!deepEqual(c[key], old[key])) errors.forbidden(key, `updates to ${key} are forbidden.`);
  }
};
