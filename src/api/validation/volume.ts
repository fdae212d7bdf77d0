// Volumes of a pod, and where containers mount them.
import type * as core from "../gen/core/v1.ts";
import { dns1123Label } from "../names.ts";
import type { Errors } from "./errors.ts";

/** A path that stays inside of the volume. */
function relativePath(path: string, field: string, errors: Errors): void {
  if (path.startsWith("/")) errors.invalid(field, path, "must be a relative path");
  if (path.split("/").includes("..")) errors.invalid(field, path, "must not contain '..'");
}

function mode(value: number | undefined, field: string, errors: Errors): void {
  if (value !== undefined && (value < 0 || value > 0o777))
    errors.invalid(field, value, "must be a number between 0 and 0777 (octal), both inclusive");
}

function items(list: readonly core.KeyToPath[] | undefined, field: string, errors: Errors): void {
  (list ?? []).forEach((item, i) => {
    if (!item.key) errors.required(`${field}[${i}].key`);
    if (!item.path) errors.required(`${field}[${i}].path`);
    else relativePath(item.path, `${field}[${i}].path`, errors);
    mode(item.mode, `${field}[${i}].mode`, errors);
  });
}

function projected(source: core.ProjectedVolumeSource, field: string, errors: Errors): void {
  mode(source.defaultMode, `${field}.defaultMode`, errors);
  (source.sources ?? []).forEach((s, i) => {
    const at = `${field}.sources[${i}]`;
    const kinds = Object.keys(s);
    if (kinds.length > 1) errors.forbidden(at, "may not specify more than 1 volume type");
    if (kinds.length === 0) errors.required(at, "must specify at least one volume type");
    if (s.serviceAccountToken) {
      const seconds = s.serviceAccountToken.expirationSeconds;
      if (seconds !== undefined && seconds < 600)
        errors.invalid(`${at}.serviceAccountToken.expirationSeconds`, seconds, "may not specify a duration less than 10 minutes");
      if (!s.serviceAccountToken.path) errors.required(`${at}.serviceAccountToken.path`);
      else relativePath(s.serviceAccountToken.path, `${at}.serviceAccountToken.path`, errors);
    }
    if (s.configMap && !s.configMap.name) errors.required(`${at}.configMap.name`);
    if (s.secret && !s.secret.name) errors.required(`${at}.secret.name`);
    items(s.configMap?.items, `${at}.configMap.items`, errors);
    items(s.secret?.items, `${at}.secret.items`, errors);
  });
}

/** Checks the volumes; returns their names. */
export function volumes(list: readonly core.Volume[] | undefined, field: string, errors: Errors): Set<string> {
  const names = new Set<string>();
  (list ?? []).forEach((v, i) => {
    const at = `${field}[${i}]`;
    if (!v.name) errors.required(`${at}.name`);
    else {
      errors.names(`${at}.name`, v.name, dns1123Label(v.name));
      if (names.has(v.name)) errors.duplicate(`${at}.name`, v.name);
      names.add(v.name);
    }
    const [first, ...others] = Object.keys(v).filter((k) => k !== "name");
    if (first === undefined) errors.required(at, "must specify a volume type");
    for (const other of others) errors.forbidden(`${at}.${other}`, "may not specify more than 1 volume type");
    if (v.hostPath && !v.hostPath.path) errors.required(`${at}.hostPath.path`);
    if (v.hostPath?.path?.split("/").includes("..")) errors.invalid(`${at}.hostPath.path`, v.hostPath.path, "must not contain '..'");
    if (v.configMap) {
      if (!v.configMap.name) errors.required(`${at}.configMap.name`);
      mode(v.configMap.defaultMode, `${at}.configMap.defaultMode`, errors);
      items(v.configMap.items, `${at}.configMap.items`, errors);
    }
    if (v.secret) {
      if (!v.secret.secretName) errors.required(`${at}.secret.secretName`);
      mode(v.secret.defaultMode, `${at}.secret.defaultMode`, errors);
      items(v.secret.items, `${at}.secret.items`, errors);
    }
    if (v.persistentVolumeClaim && !v.persistentVolumeClaim.claimName) errors.required(`${at}.persistentVolumeClaim.claimName`);
    if (v.projected) projected(v.projected, `${at}.projected`, errors);
  });
  return names;
}

export function volumeMounts(
  list: readonly core.VolumeMount[] | undefined,
  known: ReadonlySet<string>,
  field: string,
  errors: Errors,
): void {
  const paths = new Set<string>();
  (list ?? []).forEach((m, i) => {
    const at = `${field}[${i}]`;
    if (!m.name) errors.required(`${at}.name`);
    else if (!known.has(m.name)) errors.notFound(`${at}.name`, m.name);
    if (!m.mountPath) errors.required(`${at}.mountPath`);
    else if (paths.has(m.mountPath)) errors.invalid(`${at}.mountPath`, m.mountPath, "must be unique");
    paths.add(m.mountPath);
    if (m.subPath && m.subPathExpr) errors.invalid(`${at}.subPathExpr`, m.subPathExpr, "subPathExpr and subPath are mutually exclusive");
    for (const key of ["subPath", "subPathExpr"] as const) if (m[key]) relativePath(m[key], `${at}.${key}`, errors);
  });
}
