// Nodes after the first, and control planes where there are several, live on
// hosts of their own: a network namespace each, joined to the machine by a
// bridge. Every host routes to the pods of the others.
import { existsSync, readdirSync } from "node:fs";
import { mustRun, run } from "../../platform/process.ts";
import { setSysctl } from "./host.ts";
import type { HostNetwork } from "./host-network.ts";

export const hostBridge = (clusterId: string) => `kn-${clusterId}`;
/** Hosts from this index on are control planes'. */
export const FIRST_PLANE = 200;
const hostName = (index: number) => (index < FIRST_PLANE ? `node${index + 1}` : `control-plane${index - FIRST_PLANE + 1}`);
export const hostNamespace = (clusterId: string, index: number) => `kubun-${clusterId}-${hostName(index)}`;
const outsideLink = (clusterId: string, index: number) => `kn${index}-${clusterId}`;

/** The locally administered address of node `index`'s link, the bridge being 0: a node that comes again has the same one, and a bridge keeps its own whatever links it has. */
const macAddress = (clusterId: string, index: number) => ["02", index.toString(16).padStart(2, "0"), ...clusterId.match(/../g)!].join(":");

const linkExists = (name: string) => existsSync(`/sys/class/net/${name}`);
const namespaceExists = (name: string) => existsSync(`/run/netns/${name}`);

const batch = (commands: readonly string[], ...where: string[]) =>
  mustRun(["ip", ...where, "-batch", "-"], { input: `${commands.join("\n")}\n` });

export interface Host {
  index: number;
  /** The network of its node's pods, where it has a node. */
  podCidr?: string;
}

/** Makes what is missing of the bridge and the hosts. Idempotent: what is there keeps running. */
export async function makeHosts(clusterId: string, net: HostNetwork, hosts: readonly Host[]): Promise<void> {
  if (Bun.which("nsenter") === null)
    throw new Error("nsenter not found, which --nodes and --control-planes need: install the Debian package util-linux");
  const bridge = hostBridge(clusterId);
  const fresh = hosts.filter(({ index }) => !linkExists(outsideLink(clusterId, index)));
  for (const { index } of hosts) {
    const ns = hostNamespace(clusterId, index);
    if (!namespaceExists(ns)) await mustRun(["ip", "netns", "add", ns]);
  }
  setSysctl("net/ipv4/ip_forward", "1");
  await batch([
    ...(linkExists(bridge) ? [] : [`link add ${bridge} address ${macAddress(clusterId, 0)} type bridge`]),
    `addr replace ${net.gateway}/24 dev ${bridge}`,
    `link set ${bridge} up`,
    ...fresh.flatMap(({ index }) => {
      const link = outsideLink(clusterId, index);
      return [
        `link add ${link} type veth peer name eth0 address ${macAddress(clusterId, index)} netns ${hostNamespace(clusterId, index)}`,
        `link set ${link} master ${bridge} up`,
        // Where a service sends a node's packet back to the same node, it leaves by the port that it came in at.
        `link set ${link} type bridge_slave hairpin on`,
      ];
    }),
    ...hosts.flatMap((h) => (h.podCidr ? [`route replace ${h.podCidr} via ${net.address(h.index)} dev ${bridge}`] : [])),
  ]);
  for (const { index } of hosts) {
    const others = hosts.filter((h) => h.index !== index);
    await batch(
      [
        "link set lo up",
        `addr replace ${net.address(index)}/24 dev eth0`,
        "link set eth0 up",
        `route replace default via ${net.gateway}`,
        ...others.flatMap((h) => (h.podCidr ? [`route replace ${h.podCidr} via ${net.address(h.index)}`] : [])),
      ],
      "-n",
      hostNamespace(clusterId, index),
    );
  }
}

const namespaces = (clusterId: string) => {
  const prefix = `kubun-${clusterId}-`;
  return existsSync("/run/netns") ? readdirSync("/run/netns").filter((n) => n.startsWith(prefix)) : [];
};

/** Removes one host, and everybody's route to its pods. */
export async function removeHost(clusterId: string, index: number, podCidr: string): Promise<void> {
  const own = hostNamespace(clusterId, index);
  await run(["ip", "route", "del", podCidr, "dev", hostBridge(clusterId)]);
  await run(["ip", "link", "del", outsideLink(clusterId, index)]);
  await run(["ip", "netns", "del", own]);
  for (const ns of namespaces(clusterId)) if (ns !== own) await run(["ip", "-n", ns, "route", "del", podCidr]);
}

/** Removes hosts, bridge and routes, whatever of them there is. */
export async function removeHosts(clusterId: string): Promise<void> {
  // The kernel ends a deleted namespace's links some time later; deleting them first makes it now.
  for (const link of readdirSync("/sys/class/net").filter((l) => /^kn\d*-/.test(l) && l.endsWith(`-${clusterId}`)))
    await run(["ip", "link", "del", link]);
  for (const ns of namespaces(clusterId)) await run(["ip", "netns", "del", ns]);
}

/** Puts a command into a node's network; all else it shares with the machine. */
export const insideHost = (clusterId: string, index: number): string[] => [
  "nsenter",
  `--net=/run/netns/${hostNamespace(clusterId, index)}`,
  "--",
];
