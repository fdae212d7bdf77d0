// Containers of a pod.
import type * as core from "../gen/core/v1.ts";
import { dns1123Label } from "../names.ts";
import type { Errors } from "./errors.ts";
import { requirements } from "./quantities.ts";
import { volumeMounts } from "./volume.ts";

/** A port's name: IANA_SVC_NAME (RFC 6335). */
function portName(name: string): string[] {
  const errors: string[] = [];
  if (name.length > 15) errors.push("must be no more than 15 characters");
  if (!/^[-a-z0-9]+$/.test(name)) errors.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)");
  if (!/[a-z]/.test(name)) errors.push("must contain at least one letter (a-z)");
  if (name.includes("--")) errors.push("must not contain consecutive hyphens");
  if (name.startsWith("-") || name.endsWith("-")) errors.push("must not begin or end with a hyphen");
  return errors;
}

export function intOrPort(value: number | string | undefined, field: string, errors: Errors): void {
  if (typeof value === "string") errors.names(field, value, portName(value));
  else errors.port(field, value);
}

function ports(list: readonly core.ContainerPort[] | undefined, field: string, errors: Errors): void {
  const names = new Set<string>();
  (list ?? []).forEach((p, i) => {
    const at = `${field}[${i}]`;
    if (p.name) {
      errors.names(`${at}.name`, p.name, portName(p.name));
      if (names.has(p.name)) errors.duplicate(`${at}.name`, p.name);
      names.add(p.name);
    }
    if (!p.containerPort) errors.required(`${at}.containerPort`);
    else errors.port(`${at}.containerPort`, p.containerPort);
    if (p.hostPort) errors.port(`${at}.hostPort`, p.hostPort);
  });
}

function env(list: readonly core.EnvVar[] | undefined, field: string, errors: Errors): void {
  (list ?? []).forEach((e, i) => {
    const at = `${field}[${i}]`;
    if (!e.name) errors.required(`${at}.name`);
    else if (/[=]|[^\x20-\x7e]/.test(e.name))
      errors.invalid(
        `${at}.name`,
        e.name,
        "a valid environment variable name must consist only of printable ASCII characters other than '='",
      );
    const from = e.valueFrom;
    if (!from) return;
    const sources = Object.keys(from);
    if (sources.length === 0)
      errors.invalid(
        `${at}.valueFrom`,
        "",
        "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`",
      );
    if (sources.length > 1) errors.invalid(`${at}.valueFrom`, "", "may not have more than one field specified at a time");
    if (e.value) errors.invalid(`${at}.valueFrom`, "", "may not be specified when `value` is not empty");
    if (from.fieldRef && !from.fieldRef.fieldPath) errors.required(`${at}.valueFrom.fieldRef.fieldPath`);
    for (const key of ["configMapKeyRef", "secretKeyRef"] as const) {
      const ref = from[key];
      if (!ref) continue;
      if (!ref.name) errors.required(`${at}.valueFrom.${key}.name`);
      if (!ref.key) errors.required(`${at}.valueFrom.${key}.key`);
    }
  });
}

type Handler = core.ProbeHandler | core.LifecycleHandler;

function handler(h: Handler, field: string, errors: Errors): void {
  const kinds = (["exec", "httpGet", "tcpSocket", "grpc", "sleep"] as const).filter((k) => (h as Record<string, unknown>)[k] !== undefined);
  if (kinds.length === 0) errors.required(field, "must specify a handler type");
  for (const k of kinds.slice(1)) errors.forbidden(`${field}.${k}`, "may not specify more than 1 handler type");
  if (h.exec && !h.exec.command?.length) errors.required(`${field}.exec.command`);
  if (h.httpGet) intOrPort(h.httpGet.port, `${field}.httpGet.port`, errors);
  if (h.tcpSocket) intOrPort(h.tcpSocket.port, `${field}.tcpSocket.port`, errors);
  const grpc = (h as core.ProbeHandler).grpc;
  if (grpc) errors.port(`${field}.grpc.port`, grpc.port);
}

function probe(p: core.Probe | undefined, field: string, errors: Errors, once: boolean): void {
  if (!p) return;
  handler(p, field, errors);
  for (const key of ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"] as const)
    errors.nonNegative(`${field}.${key}`, p[key]);
  if (once && p.successThreshold !== undefined && p.successThreshold !== 1)
    errors.invalid(`${field}.successThreshold`, p.successThreshold, "must be 1");
  if (p.terminationGracePeriodSeconds !== undefined && p.terminationGracePeriodSeconds <= 0) {
    errors.invalid(`${field}.terminationGracePeriodSeconds`, p.terminationGracePeriodSeconds, "must be greater than 0");
  }
}

function securityContext(s: core.SecurityContext | undefined, field: string, errors: Errors): void {
  if (!s) return;
  errors.nonNegative(`${field}.runAsUser`, s.runAsUser);
  errors.nonNegative(`${field}.runAsGroup`, s.runAsGroup);
  if (s.allowPrivilegeEscalation !== false) return;
  if (s.privileged) errors.invalid(field, s, "cannot set `allowPrivilegeEscalation` to false and `privileged` to true");
  if (s.capabilities?.add?.includes("CAP_SYS_ADMIN"))
    errors.invalid(field, s, "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN");
}

export interface ContainerContext {
  volumes: ReadonlySet<string>;
  /** Names that are taken; each container adds its own. */
  names: Set<string>;
}

export function container(c: core.Container, field: string, context: ContainerContext, errors: Errors): void {
  if (!c.name) errors.required(`${field}.name`);
  else {
    errors.names(`${field}.name`, c.name, dns1123Label(c.name));
    if (context.names.has(c.name)) errors.duplicate(`${field}.name`, c.name);
    context.names.add(c.name);
  }
  if (!c.image) errors.required(`${field}.image`);
  else if (c.image !== c.image.trim()) errors.invalid(`${field}.image`, c.image, "must not have leading or trailing whitespace");
  ports(c.ports, `${field}.ports`, errors);
  env(c.env, `${field}.env`, errors);
  (c.envFrom ?? []).forEach((e, i) => {
    if (!e.configMapRef && !e.secretRef) errors.invalid(`${field}.envFrom[${i}]`, "", "must specify one of: `configMapRef` or `secretRef`");
    for (const key of ["configMapRef", "secretRef"] as const)
      if (e[key] && !e[key].name) errors.required(`${field}.envFrom[${i}].${key}.name`);
  });
  volumeMounts(c.volumeMounts, context.volumes, `${field}.volumeMounts`, errors);
  probe(c.livenessProbe, `${field}.livenessProbe`, errors, true);
  probe(c.readinessProbe, `${field}.readinessProbe`, errors, false);
  probe(c.startupProbe, `${field}.startupProbe`, errors, true);
  if (c.lifecycle?.postStart) handler(c.lifecycle.postStart, `${field}.lifecycle.postStart`, errors);
  if (c.lifecycle?.preStop) handler(c.lifecycle.preStop, `${field}.lifecycle.preStop`, errors);
  requirements(c.resources, `${field}.resources`, errors);
  securityContext(c.securityContext, `${field}.securityContext`, errors);
}
