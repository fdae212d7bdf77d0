// Where UDP services listen and where they send to, for conntrack.ts.
import type { UdpFrontends } from "./conntrack.ts";
import type { ServicePort } from "./service-ports.ts";

export function udpFrontends(services: Iterable<readonly ServicePort[]>): UdpFrontends {
  const addresses = new Map<string, Set<string>>();
  const nodePorts = new Map<number, Set<string>>();
  for (const ports of services) {
    for (const p of ports) {
      if (p.protocol !== "udp") continue;
      const backends = new Set([...p.cluster, ...p.local].map((e) => `${e.ip}:${e.port}`));
      for (const ip of [...p.clusterIPs, ...p.externalIPs]) addresses.set(`${ip}:${p.port}`, backends);
      if (p.nodePort > 0) nodePorts.set(p.nodePort, backends);
    }
  }
  return { addresses, nodePorts };
}
