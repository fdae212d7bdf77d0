// Defaults of pods and pod templates (k8s.io/kubernetes/pkg/apis/core/v1 defaults).
import type * as core from "../gen/core/v1.ts";

/** Always for a tag of latest, or none; IfNotPresent for any other, and for digests. */
function pullPolicy(image: string): core.PullPolicy {
  if (image.includes("@")) return "IfNotPresent";
  const tag = /:([^:/]+)$/.exec(image)?.[1] ?? "latest";
  return tag === "latest" ? "Always" : "IfNotPresent";
}

function httpGet(action: core.HTTPGetAction | undefined): void {
  if (!action) return;
  action.path ||= "/";
  action.scheme ||= "HTTP";
}

function probe(p: core.Probe | undefined): void {
  if (!p) return;
  p.timeoutSeconds ||= 1;
  p.periodSeconds ||= 10;
  p.successThreshold ||= 1;
  p.failureThreshold ||= 3;
  httpGet(p.httpGet);
  if (p.grpc) p.grpc.service ??= "";
}

function fieldRef(ref: core.ObjectFieldSelector | undefined): void {
  if (ref) ref.apiVersion ||= "v1";
}

type AnyContainer = core.Container | core.EphemeralContainer;

function container(c: AnyContainer): void {
  c.imagePullPolicy ||= pullPolicy(c.image ?? "");
  c.terminationMessagePath ||= "/dev/termination-log";
  c.terminationMessagePolicy ||= "File";
  for (const p of c.ports ?? []) p.protocol ||= "TCP";
  for (const p of [c.livenessProbe, c.readinessProbe, c.startupProbe]) probe(p);
  httpGet(c.lifecycle?.postStart?.httpGet);
  httpGet(c.lifecycle?.preStop?.httpGet);
  for (const e of c.env ?? []) fieldRef(e.valueFrom?.fieldRef);
}

const MODE = 0o644;

function projection(p: core.VolumeProjection): void {
  if (p.serviceAccountToken) p.serviceAccountToken.expirationSeconds ??= 3600;
  for (const i of p.downwardAPI?.items ?? []) fieldRef(i.fieldRef);
}

function volume(v: core.Volume): void {
  if (Object.keys(v).length <= 1) v.emptyDir = {};
  if (v.secret) v.secret.defaultMode ??= MODE;
  if (v.configMap) v.configMap.defaultMode ??= MODE;
  if (v.downwardAPI) {
    v.downwardAPI.defaultMode ??= MODE;
    for (const i of v.downwardAPI.items ?? []) fieldRef(i.fieldRef);
  }
  if (v.projected) {
    v.projected.defaultMode ??= MODE;
    v.projected.sources?.forEach(projection);
  }
  if (v.hostPath) v.hostPath.type ??= "";
  if (v.iscsi) v.iscsi.iscsiInterface ||= "default";
  if (v.image) v.image.pullPolicy ||= pullPolicy(v.image.reference ?? "");
  if (v.ephemeral?.volumeClaimTemplate) v.ephemeral.volumeClaimTemplate.spec.volumeMode ??= "Filesystem";
}

/** What every container of a pod spec is defaulted by, in the order Go visits them. */
export const containersOf = (spec: core.PodSpec): AnyContainer[] => [
  ...(spec.initContainers ?? []),
  ...(spec.containers ?? []),
  ...(spec.ephemeralContainers ?? []),
];

/** Defaults that a pod and a template share. */
export function podSpec(spec: core.PodSpec): void {
  spec.dnsPolicy ||= "ClusterFirst";
  spec.restartPolicy ||= "Always";
  spec.securityContext ??= {};
  spec.terminationGracePeriodSeconds ??= 30;
  spec.schedulerName ||= "default-scheduler";
  if (spec.serviceAccountName) spec.serviceAccount = spec.serviceAccountName;
  else if (spec.serviceAccount) spec.serviceAccountName = spec.serviceAccount;
  for (const c of containersOf(spec)) {
    container(c);
    if (spec.hostNetwork) for (const p of c.ports ?? []) p.hostPort ||= p.containerPort;
  }
  spec.volumes?.forEach(volume);
}

/** Requests that are not given are the limits. */
function requestsFromLimits(c: { resources?: core.ResourceRequirements }): void {
  const limits = c.resources?.limits;
  if (!limits) return;
  c.resources!.requests = { ...limits, ...c.resources!.requests };
}

export function pod(p: core.Pod): void {
  podSpec(p.spec);
  p.spec.enableServiceLinks ??= true;
  for (const c of [...(p.spec.initContainers ?? []), ...(p.spec.containers ?? [])]) requestsFromLimits(c);
  if (p.spec.resources) requestsFromLimits(p.spec);
}

export function podTemplate(t: core.PodTemplateSpec | undefined): void {
  if (t?.spec) podSpec(t.spec);
}
