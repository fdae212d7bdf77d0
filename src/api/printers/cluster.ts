// Rows of the groups that configure a cluster.
import type * as admission from "../gen/admissionregistration/v1.ts";
import type * as apiregistration from "../gen/apiregistration/v1.ts";
import type * as certificates from "../gen/certificates/v1.ts";
import type * as coordination from "../gen/coordination/v1.ts";
import type * as networking from "../gen/networking/v1.ts";
import type * as nodeV1 from "../gen/node/v1.ts";
import type * as rbac from "../gen/rbac/v1.ts";
import type * as scheduling from "../gen/scheduling/v1.ts";
import type * as storage from "../gen/storage/v1.ts";
import { formatLabelSelector } from "../selectors.ts";
import { AGE, age, humanDuration, joined, NAME, name, number, type Printer, text, wide } from "./column.ts";

const CREATED = text("Created At");

export const role: Printer<rbac.Role> = {
  columns: [NAME, CREATED],
  cells: (r) => [name(r), r.metadata.creationTimestamp ?? ""],
};

const subjects = (b: rbac.RoleBinding, kind: string) =>
  (b.subjects ?? [])
    .filter((s) => s.kind === kind)
    .map((s) => (kind === "ServiceAccount" ? `${s.namespace}/${s.name}` : s.name))
    .join(", ");

export const roleBinding: Printer<rbac.RoleBinding> = {
  columns: [NAME, text("Role"), AGE, wide("Users"), wide("Groups"), wide("ServiceAccounts")],
  cells: (b) => [
    name(b),
    `${b.roleRef.kind}/${b.roleRef.name}`,
    age(b),
    subjects(b, "User"),
    subjects(b, "Group"),
    subjects(b, "ServiceAccount"),
  ],
};

export const lease: Printer<coordination.Lease> = {
  columns: [NAME, text("Holder"), AGE],
  cells: (l) => [name(l), l.spec.holderIdentity ?? "", age(l)],
};

export const runtimeClass: Printer<nodeV1.RuntimeClass> = {
  columns: [NAME, text("Handler"), AGE],
  cells: (r) => [name(r), r.handler, age(r)],
};

export const priorityClass: Printer<scheduling.PriorityClass> = {
  columns: [NAME, number("Value"), text("Global-Default"), AGE, text("PreemptionPolicy")],
  cells: (p) => [name(p), p.value, String(p.globalDefault ?? false), age(p), p.preemptionPolicy ?? ""],
};

export const storageClass: Printer<storage.StorageClass> = {
  columns: [NAME, text("Provisioner"), text("ReclaimPolicy"), text("VolumeBindingMode"), text("AllowVolumeExpansion"), AGE],
  cells(c) {
    const isDefault = c.metadata.annotations?.["storageclass.kubernetes.io/is-default-class"] === "true";
    return [
      `${name(c)}${isDefault ? " (default)" : ""}`,
      c.provisioner,
      c.reclaimPolicy ?? "Delete",
      c.volumeBindingMode ?? "<unset>",
      String(c.allowVolumeExpansion ?? false),
      age(c),
    ];
  },
};

export const csiDriver: Printer<storage.CSIDriver> = {
  columns: [
    NAME,
    text("AttachRequired"),
    text("PodInfoOnMount"),
    text("StorageCapacity"),
    text("TokenRequests"),
    text("RequiresRepublish"),
    text("Modes"),
    AGE,
  ],
  cells: (d) => [
    name(d),
    String(d.spec.attachRequired ?? true),
    String(d.spec.podInfoOnMount ?? false),
    String(d.spec.storageCapacity ?? false),
    d.spec.tokenRequests?.map((t) => t.audience).join(",") || "<unset>",
    String(d.spec.requiresRepublish ?? false),
    joined(d.spec.volumeLifecycleModes),
    age(d),
  ],
};

