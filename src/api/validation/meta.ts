// What holds for the metadata of every object (k8s.io/apimachinery/pkg/api/validation).
import type * as metaV1 from "../gen/meta/v1.ts";
import { dns1035Label, dns1123Label, dns1123Subdomain, labelValue, qualifiedName } from "../names.ts";
import type { KindInfo } from "../schema.ts";
import type { Errors } from "./errors.ts";

/** Names that stand in paths of the API: RBAC allows all the rest. */
function pathSegment(name: string): string[] {
  if (name === "." || name === "..") return [`may not be '${name}'`];
  return ["/", "%"].filter((c) => name.includes(c)).map((c) => `may not contain '${c}'`);
}

const address = (name: string): string[] => (/^[0-9a-f:.]+$/.test(name) ? [] : ["must be a valid IP address"]);

/** By "group/Kind"; every other kind has DNS subdomains as names. */
const nameRules: Record<string, (name: string) => string[]> = {
  "/Namespace": dns1123Label,
  "/Service": dns1035Label,
  "rbac.authorization.k8s.io/Role": pathSegment,
  "rbac.authorization.k8s.io/ClusterRole": pathSegment,
  "rbac.authorization.k8s.io/RoleBinding": pathSegment,
  "rbac.authorization.k8s.io/ClusterRoleBinding": pathSegment,
  "apiregistration.k8s.io/APIService": pathSegment,
  "certificates.k8s.io/CertificateSigningRequest": dns1123Subdomain,
  "networking.k8s.io/IPAddress": address,
};

const ANNOTATION_BYTES = 256 * 1024;

export function labels(map: Record<string, string> | undefined, field: string, errors: Errors): void {
  for (const [key, value] of Object.entries(map ?? {})) {
    errors.names(field, key, qualifiedName(key));
    errors.names(field, value, labelValue(value));
  }
}

function annotations(map: Record<string, string> | undefined, field: string, errors: Errors): void {
  let size = 0;
  for (const [key, value] of Object.entries(map ?? {})) {
    errors.names(field, key, qualifiedName(key.toLowerCase()));
    size += key.length + value.length;
  }
  if (size > ANNOTATION_BYTES) errors.tooLong(field, ANNOTATION_BYTES);
}

function ownerReferences(refs: readonly metaV1.OwnerReference[] | undefined, errors: Errors): void {
  const controllers = (refs ?? []).filter((r) => r.controller);
  (refs ?? []).forEach((r, i) => {
    const at = `metadata.ownerReferences[${i}]`;
    if (!r.apiVersion) errors.invalid(`${at}.apiVersion`, r.apiVersion ?? "", "version must not be empty");
    if (!r.kind) errors.invalid(`${at}.kind`, r.kind ?? "", "must not be empty");
    if (!r.name) errors.invalid(`${at}.name`, r.name ?? "", "must not be empty");
    if (!r.uid) errors.invalid(`${at}.uid`, r.uid ?? "", "must not be empty");
  });
  if (controllers.length > 1) {
    errors.invalid(
      "metadata.ownerReferences",
      refs,
      `Only one reference can have Controller set to true. Found "true" in references for ${controllers[0]!.kind}/${controllers[0]!.name} and ${controllers[1]!.kind}/${controllers[1]!.name}`,
    );
  }
}

/** Checks the metadata of an object about to be stored. */
export function objectMeta(kind: Pick<KindInfo, "group" | "kind" | "namespaced">, meta: metaV1.ObjectMeta, errors: Errors): void {
  const rule = nameRules[`${kind.group}/${kind.kind}`] ?? dns1123Subdomain;
  if (meta.generateName) {
    const prefix = meta.generateName.endsWith("-") ? meta.generateName.replace(/-+$/, "a") : meta.generateName;
    errors.names("metadata.generateName", meta.generateName, rule(prefix));
  }
  if (!meta.name) errors.required("metadata.name", "name or generateName is required");
  else errors.names("metadata.name", meta.name, rule(meta.name));
  if (kind.namespaced) {
    if (!meta.namespace) errors.required("metadata.namespace");
    else errors.names("metadata.namespace", meta.namespace, dns1123Label(meta.namespace));
  } else if (meta.namespace) {
    errors.forbidden("metadata.namespace", "not allowed on this type");
  }
  errors.nonNegative("metadata.generation", meta.generation);
  labels(meta.labels, "metadata.labels", errors);
  annotations(meta.annotations, "metadata.annotations", errors);
  ownerReferences(meta.ownerReferences, errors);
  (meta.finalizers ?? []).forEach((f) => {
    errors.names("metadata.finalizers", f, qualifiedName(f));
    if (!f.includes("/") && !["orphan", "foregroundDeletion", "kubernetes"].includes(f)) {
      errors.invalid("metadata.finalizers", f, "name is neither a standard finalizer name nor is it fully qualified");
    }
  });
}

/** Checks what an update may not change. */
export function objectMetaUpdate(meta: metaV1.ObjectMeta, old: metaV1.ObjectMeta, errors: Errors): void {
  for (const key of ["name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"] as const) {
    if (meta[key] !== old[key] && !(key.startsWith("deletion") && old[key] === undefined)) {
      errors.invalid(`metadata.${key}`, meta[key], "field is immutable");
    }
  }
  if (old.deletionTimestamp && (meta.finalizers ?? []).some((f) => !(old.finalizers ?? []).includes(f))) {
    const added = (meta.finalizers ?? []).filter((f) => !(old.finalizers ?? []).includes(f));
    errors.forbidden(
      "metadata.finalizers",
      `no new finalizers can be added if the object is being deleted, found new finalizers []string{${added.map((f) => JSON.stringify(f)).join(", ")}}`,
    );
  }
}

export function labelSelector(selector: metaV1.LabelSelector | undefined, field: string, errors: Errors): void {
  if (!selector) return;
  for (const [key, value] of Object.entries(selector.matchLabels ?? {})) {
    errors.names(`${field}.matchLabels`, key, qualifiedName(key));
    errors.names(`${field}.matchLabels`, value, labelValue(value));
  }
  (selector.matchExpressions ?? []).forEach((e, i) => {
    const at = `${field}.matchExpressions[${i}]`;
    const many = e.operator === "In" || e.operator === "NotIn";
    if (many && !e.values?.length) errors.required(`${at}.values`, "must be specified when `operator` is 'In' or 'NotIn'");
    if (!many && e.values?.length) errors.forbidden(`${at}.values`, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
    if (!["In", "NotIn", "Exists", "DoesNotExist"].includes(e.operator))
      errors.invalid(`${at}.operator`, e.operator, "not a valid selector operator");
    errors.names(`${at}.key`, e.key, qualifiedName(e.key));
    (e.values ?? []).forEach((v, j) => errors.names(`${at}.values[${j}]`, v, labelValue(v)));
  });
}
