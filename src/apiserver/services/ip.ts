// IP addresses as numbers, both families, to count through a service network.

export type Family = "IPv4" | "IPv6";

export interface Network {
  readonly family: Family;
  readonly base: bigint;
  /** Addresses in it. */
  readonly size: bigint;
  readonly text: string;
}

function v4(text: string): bigint | undefined {
  const parts = text.split(".");
  if (parts.length !== 4 || !parts.every((p) => /^\d{1,3}$/.test(p) && Number(p) < 256)) return undefined;
  return parts.reduce((n, p) => n * 256n + BigInt(p), 0n);
}

function v6(text: string): bigint | undefined {
  if (!/^[0-9a-fA-F:.]+$/.test(text) || !text.includes(":")) return undefined;
  const embedded = /^(.*:)(\d+\.\d+\.\d+\.\d+)$/.exec(text);
  let source = text;
  if (embedded) {
    const low = v4(embedded[2]!);
    if (low === undefined) return undefined;
    source = `${embedded[1]}${(low >> 16n).toString(16)}:${(low & 0xffffn).toString(16)}`;
  }
  const [head = "", tail, more] = source.split("::");
  if (more !== undefined) return undefined;
  const left = head === "" ? [] : head.split(":");
  const right = tail === undefined || tail === "" ? [] : tail.split(":");
  const zeros = 8 - left.length - right.length;
  if (tail === undefined ? zeros !== 0 : zeros < 0) return undefined;
  const groups = [...left, ...Array<string>(tail === undefined ? 0 : zeros).fill("0"), ...right];
  if (!groups.every((g) => /^[0-9a-fA-F]{1,4}$/.test(g))) return undefined;
  return groups.reduce((n, g) => n * 65536n + BigInt(`0x${g}`), 0n);
}

/** The address, or undefined where the text is none. */
export function parseAddress(text: string): { family: Family; value: bigint } | undefined {
  const four = v4(text);
  if (four !== undefined) return { family: "IPv4", value: four };
  const six = v6(text);
  return six === undefined ? undefined : { family: "IPv6", value: six };
}

/** In its canonical form (RFC 5952). */
export function formatAddress(family: Family, value: bigint): string {
  if (family === "IPv4") return [24n, 16n, 8n, 0n].map((s) => (value >> s) & 255n).join(".");
  const groups = Array.from({ length: 8 }, (_, i) => ((value >> BigInt(112 - 16 * i)) & 0xffffn).toString(16));
  const runs = [...groups.join(" ").matchAll(/\b0( 0)+\b/g)].sort((a, b) => b[0].length - a[0].length || a.index - b.index);
  if (!runs[0]) return groups.join(":");
  const before = groups.join(" ").slice(0, runs[0].index).trim().replaceAll(" ", ":");
  const after = groups
    .join(" ")
    .slice(runs[0].index + runs[0][0].length)
    .trim()
    .replaceAll(" ", ":");
  return `${before}::${after}`;
}

/** Reads "10.96.0.0/16". Throws a RangeError. */
export function parseNetwork(text: string): Network {
  const [ip = "", bits = "", rest] = text.split("/");
  const address = parseAddress(ip);
  const width = address?.family === "IPv6" ? 128 : 32;
  if (!address || rest !== undefined || !/^\d{1,3}$/.test(bits) || Number(bits) > width)
    throw new RangeError(`${JSON.stringify(text)} is not a network such as "10.96.0.0/16"`);
  const size = 1n << BigInt(width - Number(bits));
  return { family: address.family, base: address.value - (address.value % size), size, text };
}

export const contains = (n: Network, value: bigint): boolean => value >= n.base && value < n.base + n.size;