export const csiNode: Printer<storage.CSINode> = {
  columns: [NAME, number("Drivers"), AGE],
  cells: (n) => [name(n), n.spec.drivers?.length ?? 0, age(n)],
};

export const volumeAttachment: Printer<storage.VolumeAttachment> = {
  columns: [NAME, text("Attacher"), text("PV"), text("Node"), text("Attached"), AGE],
  cells: (v) => [
    name(v),
    v.spec.attacher,
    v.spec.source.persistentVolumeName ?? "",
    v.spec.nodeName,
    String(v.status?.attached ?? false),
    age(v),
  ],
};

export const networkPolicy: Printer<networking.NetworkPolicy> = {
  columns: [NAME, text("Pod-Selector"), AGE],
  cells: (p) => [name(p), formatLabelSelector(p.spec.podSelector), age(p)],
};

export const ingress: Printer<networking.Ingress> = {
  columns: [NAME, text("Class"), text("Hosts"), text("Address"), text("Ports"), AGE],
  cells(i) {
    const hosts = [...new Set((i.spec.rules ?? []).map((r) => r.host ?? "").filter(Boolean))];
    const addresses = (i.status?.loadBalancer?.ingress ?? []).map((a) => a.ip || a.hostname || "").filter(Boolean);
    return [
      name(i),
      i.spec.ingressClassName ?? "<none>",
      hosts.length ? hosts.join(",") : "*",
      addresses.join(","),
      i.spec.tls?.length ? "80, 443" : "80",
      age(i),
    ];
  },
};

export const ingressClass: Printer<networking.IngressClass> = {
  columns: [NAME, text("Controller"), text("Parameters"), AGE],
  cells(c) {
    const p = c.spec.parameters;
    return [
      name(c),
      c.spec.controller ?? "",
      p ? `${p.kind.toLowerCase()}${p.apiGroup ? `.${p.apiGroup}` : ""}/${p.name}` : "<none>",
      age(c),
    ];
  },
};

export const ipAddress: Printer<networking.IPAddress> = {
  columns: [NAME, text("ParentRef"), AGE],
  cells(a) {
    const p = a.spec.parentRef;
    return [name(a), p ? [p.resource, p.namespace, p.name].filter(Boolean).join("/") : "", age(a)];
  },
};

export const serviceCidr: Printer<networking.ServiceCIDR> = {
  columns: [NAME, text("CIDRs"), AGE],
  cells: (c) => [name(c), (c.spec.cidrs ?? []).join(","), age(c)],
};

function requestCondition(c: certificates.CertificateSigningRequest): string {
  const words = (c.status?.conditions ?? []).map((x) => x.type);
  if (words.length === 0) return "Pending";
  return c.status?.certificate ? `${words.join(",")},Issued` : words.join(",");
}

export const certificateSigningRequest: Printer<certificates.CertificateSigningRequest> = {
  columns: [NAME, AGE, text("SignerName"), text("Requestor"), text("RequestedDuration"), text("Condition")],
  cells: (c) => [
    name(c),
    age(c),
    c.spec.signerName || "<none>",
    c.spec.username ?? "",
    c.spec.expirationSeconds ? humanDuration(c.spec.expirationSeconds * 1000) : "<none>",
    requestCondition(c),
  ],
};

export const webhooks: Printer<admission.ValidatingWebhookConfiguration> = {
  columns: [NAME, number("Webhooks"), AGE],
  cells: (w) => [name(w), w.webhooks?.length ?? 0, age(w)],
};

export const apiService: Printer<apiregistration.APIService> = {
  columns: [NAME, text("Service"), text("Available"), AGE],
  cells(a) {
    const available = a.status?.conditions?.find((c) => c.type === "Available");
    const status =
      available?.status === "True" ? "True" : `${available?.status ?? "Unknown"}${available?.reason ? ` (${available.reason})` : ""}`;
    return [name(a), a.spec.service ? `${a.spec.service.namespace}/${a.spec.service.name}` : "Local", status, age(a)];
  },
};
