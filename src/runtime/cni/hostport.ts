// Host ports of pods, in an nftables table per pod, for networks whose plugins
// don't do it (Debian's portmap plugin needs iptables).
import { existsSync, writeFileSync } from "node:fs";
import { isIPv6 } from "node:net";
import { mustRun, run } from "../../platform/process.ts";
import type { PortMapping } from "./invoke.ts";

const table = (clusterId: string, sandboxId: string) => `kubun-hostport-${clusterId}-${sandboxId.slice(0, 12)}`;

/** The rules as nft(8) reads them. */
export function hostPortRules(name: string, podIp: string, ports: readonly PortMapping[]): string {
  const v6 = isIPv6(podIp);
  const ip = v6 ? "ip6" : "ip";
  const dnat = ports.map((p) => {
    const to = v6 ? `[${podIp}]:${p.containerPort}` : `${podIp}:${p.containerPort}`;
    const any = p.hostIP === undefined || p.hostIP === "0.0.0.0" || p.hostIP === "::";
    const address = any ? "fib daddr type local" : `${ip} daddr ${p.hostIP}`;
    return `${address} ${p.protocol} dport ${p.hostPort} dnat to ${to}`;
  });
  // A pod that calls itself by the host's port, and the host by its loopback,
  // would otherwise get answers from an address that they didn't call.
  const masquerade = ports.map(
    (p) => `${ip} saddr { ${podIp}, ${v6 ? "::1" : "127.0.0.0/8"} } ${ip} daddr ${podIp} ${p.protocol} dport ${p.containerPort} masquerade`,
  );
  // route_localnet would also let pods reach what listens on the host's loopback (CVE-2020-8558).
  const guard = v6 ? "" : '\n  chain guard { type filter hook prerouting priority -300; iif != "lo" ip daddr 127.0.0.0/8 drop; }';
  return `table ${ip} ${name} {${guard}
  chain ports { ${dnat.join("; ")}; }
  chain prerouting { type nat hook prerouting priority -101; jump ports; }
  chain output { type nat hook output priority -101; jump ports; }
  chain postrouting { type nat hook postrouting priority srcnat; ${masquerade.join("; ")}; }
}
`;
}

/**
 * Opens the ports of a pod behind these links of the host.
 * @throws Error with what nft says.
 */
export async function addHostPorts(
  clusterId: string,
  sandboxId: string,
  podIp: string,
  links: readonly string[],
  ports: readonly PortMapping[],
): Promise<void> {
  // Packets from loopback addresses may leave only by links where this is set; the masquerade above makes it safe.
  for (const link of isIPv6(podIp) ? [] : links) {
    const file = `/proc/sys/net/ipv4/conf/${link}/route_localnet`;
    if (existsSync(file)) writeFileSync(file, "1");
  }
  await mustRun(["nft", "-f", "-"], { input: hostPortRules(table(clusterId, sandboxId), podIp, ports) });
}

/** Closes a pod's ports; fine if there are none. */
export async function removeHostPorts(clusterId: string, sandboxId: string): Promise<void> {
  for (const family of ["ip", "ip6"]) await run(["nft", "delete", "table", family, table(clusterId, sandboxId)]);
}

/** Closes every port that pods of a cluster have. */
export async function removeAllHostPorts(clusterId: string): Promise<void> {
  if (Bun.which("nft") === null) return;
  const { stdout } = await run(["nft", "list", "tables"]);
  for (const [, family, name] of stdout.matchAll(/^table (\S+) (\S+)$/gm)) {
    if (name!.startsWith(`kubun-hostport-${clusterId}-`)) await run(["nft", "delete", "table", family!, name!]);
  }
}
