// Defaults of the groups that configure a cluster.
import type * as admission from "../gen/admissionregistration/v1.ts";
import type * as networking from "../gen/networking/v1.ts";
import type * as rbac from "../gen/rbac/v1.ts";
import type * as scheduling from "../gen/scheduling/v1.ts";
import type * as storage from "../gen/storage/v1.ts";

const RBAC = "rbac.authorization.k8s.io";

export function roleBinding(b: rbac.RoleBinding | rbac.ClusterRoleBinding): void {
  if (b.roleRef) b.roleRef.apiGroup ||= RBAC;
  for (const s of b.subjects ?? []) if (s.kind === "User" || s.kind === "Group") s.apiGroup ||= RBAC;
}

export function priorityClass(p: scheduling.PriorityClass): void {
  p.preemptionPolicy ??= "PreemptLowerPriority";
}

export function networkPolicy(p: networking.NetworkPolicy): void {
  const spec = p.spec;
  if (!spec.policyTypes?.length) spec.policyTypes = spec.egress?.length ? ["Ingress", "Egress"] : ["Ingress"];
  for (const rule of [...(spec.ingress ?? []), ...(spec.egress ?? [])]) for (const port of rule.ports ?? []) port.protocol ??= "TCP";
}

export function ingressClass(c: networking.IngressClass): void {
  if (c.spec.parameters) c.spec.parameters.scope ??= "Cluster";
}

export function storageClass(c: storage.StorageClass): void {
  c.reclaimPolicy ??= "Delete";
  c.volumeBindingMode ??= "Immediate";
}

export function csiDriver(d: storage.CSIDriver): void {
  d.spec.attachRequired ??= true;
  d.spec.podInfoOnMount ??= false;
  d.spec.storageCapacity ??= false;
  d.spec.fsGroupPolicy ??= "ReadWriteOnceWithFSType";
  if (!d.spec.volumeLifecycleModes?.length) d.spec.volumeLifecycleModes = ["Persistent"];
  d.spec.requiresRepublish ??= false;
  d.spec.seLinuxMount ??= false;
}

interface Webhook {
  failurePolicy?: string;
  matchPolicy?: string;
  namespaceSelector?: object;
  objectSelector?: object;
  timeoutSeconds?: number;
  clientConfig?: { service?: { port?: number } };
  rules?: admission.RuleWithOperations[];
}

function webhook(w: Webhook): void {
  w.failurePolicy ??= "Fail";
  w.matchPolicy ??= "Equivalent";
  w.namespaceSelector ??= {};
  w.objectSelector ??= {};
  w.timeoutSeconds ??= 10;
  if (w.clientConfig?.service) w.clientConfig.service.port ??= 443;
  for (const r of w.rules ?? []) r.scope ??= "*";
}

export function validatingWebhooks(c: admission.ValidatingWebhookConfiguration): void {
  for (const w of c.webhooks ?? []) webhook(w as Webhook);
}

export function mutatingWebhooks(c: admission.MutatingWebhookConfiguration): void {
  for (const w of c.webhooks ?? []) {
    webhook(w as Webhook);
    w.reinvocationPolicy ??= "Never";
  }
}
