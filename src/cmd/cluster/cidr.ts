// IPv4 networks as `up` needs them. Addresses are unsigned 32-bit numbers.
import { UsageError } from "../flags.ts";

export interface Cidr {
  readonly base: number;
  readonly bits: number;
}

export function parseIp(text: string): number {
  const m = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text);
  const parts = m?.slice(1).map(Number);
  if (!parts || parts.some((p) => p > 255)) throw new RangeError(`${JSON.stringify(text)} is not an IPv4 address`);
  return parts.reduce((n, p) => n * 256 + p, 0);
}

export const formatIp = (n: number): string => [24, 16, 8, 0].map((s) => (n >>> s) & 255).join(".");

export function parseCidr(text: string): Cidr {
  const [ip, bits, rest] = text.split("/");
  if (rest !== undefined || bits === undefined || !/^\d{1,2}$/.test(bits) || Number(bits) > 32) {
    throw new RangeError('must be a network such as "10.244.0.0/16"');
  }
  const cidr = { base: parseIp(ip!), bits: Number(bits) };
  if (cidr.base % 2 ** (32 - cidr.bits) !== 0) {
    throw new RangeError(
      `has bits set after its /${cidr.bits} prefix; did you mean ${formatIp(cidr.base - (cidr.base % 2 ** (32 - cidr.bits)))}/${cidr.bits}?`,
    );
  }
  return cidr;
}

/** The n-th address of a network, 0 being its base. */
export function nthAddress(cidr: Cidr, n: number): string {
  if (n >= 2 ** (32 - cidr.bits)) throw new RangeError(`a /${cidr.bits} network has no address ${n}`);
  return formatIp(cidr.base + n);
}

export function overlaps(a: Cidr, b: Cidr): boolean {
  const size = 2 ** (32 - Math.min(a.bits, b.bits));
  return Math.floor(a.base / size) === Math.floor(b.base / size);
}

/** Throws UsageError when pods, services or the node's own address would collide. */
export function checkNetworks(podCidr: string, serviceCidr: string, nodeIp: string | undefined): void {
  const [pods, services] = [parseCidr(podCidr), parseCidr(serviceCidr)];
  if (pods.bits > 24) throw new UsageError(`--pod-cidr ${podCidr}: must be a /24 or larger, each node gets a /24 of it`);
  if (services.bits > 28 || services.bits < 8) throw new UsageError(`--service-cidr ${serviceCidr}: must be from a /8 to a /28`);
  if (overlaps(pods, services)) throw new UsageError(`--pod-cidr ${podCidr} and --service-cidr ${serviceCidr} overlap`);
  if (!nodeIp) return;
  const node = { base: parseIp(nodeIp), bits: 32 };
  for (const [flag, text, cidr] of [
    ["pod-cidr", podCidr, pods],
    ["service-cidr", serviceCidr, services],
  ] as const) {
    if (overlaps(cidr, node)) throw new UsageError(`--${flag} ${text} holds this machine's own address ${nodeIp}: choose another network`);
  }
}
