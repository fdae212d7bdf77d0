// Defaults of the core group besides pods.
import type * as core from "../gen/core/v1.ts";
import type * as discovery from "../gen/discovery/v1.ts";
import { podTemplate } from "./pod.ts";

export function service(s: core.Service): void {
  const spec = s.spec;
  spec.sessionAffinity ||= "None";
  if (spec.sessionAffinity === "None") delete spec.sessionAffinityConfig;
  if (spec.sessionAffinity === "ClientIP") {
    spec.sessionAffinityConfig ??= {};
    spec.sessionAffinityConfig.clientIP ??= {};
    spec.sessionAffinityConfig.clientIP.timeoutSeconds ??= 10_800;
  }
  spec.type ||= "ClusterIP";
  for (const p of spec.ports ?? []) {
    p.protocol ||= "TCP";
    if (p.targetPort === undefined || p.targetPort === 0 || p.targetPort === "") p.targetPort = p.port;
  }
  const outside = spec.type === "NodePort" || spec.type === "LoadBalancer";
  if (outside || (spec.type === "ClusterIP" && spec.externalIPs?.length)) spec.externalTrafficPolicy ||= "Cluster";
  if (outside || spec.type === "ClusterIP") spec.internalTrafficPolicy ??= "Cluster";
  if (spec.type === "LoadBalancer") spec.allocateLoadBalancerNodePorts ??= true;
}

export function namespace(n: core.Namespace): void {
  if (n.metadata.name) n.metadata.labels = { ...n.metadata.labels, "kubernetes.io/metadata.name": n.metadata.name };
  n.status ??= {};
  n.status.phase ||= "Active";
}

export function secret(s: core.Secret): void {
  s.type ||= "Opaque";
}

export function persistentVolume(v: core.PersistentVolume): void {
  v.status ??= {};
  v.status.phase ||= "Pending";
  v.spec.persistentVolumeReclaimPolicy ||= "Retain";
  v.spec.volumeMode ??= "Filesystem";
  if (v.spec.hostPath) v.spec.hostPath.type ??= "";
}

export function persistentVolumeClaim(c: core.PersistentVolumeClaim): void {
  c.status ??= {};
  c.status.phase ||= "Pending";
  c.spec.volumeMode ??= "Filesystem";
}

export function endpoints(e: core.Endpoints): void {
  for (const subset of e.subsets ?? []) for (const p of subset.ports ?? []) p.protocol ||= "TCP";
}

export function endpointSlice(s: discovery.EndpointSlice): void {
  for (const p of s.ports ?? []) {
    p.name ??= "";
    p.protocol ??= "TCP";
  }
}

export function replicationController(r: core.ReplicationController): void {
  const labels = r.spec.template?.metadata?.labels;
  if (labels && Object.keys(labels).length > 0) {
    if (!r.spec.selector || Object.keys(r.spec.selector).length === 0) r.spec.selector = labels;
    if (!r.metadata.labels || Object.keys(r.metadata.labels).length === 0) r.metadata.labels = labels;
  }
  r.spec.replicas ??= 1;
  podTemplate(r.spec.template);
}

export function limitRange(l: core.LimitRange): void {
  for (const item of l.spec.limits ?? []) {
    if (item.type !== "Container") continue;
    // What is not given follows from what is stricter: max → default → defaultRequest → min.
    item.default = { ...item.max, ...item.default };
    item.defaultRequest = { ...item.min, ...item.default, ...item.defaultRequest };
  }
}
