// Nodes after the first live on hosts of their own: a network namespace each,
// joined to the machine by a bridge that routes between them.
import { existsSync, readdirSync } from "node:fs";
import { mustRun, run } from "../../platform/process.ts";
import { setSysctl } from "./host.ts";

/** The /24 of a cluster's node hosts, out of the range for such inner networks (RFC 6598). */
export function hostNetwork(clusterId: string): { cidr: string; gateway: string; address(index: number): string } {
  const n = Number.parseInt(clusterId, 16) % 16_384;
  const base = `100.${64 + (n >> 8)}.${n & 255}`;
  return { cidr: `${base}.0/24`, gateway: `${base}.1`, address: (index) => `${base}.${index + 1}` };
}

const bridge = (clusterId: string) => `kn-${clusterId}`;
export const hostNamespace = (clusterId: string, index: number) => `kubun-${clusterId}-node${index + 1}`;
const ip = (...args: string[]) => mustRun(["ip", ...args]);

const linkExists = (name: string) => existsSync(`/sys/class/net/${name}`);
const namespaceExists = (name: string) => existsSync(`/run/netns/${name}`);

/** Makes the bridge between node hosts; its address is their way out. */
export async function makeHostBridge(clusterId: string): Promise<void> {
  const name = bridge(clusterId);
  if (!linkExists(name)) await ip("link", "add", name, "type", "bridge");
  await ip("addr", "replace", `${hostNetwork(clusterId).gateway}/24`, "dev", name);
  await ip("link", "set", name, "up");
  setSysctl("net/ipv4/ip_forward", "1");
}

/** Makes the host of node `index` (1 and up), and the machine's route to its pods. */
export async function makeHost(clusterId: string, index: number, podCidr: string): Promise<void> {
  const ns = hostNamespace(clusterId, index);
  const net = hostNetwork(clusterId);
  const [outside, inside] = [`kn${index}-${clusterId}`, "eth0"];
  if (!namespaceExists(ns)) await ip("netns", "add", ns);
  if (!linkExists(outside)) {
    await ip("link", "add", outside, "type", "veth", "peer", "name", inside, "netns", ns);
    await ip("link", "set", outside, "master", bridge(clusterId), "up");
    await ip("-n", ns, "link", "set", "lo", "up");
    await ip("-n", ns, "addr", "add", `${net.address(index)}/24`, "dev", inside);
    await ip("-n", ns, "link", "set", inside, "up");
    await ip("-n", ns, "route", "add", "default", "via", net.gateway);
  }
  await ip("route", "replace", podCidr, "via", net.address(index), "dev", bridge(clusterId));
}

/** Removes hosts, bridge and routes, whatever of them there is. */
export async function removeHosts(clusterId: string): Promise<void> {
  const prefix = `kubun-${clusterId}-node`;
  const namespaces = existsSync("/run/netns") ? readdirSync("/run/netns").filter((n) => n.startsWith(prefix)) : [];
  for (const ns of namespaces) await run(["ip", "netns", "del", ns]);
  for (const link of readdirSync("/sys/class/net").filter((l) => /^kn\d*-/.test(l) && l.endsWith(clusterId)))
    await run(["ip", "link", "del", link]);
}

/** Puts a command into a node's network; all else it shares with the machine. */
export const insideHost = (clusterId: string, index: number): string[] => [
  "nsenter",
  `--net=/run/netns/${hostNamespace(clusterId, index)}`,
  "--",
];
