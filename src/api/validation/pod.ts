// Pods and pod templates (k8s.io/kubernetes/pkg/apis/core/validation).
import { deepEqual } from "../equal.ts";
import type * as core from "../gen/core/v1.ts";
import { dns1123Label, dns1123Subdomain, labelValue, qualifiedName } from "../names.ts";
import { type ContainerContext, container } from "./container.ts";
import type { Errors, Validator } from "./errors.ts";
import { labelSelector, labels } from "./meta.ts";
import { volumes } from "./volume.ts";

function tolerations(list: readonly core.Toleration[] | undefined, field: string, errors: Errors): void {
  (list ?? []).forEach((t, i) => {
    const at = `${field}[${i}]`;
    if (t.key) errors.names(`${at}.key`, t.key, qualifiedName(t.key));
    if (!t.key && t.operator !== "Exists")
      errors.invalid(
        `${at}.operator`,
        t.operator ?? "",
        'operator must be Exists when `key` is empty, which means "match all values and all keys"',
      );
    if (t.operator === "Exists" && t.value) errors.invalid(`${at}.operator`, t, "value must be empty when `operator` is 'Exists'");
    if (t.operator !== "Exists") errors.names(`${at}.value`, t.value ?? "", labelValue(t.value ?? ""));
    if (t.tolerationSeconds !== undefined && t.effect !== "NoExecute")
      errors.invalid(`${at}.effect`, t.effect ?? "", "effect must be 'NoExecute' when `tolerationSeconds` is set");
  });
}

function affinity(a: core.Affinity | undefined, field: string, errors: Errors): void {
  const required = a?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution;
  if (required) {
    const at = `${field}.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms`;
    if (!required.nodeSelectorTerms?.length) errors.required(at, "must have at least one node selector term");
    (required.nodeSelectorTerms ?? []).forEach((term, i) => {
      (term.matchExpressions ?? []).forEach((e, j) => {
        const where = `${at}[${i}].matchExpressions[${j}]`;
        const many = e.operator === "In" || e.operator === "NotIn";
        if (many && !e.values?.length) errors.required(`${where}.values`, "must be specified when `operator` is 'In' or 'NotIn'");
        if ((e.operator === "Exists" || e.operator === "DoesNotExist") && e.values?.length)
          errors.forbidden(`${where}.values`, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
        if ((e.operator === "Gt" || e.operator === "Lt") && e.values?.length !== 1)
          errors.required(`${where}.values`, "must be specified single value when `operator` is 'Lt' or 'Gt'");
        errors.names(`${where}.key`, e.key, qualifiedName(e.key));
      });
    });
  }
  for (const kind of ["podAffinity", "podAntiAffinity"] as const) {
    (a?.[kind]?.requiredDuringSchedulingIgnoredDuringExecution ?? []).forEach((term, i) => {
      const at = `${field}.${kind}.requiredDuringSchedulingIgnoredDuringExecution[${i}]`;
      if (!term.topologyKey) errors.required(`${at}.topologyKey`, "can not be empty");
      labelSelector(term.labelSelector, `${at}.labelSelector`, errors);
    });
  }
}

function spread(list: readonly core.TopologySpreadConstraint[] | undefined, field: string, errors: Errors): void {
  (list ?? []).forEach((c, i) => {
    if (c.maxSkew <= 0) errors.invalid(`${field}[${i}].maxSkew`, c.maxSkew, "must be greater than zero");
    if (!c.topologyKey) errors.required(`${field}[${i}].topologyKey`, "can not be empty");
    labelSelector(c.labelSelector, `${field}[${i}].labelSelector`, errors);
  });
}

export function podSpec(spec: core.PodSpec, field: string, errors: Errors): void {
  const context: ContainerContext = { volumes: volumes(spec.volumes, `${field}.volumes`, errors), names: new Set() };
  if (!spec.containers?.length) errors.required(`${field}.containers`);
  (spec.containers ?? []).forEach((c, i) => container(c, `${field}.containers[${i}]`, context, errors));
  (spec.initContainers ?? []).forEach((c, i) => {
    const at = `${field}.initContainers[${i}]`;
    container(c, at, context, errors);
    if (c.restartPolicy === "Always") return;
    // Only those that keep running beside the others can be probed or hooked.
    for (const key of ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] as const) {
      if (c[key]) errors.forbidden(`${at}.${key}`, "may not be set for init containers without restartPolicy=Always");
    }
  });
  if (spec.nodeSelector) labels(spec.nodeSelector, `${field}.nodeSelector`, errors);
  if (spec.serviceAccountName)
    errors.names(`${field}.serviceAccountName`, spec.serviceAccountName, dns1123Subdomain(spec.serviceAccountName));
  if (spec.nodeName) errors.names(`${field}.nodeName`, spec.nodeName, dns1123Subdomain(spec.nodeName));
  if (spec.hostname) errors.names(`${field}.hostname`, spec.hostname, dns1123Label(spec.hostname));
  if (spec.subdomain) errors.names(`${field}.subdomain`, spec.subdomain, dns1123Label(spec.subdomain));
  if (spec.runtimeClassName) errors.names(`${field}.runtimeClassName`, spec.runtimeClassName, dns1123Subdomain(spec.runtimeClassName));
  if (spec.activeDeadlineSeconds !== undefined && (spec.activeDeadlineSeconds < 1 || spec.activeDeadlineSeconds > 2 ** 31 - 1)) {
    errors.invalid(`${field}.activeDeadlineSeconds`, spec.activeDeadlineSeconds, "must be between 1 and 2147483647, inclusive");
  }
  if (spec.dnsPolicy === "None" && !spec.dnsConfig?.nameservers?.length) {
    errors.required(`${field}.dnsConfig.nameservers`, "must provide at least one DNS nameserver when `dnsPolicy` is None");
  }
  (spec.hostAliases ?? []).forEach((a, i) => {
    if (!/^[0-9a-fA-F:.]+$/.test(a.ip))
      errors.invalid(`${field}.hostAliases[${i}].ip`, a.ip, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)");
  });
  tolerations(spec.tolerations, `${field}.tolerations`, errors);
  affinity(spec.affinity, `${field}.affinity`, errors);
  spread(spec.topologySpreadConstraints, `${field}.topologySpreadConstraints`, errors);
}

