// From pods to endpoints: what the EndpointSlice and the Endpoints controllers
// share (k8s.io/endpointslice and k8s.io/kubernetes/pkg/controller/endpoint).
import type * as coreV1 from "../../api/gen/core/v1.ts";
import type * as discoveryV1 from "../../api/gen/discovery/v1.ts";
import { isReady, isTerminal } from "../framework/pods.ts";

export type AddressType = "IPv4" | "IPv6";

export const labels = {
  serviceName: "kubernetes.io/service-name",
  managedBy: "endpointslice.kubernetes.io/managed-by",
  skipMirror: "endpointslice.kubernetes.io/skip-mirror",
  headless: "service.kubernetes.io/headless",
  zone: "topology.kubernetes.io/zone",
} as const;
export const sliceManager = "endpointslice-controller.k8s.io";

/** A Service without a cluster IP. */
export function isHeadless(service: coreV1.Service): boolean {
  const ip = service.spec?.clusterIP;
  return ip === "None" || ip === undefined || ip === "";
}

/** Whether the pod has an address and has not finished. */
export function isEligible(pod: coreV1.Pod, includeTerminating: boolean): boolean {
  if (isTerminal(pod) || (!pod.status?.podIP && !pod.status?.podIPs?.length)) return false;
  return includeTerminating || !pod.metadata.deletionTimestamp;
}

export function addressTypes(service: coreV1.Service): AddressType[] {
  const families = service.spec?.ipFamilies;
  if (families?.length) return families.map((f) => (f === "IPv6" ? "IPv6" : "IPv4"));
  return [service.spec?.clusterIP?.includes(":") ? "IPv6" : "IPv4"];
}

export function podAddresses(pod: coreV1.Pod, type: AddressType): string[] {
  const ips = pod.status?.podIPs?.map((p) => p.ip ?? "") ?? [pod.status?.podIP ?? ""];
  return ips.filter((ip) => ip !== "" && ip.includes(":") === (type === "IPv6"));
}

/** The pod's port that a service port points at; undefined when no container names it. */
export function findPort(pod: coreV1.Pod, port: coreV1.ServicePort): number | undefined {
  const target = port.targetPort;
  if (target === undefined || target === 0 || target === "") return port.port;
  if (typeof target === "number") return target;
  const protocol = port.protocol ?? "TCP";
  const sidecars = (pod.spec.initContainers ?? []).filter((c) => c.restartPolicy === "Always");
  for (const container of [...pod.spec.containers, ...sidecars])
    for (const p of container.ports ?? []) if (p.name === target && (p.protocol ?? "TCP") === protocol) return p.containerPort;
  return undefined;
}

/** The ports of one pod behind a Service. A port whose name the pod does not know is left out. */
export function endpointPorts(service: coreV1.Service, pod: coreV1.Pod): discoveryV1.EndpointPort[] {
  const ports: discoveryV1.EndpointPort[] = [];
  for (const port of service.spec?.ports ?? []) {
    const number = findPort(pod, port);
    if (number === undefined) continue;
    ports.push({
      name: port.name ?? "",
      protocol: port.protocol ?? "TCP",
      port: number,
      ...(port.appProtocol ? { appProtocol: port.appProtocol } : {}),
    });
  }
  return ports;
}

/** A pod has a name of its own under a Service that is its subdomain. */
export function hostnameOf(pod: coreV1.Pod, service: coreV1.Service): string | undefined {
  const { hostname, subdomain } = pod.spec;
  return hostname && subdomain === service.metadata.name && pod.metadata.namespace === service.metadata.namespace ? hostname : undefined;
}

export function targetOf(pod: coreV1.Pod): coreV1.ObjectReference {
  return { kind: "Pod", namespace: pod.metadata.namespace, name: pod.metadata.name, uid: pod.metadata.uid };
}

export function sliceEndpoint(
  pod: coreV1.Pod,
  service: coreV1.Service,
  node: coreV1.Node | undefined,
  type: AddressType,
): discoveryV1.Endpoint {
  const serving = isReady(pod);
  const terminating = !!pod.metadata.deletionTimestamp;
  const ready = service.spec?.publishNotReadyAddresses === true || (serving && !terminating);
  const zone = node?.metadata.labels?.[labels.zone];
  const hostname = hostnameOf(pod, service);
  const nodeName = pod.spec.nodeName;
  const endpoint: discoveryV1.Endpoint = {
    addresses: podAddresses(pod, type),
    conditions: { ready, serving, terminating },
    ...(hostname ? { hostname } : {}),
    targetRef: targetOf(pod),
    ...(nodeName ? { nodeName } : {}),
    ...(zone ? { zone } : {}),
  };
  const hints = ready ? hintsFor(service.spec?.trafficDistribution, nodeName, zone) : undefined;
  return hints ? { ...endpoint, hints } : endpoint;
}

/** Which clients an endpoint is meant for (https://kubernetes.io/docs/concepts/services-networking/service/#traffic-distribution). */
function hintsFor(
  distribution: string | undefined,
  node: string | undefined,
  zone: string | undefined,
): discoveryV1.EndpointHints | undefined {
  const forZones = zone ? { forZones: [{ name: zone }] } : undefined;
  if (distribution === "PreferClose" || distribution === "PreferSameZone") return forZones;
  if (distribution === "PreferSameNode" && node) return { forNodes: [{ name: node }], ...forZones };
  return undefined;
}

/** Whether a pod's change can matter to any Service. */
export function endpointChanged(before: coreV1.Pod, after: coreV1.Pod): boolean {
  return (
    before.status?.podIP !== after.status?.podIP ||
    before.status?.podIPs?.length !== after.status?.podIPs?.length ||
    before.spec.nodeName !== after.spec.nodeName ||
    !before.metadata.deletionTimestamp !== !after.metadata.deletionTimestamp ||
    isTerminal(before) !== isTerminal(after) ||
    isReady(before) !== isReady(after) ||
    before.spec.hostname !== after.spec.hostname ||
    before.spec.subdomain !== after.spec.subdomain
  );
}
