// What an update of a Service leaves out is what was allocated for it before
// (pkg/registry/core/service/strategy.go, patchAllocatedValues).
import type { Fresh, Stored, Strategy } from "../registry/strategy.ts";

interface Port {
  port: number;
  protocol?: string;
  nodePort?: number;
}

function keepAllocated(next: Fresh, old: Stored): void {
  const spec = next.spec ?? {};
  const before = old.spec ?? {};
  if (spec.type !== "ExternalName" && before.type !== "ExternalName") {
    if (!spec.clusterIP && before.clusterIP !== "None") spec.clusterIP = before.clusterIP;
    if (!spec.clusterIPs?.length && spec.clusterIP === before.clusterIP) spec.clusterIPs = before.clusterIPs;
    spec.ipFamilies ??= before.ipFamilies;
    spec.ipFamilyPolicy ??= before.ipFamilyPolicy;
  }
  const hasPorts = (type: string) => type === "NodePort" || type === "LoadBalancer";
  const ports: Port[] = spec.ports ?? [];
  if (hasPorts(spec.type) && hasPorts(before.type)) {
    const used = new Set(ports.map((p) => p.nodePort).filter(Boolean));
    for (const p of ports) {
      const same = (before.ports ?? []).find((b: Port) => b.port === p.port && (b.protocol ?? "TCP") === (p.protocol ?? "TCP"));
      if (!p.nodePort && same?.nodePort && !used.has(same.nodePort)) p.nodePort = same.nodePort;
    }
  }
  // A type that has no node ports drops those it had, unless the client changed them too.
  if (!hasPorts(spec.type) && hasPorts(before.type))
    for (const p of ports) if ((before.ports ?? []).some((b: Port) => b.nodePort === p.nodePort)) delete p.nodePort;
  if (before.type !== "ExternalName" && spec.type === "ExternalName") {
    if (spec.clusterIP === before.clusterIP) {
      delete spec.clusterIP;
      delete spec.clusterIPs;
    }
  }
  if (spec.type === "LoadBalancer" && before.type === "LoadBalancer") spec.healthCheckNodePort ??= before.healthCheckNodePort;
}

/** Fields that a type can't have go with the old type, unless the client changed them too (dropTypeDependentFields). */
function dropTypeDependent(next: Fresh, old: Stored): void {
  const spec = next.spec ?? {};
  const before = old.spec ?? {};
  const drop = (field: string, has: (s: Record<string, unknown>) => boolean) => {
    if (has(before) && !has(spec) && spec[field] === before[field]) delete spec[field];
  };
  const external = (s: Record<string, unknown>) =>
    s.type === "NodePort" || s.type === "LoadBalancer" || ((s.externalIPs as unknown[]) ?? []).length > 0;
  const balancer = (s: Record<string, unknown>) => s.type === "LoadBalancer";
  drop("externalTrafficPolicy", external);
  drop("allocateLoadBalancerNodePorts", balancer);
  drop("loadBalancerClass", balancer);
  drop("healthCheckNodePort", (s) => s.type === "LoadBalancer" && s.externalTrafficPolicy === "Local");
  if (spec.type === "ExternalName" && before.type !== "ExternalName") delete spec.internalTrafficPolicy;
}

export const serviceStrategy: Strategy = {
  createOnUpdate: true,
  returnsDeleted: true,
  fields: (s) => ({ "spec.clusterIP": s.spec?.clusterIP ?? "", "spec.type": s.spec?.type ?? "" }),
  prepareCreate: (s) => {
    s.status = { loadBalancer: {} };
  },
  prepareUpdate: (next, old) => {
    keepAllocated(next, old);
    dropTypeDependent(next, old);
  },
};