const MUTABLE =
  "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

/** A spec with the fields taken out that an update may change. */
function fixedPart(spec: core.PodSpec): unknown {
  const { activeDeadlineSeconds: _, tolerations: __, terminationGracePeriodSeconds: ___, schedulingGates: ____, ...rest } = spec;
  const images = (list: readonly core.Container[] | undefined) => list?.map(({ image: _image, ...c }) => c);
  return { ...rest, containers: images(spec.containers), initContainers: images(spec.initContainers) };
}

function podUpdate(pod: core.Pod, old: core.Pod, errors: Errors): void {
  if ((pod.spec.containers?.length ?? 0) !== (old.spec.containers?.length ?? 0)) {
    errors.forbidden("spec.containers", "pod updates may not add or remove containers");
    return;
  }
  const gated = (old.spec.schedulingGates?.length ?? 0) > 0;
  const relaxed = (s: core.PodSpec) => (gated ? { ...s, nodeSelector: undefined, affinity: undefined } : s);
  if (!deepEqual(fixedPart(relaxed(pod.spec)), fixedPart(relaxed(old.spec)))) errors.forbidden("spec", MUTABLE);
  for (const t of old.spec.tolerations ?? []) {
    const { tolerationSeconds: _, ...key } = t;
    if (!(pod.spec.tolerations ?? []).some(({ tolerationSeconds: __, ...k }) => deepEqual(k, key))) {
      errors.forbidden("spec.tolerations", "existing toleration can not be modified except its tolerationSeconds");
      break;
    }
  }
  const [deadline, before] = [pod.spec.activeDeadlineSeconds, old.spec.activeDeadlineSeconds];
  if (before !== undefined && (deadline === undefined || deadline > before)) {
    errors.invalid("spec.activeDeadlineSeconds", deadline, "must be less than or equal to previous value");
  }
  if (
    pod.spec.terminationGracePeriodSeconds !== old.spec.terminationGracePeriodSeconds &&
    (old.spec.terminationGracePeriodSeconds ?? 0) >= 0
  ) {
    errors.forbidden("spec", MUTABLE);
  }
  if (!(pod.spec.schedulingGates ?? []).every((g) => (old.spec.schedulingGates ?? []).some((o) => o.name === g.name))) {
    errors.forbidden("spec.schedulingGates", "only deletion is allowed, but found new scheduling gate");
  }
}

export const pod: Validator<core.Pod> = (p, errors, old) => {
  if (old) podUpdate(p, old, errors);
  else podSpec(p.spec, "spec", errors);
};

export function podTemplate(t: core.PodTemplateSpec | undefined, field: string, errors: Errors): void {
  if (!t) return;
  labels(t.metadata?.labels, `${field}.labels`, errors);
  if (t.spec) podSpec(t.spec, `${field}.spec`, errors);
  else errors.required(`${field}.spec.containers`);
}
