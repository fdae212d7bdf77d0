// Which addresses and ports Services may have (k8s.io/kubernetes/pkg/registry/core/service/{ipallocator,portallocator}).
// Pure: it knows what is taken by asking, and what it handed out a moment ago.
import { contains, formatAddress, type Network, parseAddress } from "./ip.ts";

/** Why something can't be had, in upstream's words. */
export class AllocationError extends Error {
  override name = "AllocationError";
}

/** Numbers at the low end that are left for those who ask for one by name: between 16 and 256, a sixteenth. */
export function reservedFor(size: number, least = 16, most = 256, share = 16): number {
  return size < least ? 0 : Math.min(Math.max(least, Math.floor(size / share)), most);
}

type Random = () => number;

/** A free number from the upper band, else from the lower; undefined where all are taken. */
function pick(from: number, to: number, reserved: number, isTaken: (n: number) => boolean, random: Random): number | undefined {
  for (const [low, high] of [
    [from + reserved, to],
    [from, from + reserved],
  ] as const) {
    const width = high - low;
    if (width <= 0) continue;
    const start = Math.floor(random() * width);
    for (let i = 0; i < width; i++) {
      const n = low + ((start + i) % width);
      if (!isTaken(n)) return n;
    }
  }
  return undefined;
}

/** Counting stops here in networks that are larger, such as an IPv6 /64. */
const maxAddresses = 2 ** 20;

/** A free address of a network. The first is nobody's (the network's own), the last of IPv4 the broadcast's. */
export function freeAddress(network: Network, isTaken: (ip: string) => boolean, random: Random = Math.random): string {
  const size = Number(network.size < BigInt(maxAddresses) ? network.size : BigInt(maxAddresses));
  const last = network.family === "IPv4" ? size - 1 : size;
  const text = (n: number) => formatAddress(network.family, network.base + BigInt(n));
  const found = pick(1, last, reservedFor(size - 2), (n) => isTaken(text(n)), random);
  if (found === undefined) throw new AllocationError("range is full");
  return text(found);
}

/** Checks an address that was asked for. Throws an AllocationError. */
export function checkAddress(networks: readonly Network[], ip: string): string {
  const address = parseAddress(ip);
  const usable = networks.filter((n) => n.family === address?.family);
  const network = usable.find((n) => address && contains(n, address.value));
  if (
    !address ||
    !network ||
    address.value === network.base ||
    (network.family === "IPv4" && address.value === network.base + network.size - 1n)
  )
    throw new AllocationError(
      `the provided network does not match the current range: the provided IP (${ip}) is not in the valid range. The range of valid IPs is ${networks.map((n) => n.text).join(",")}`,
    );
  return formatAddress(address.family, address.value);
}

export interface PortRange {
  readonly from: number;
  readonly to: number;
}

export function freePort(range: PortRange, isTaken: (port: number) => boolean, random: Random = Math.random): number {
  const size = range.to - range.from + 1;
  const found = pick(range.from, range.to + 1, reservedFor(size, 16, 128, 32), isTaken, random);
  if (found === undefined) throw new AllocationError("range is full");
  return found;
}

export function checkPort(range: PortRange, port: number): void {
  if (port < range.from || port > range.to)
    throw new AllocationError(`provided port is not in the valid range. The range of valid ports is ${range.from}-${range.to}`);
}
