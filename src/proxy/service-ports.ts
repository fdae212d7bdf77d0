// Services and their EndpointSlices as the proxy needs them: one entry for each
// port of a service, with the endpoints that may serve it.
import type * as coreV1 from "../api/gen/core/v1.ts";
import type * as discoveryV1 from "../api/gen/discovery/v1.ts";

export interface Endpoint {
  ip: string;
  port: number;
  /** On this node. */
  local: boolean;
}

export interface ServicePort {
  namespace: string;
  service: string;
  /** Empty when the service has one port without a name. */
  portName: string;
  protocol: "tcp" | "udp" | "sctp";
  clusterIPs: string[];
  port: number;
  /** 0 for none. */
  nodePort: number;
  /** External and load balancer addresses. */
  externalIPs: string[];
  /** Seconds that a client stays with its endpoint; undefined without affinity. */
  affinity: number | undefined;
  internalLocal: boolean;
  externalLocal: boolean;
  /** Endpoints for traffic that may go to any node. */
  cluster: Endpoint[];
  /** Endpoints for traffic that has to stay on this node. */
  local: Endpoint[];
}

export const isIPv4 = (ip: string) => /^\d{1,3}(\.\d{1,3}){3}$/.test(ip);

/** Headless services and those of another proxy are not ours to serve. */
export function isProxied(service: coreV1.Service): boolean {
  const ip = service.spec?.clusterIP;
  return (
    !!ip &&
    ip !== "None" &&
    service.spec?.type !== "ExternalName" &&
    service.metadata.labels?.["service.kubernetes.io/service-proxy-name"] === undefined
  );
}

interface Candidate extends Endpoint {
  ready: boolean;
  /** Serving while it terminates: used when there is nothing better (KEP-1669). */
  lastResort: boolean;
}

function candidates(slices: readonly discoveryV1.EndpointSlice[], portName: string, protocol: string, node: string): Candidate[] {
  const found = new Map<string, Candidate>();
  for (const slice of slices) {
    if (slice.addressType !== "IPv4") continue;
    const port = (slice.ports ?? []).find((p) => (p.name ?? "") === portName && (p.protocol ?? "TCP") === protocol)?.port;
    if (!port) continue;
    for (const { addresses, conditions, nodeName } of slice.endpoints ?? []) {
      const ip = addresses[0];
      if (!ip || !isIPv4(ip)) continue;
      const ready = conditions?.ready ?? true;
      const serving = conditions?.serving ?? ready;
      const candidate = { ip, port, local: nodeName === node, ready, lastResort: serving && (conditions?.terminating ?? false) };
      const before = found.get(`${ip}:${port}`);
      // A pod may be in two slices for a moment, while it moves.
      if (!before || (!before.ready && ready)) found.set(`${ip}:${port}`, candidate);
    }
  }
  return [...found.values()].sort((a, b) => (a.ip === b.ip ? a.port - b.port : a.ip < b.ip ? -1 : 1));
}

function usable(all: readonly Candidate[]): Endpoint[] {
  const ready = all.filter((e) => e.ready);
  const chosen = ready.length > 0 ? ready : all.filter((e) => e.lastResort);
  return chosen.map(({ ip, port, local }) => ({ ip, port, local }));
}

/** The ports of a service on the node of this name. */
export function servicePorts(service: coreV1.Service, slices: readonly discoveryV1.EndpointSlice[], node: string): ServicePort[] {
  if (!isProxied(service)) return [];
  const { spec, metadata, status } = service;
  const clusterIPs = (spec.clusterIPs?.length ? spec.clusterIPs : [spec.clusterIP!]).filter(isIPv4);
  const balancers = (status?.loadBalancer?.ingress ?? []).filter((i) => (i.ipMode ?? "VIP") === "VIP").map((i) => i.ip ?? "");
  const externalIPs = [...new Set([...(spec.externalIPs ?? []), ...balancers].filter(isIPv4))];
  const sticky = spec.sessionAffinity === "ClientIP";
  return (spec.ports ?? []).map((p) => {
    const protocol = p.protocol ?? "TCP";
    const all = candidates(slices, p.name ?? "", protocol, node);
    return {
      namespace: metadata.namespace!,
      service: metadata.name!,
      portName: p.name ?? "",
      protocol: protocol.toLowerCase() as ServicePort["protocol"],
      clusterIPs,
      port: p.port,
      nodePort: p.nodePort ?? 0,
      externalIPs,
      affinity: sticky ? (spec.sessionAffinityConfig?.clientIP?.timeoutSeconds ?? 10_800) : undefined,
      internalLocal: spec.internalTrafficPolicy === "Local",
      externalLocal: spec.externalTrafficPolicy === "Local",
      cluster: usable(all),
      local: usable(all.filter((e) => e.local)),
    };
  });
}
