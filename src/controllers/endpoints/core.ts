// The classic Endpoints object of a Service (k8s.io/kubernetes/pkg/controller/endpoint).
import { deepEqual } from "../../api/equal.ts";
import type * as coreV1 from "../../api/gen/core/v1.ts";
import { endpoints } from "../../client/resources.ts";
import {
  addressTypes,
  endpointPorts,
  hostnameOf,
  isEligible,
  isHeadless,
  labels,
  podAddresses,
  targetOf,
} from "../endpointslice/endpoints.ts";
import { isReady } from "../framework/pods.ts";
import { create, update, type Write } from "../framework/write.ts";

const managedBy = "endpoints.kubernetes.io/managed-by";
const overCapacity = "endpoints.kubernetes.io/over-capacity";
/** Most addresses in one Endpoints object. */
const capacity = 1000;

/** The write that makes Endpoints say what is behind the Service; undefined when it does. */
export function reconcileEndpoints(
  service: coreV1.Service,
  pods: readonly coreV1.Pod[],
  present: coreV1.Endpoints | undefined,
): Write | undefined {
  const { subsets, cut } = truncate(subsetsOf(service, pods));
  const wanted: Record<string, string> = { ...service.metadata.labels };
  delete wanted[labels.headless];
  if (isHeadless(service)) wanted[labels.headless] = "";
  wanted[managedBy] = "endpoint-controller";
  if (!present) {
    return create(endpoints, {
      apiVersion: "v1",
      kind: "Endpoints",
      metadata: {
        name: service.metadata.name,
        namespace: service.metadata.namespace,
        labels: wanted,
        ...(cut ? { annotations: { [overCapacity]: "truncated" } } : {}),
      },
      ...(subsets.length > 0 ? { subsets } : {}),
    });
  }
  const { [overCapacity]: noted, ...annotations } = present.metadata.annotations ?? {};
  const nextAnnotations = cut ? { ...annotations, [overCapacity]: "truncated" } : annotations;
  const sameCut = (noted === "truncated") === cut;
  if (sameCut && deepEqual(sorted(present.subsets ?? []), subsets) && deepEqual(present.metadata.labels ?? {}, wanted)) return undefined;
  const metadata = {
    ...present.metadata,
    labels: wanted,
    ...(Object.keys(nextAnnotations).length > 0 ? { annotations: nextAnnotations } : {}),
  };
  return update(endpoints, { ...present, metadata, subsets });
}

function subsetsOf(service: coreV1.Service, pods: readonly coreV1.Pod[]): coreV1.EndpointSubset[] {
  const unready = service.spec?.publishNotReadyAddresses === true;
  const type = addressTypes(service)[0]!;
  const byPorts = new Map<string, coreV1.EndpointSubset>();
  for (const pod of pods) {
    const ip = podAddresses(pod, type)[0];
    if (!ip || !isEligible(pod, unready)) continue;
    const ports = endpointPorts(service, pod).map(
      (p): coreV1.EndpointPort => ({
        ...(p.name ? { name: p.name } : {}),
        port: p.port!,
        protocol: p.protocol,
        ...(p.appProtocol ? { appProtocol: p.appProtocol } : {}),
      }),
    );
    if (ports.length === 0 && !((service.spec?.ports ?? []).length === 0 && isHeadless(service))) continue;
    const key = JSON.stringify(ports);
    let subset = byPorts.get(key);
    if (!subset) {
      subset = ports.length > 0 ? { ports } : {};
      byPorts.set(key, subset);
    }
    const hostname = hostnameOf(pod, service);
    const address: coreV1.EndpointAddress = {
      ip,
      ...(hostname ? { hostname } : {}),
      ...(pod.spec.nodeName ? { nodeName: pod.spec.nodeName } : {}),
      targetRef: targetOf(pod),
    };
    const where = unready || isReady(pod) ? "addresses" : "notReadyAddresses";
    subset[where] = [...(subset[where] ?? []), address];
  }
  return sorted([...byPorts.values()]);
}

const compare = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0);
const byIp = (a: coreV1.EndpointAddress, b: coreV1.EndpointAddress) =>
  compare(a.ip, b.ip) || compare(a.targetRef?.uid ?? "", b.targetRef?.uid ?? "");

function sorted(subsets: readonly coreV1.EndpointSubset[]): coreV1.EndpointSubset[] {
  return subsets
    .map((s) => ({
      ...(s.addresses?.length ? { addresses: [...s.addresses].sort(byIp) } : {}),
      ...(s.notReadyAddresses?.length ? { notReadyAddresses: [...s.notReadyAddresses].sort(byIp) } : {}),
      ...(s.ports?.length ? { ports: [...s.ports].sort((a, b) => compare(a.name ?? "", b.name ?? "") || a.port - b.port) } : {}),
    }))
    .sort((a, b) => compare(JSON.stringify(a.ports ?? []), JSON.stringify(b.ports ?? [])));
}

/** Keeps the first thousand, ready ones before others. */
function truncate(subsets: coreV1.EndpointSubset[]): { subsets: coreV1.EndpointSubset[]; cut: boolean } {
  const count = (s: coreV1.EndpointSubset) => (s.addresses?.length ?? 0) + (s.notReadyAddresses?.length ?? 0);
  if (subsets.reduce((n, s) => n + count(s), 0) <= capacity) return { subsets, cut: false };
  let left = capacity;
  const take = <T>(list: T[] | undefined): T[] | undefined => {
    const kept = list?.slice(0, left);
    left -= kept?.length ?? 0;
    return kept?.length ? kept : undefined;
  };
  const ready = subsets.map((s) => take(s.addresses));
  const kept = subsets.map((s, i) => ({ addresses: ready[i], notReadyAddresses: take(s.notReadyAddresses), ports: s.ports }));
  return { subsets: sorted(kept.filter((s) => s.addresses || s.notReadyAddresses)), cut: true };
}
