// Which network the hosts of a cluster's further nodes share, and who has which
// address in it.
import { existsSync, readFileSync } from "node:fs";
import { networkInterfaces } from "node:os";
import { UsageError } from "../flags.ts";
import { type Cidr, formatIp, nthAddress, overlaps, parseCidr, parseIp } from "./cidr.ts";

export interface HostNetwork {
  cidr: string;
  /** The machine's own address, the nodes' way out. */
  gateway: string;
  /** The address of node `index`, 1 and up. */
  address(index: number): string;
}

export function hostNetwork(cidr: string): HostNetwork {
  const net = parseCidr(cidr);
  return { cidr, gateway: nthAddress(net, 1), address: (index) => nthAddress(net, index + 1) };
}

/** Where host networks come from: the shared address space (RFC 6598), which VPNs use too, else that of benchmarks (RFC 2544). */
const RANGES = ["100.64.0.0/10", "198.18.0.0/15"].map(parseCidr);

export interface Taken {
  /** The interface; "*" for routes that lead nowhere, empty for what the cluster itself will use. */
  link: string;
  cidr: Cidr;
  /** Whether it is another cluster's, so that its neighbours can be used. */
  kubun: boolean;
}

/** The stored network if it is still free, else the /24 that the id leads to, or the first free one after it. Throws RangeError when all are taken. */
export function chooseHostNetwork(clusterId: string, stored: string | undefined, taken: readonly Taken[]): string {
  const free = (net: Cidr) => !taken.some((t) => overlaps(t.cidr, net));
  if (stored !== undefined && free(parseCidr(stored))) return stored;
  const wanted = Number.parseInt(clusterId, 16);
  // Who uses a part of a range, such as a VPN, may use or filter all of it.
  const ranges = RANGES.filter((range) => !taken.some((t) => !t.kubun && overlaps(t.cidr, range)));
  for (const range of [...ranges, ...RANGES]) {
    const count = 2 ** (24 - range.bits);
    for (let i = 0; i < count; i++) {
      const net = { base: range.base + ((wanted + i) % count) * 256, bits: 24 };
      if (free(net)) return `${formatIp(net.base)}/24`;
    }
  }
  throw new RangeError("no network is left for the hosts of further nodes: remove routes to 100.64.0.0/10 or 198.18.0.0/15");
}

/** An address as /proc/net/route prints it: hex digits, the lowest byte first. */
const routeIp = (hex: string) => Number.parseInt(hex.match(/../g)!.reverse().join(""), 16);

/** A network with the bits after its prefix cleared. */
const network = (ip: number, bits: number): Cidr => ({ base: ip - (ip % 2 ** (32 - bits)), bits });

/** Networks of this machine's interfaces and routes but those of the link `own`. */
export function takenNetworks(own: string): Taken[] {
  const addresses = Object.entries(networkInterfaces()).flatMap(([link, list]) =>
    (list ?? [])
      .filter((a) => a.family === "IPv4")
      .map((a) => ({ link, cidr: network(parseIp(a.address), Number(a.cidr?.split("/")[1] ?? 32)) })),
  );
  const table = existsSync("/proc/net/route") ? readFileSync("/proc/net/route", "utf8").trim().split("\n").slice(1) : [];
  const routes = table
    .map((l) => l.split("\t"))
    .map((c) => ({ link: c[0]!, cidr: network(routeIp(c[1]!), 32 - Math.log2(2 ** 32 - routeIp(c[7]!))) }));
  return [...addresses, ...routes]
    .filter(({ link, cidr }) => link !== own && cidr.bits > 0)
    .map(({ link, cidr }) => ({ link, cidr, kubun: link.startsWith("kn-") }));
}

/**
 * Throws UsageError when an interface that isn't the cluster's leads to a part
 * of its pod network: the machine would look for pods there. Wider networks may
 * hold it, such as a VPN's, since the narrower route wins.
 */
export function checkPodNetwork(podCidr: string, clusterId: string | undefined, taken: readonly Taken[]): void {
  const own = (link: string) => link === "*" || (clusterId !== undefined && link.includes(clusterId));
  const pods = parseCidr(podCidr);
  const other = taken.find((t) => !own(t.link) && t.cidr.bits >= pods.bits && overlaps(t.cidr, pods));
  if (other === undefined) return;
  const text = `${formatIp(other.cidr.base)}/${other.cidr.bits}`;
  throw new UsageError(`--pod-cidr ${podCidr} holds ${text}, which ${other.link} of this machine leads to: choose another network`);
}
