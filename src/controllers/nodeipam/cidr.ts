// Ranges of addresses: parsing, and handing out equal parts of one.

export interface Cidr {
  readonly base: bigint;
  readonly bits: 32 | 128;
  readonly prefix: number;
}

/** Parses "10.244.0.0/16" or "fd00::/48". Throws a RangeError on anything else, or when host bits are set. */
export function parseCidr(text: string): Cidr {
  const [address = "", length, more] = text.split("/");
  const bits = address.includes(":") ? 128 : 32;
  const prefix = Number(length);
  const base = parseAddress(address);
  if (base === undefined || more !== undefined || length === undefined || !/^\d+$/.test(length) || prefix > bits)
    throw new RangeError(`invalid CIDR address: ${text}`);
  const mask = BigInt(bits - prefix);
  return { base: (base >> mask) << mask, bits, prefix };
}

export function formatCidr(c: Cidr): string {
  return `${formatAddress(c.base, c.bits)}/${c.prefix}`;
}

/** The address as a number; undefined when it is none. */
export function parseAddress(text: string): bigint | undefined {
  if (!text.includes(":")) {
    const parts = text.split(".");
    if (parts.length !== 4 || !parts.every((p) => /^(0|[1-9]\d{0,2})$/.test(p) && Number(p) < 256)) return undefined;
    return parts.reduce((n, p) => (n << 8n) | BigInt(p), 0n);
  }
  const halves = text.split("::");
  if (halves.length > 2) return undefined;
  const groups = (half: string) => (half === "" ? [] : half.split(":"));
  const head = groups(halves[0]!);
  const tail = halves.length === 2 ? groups(halves[1]!) : [];
  const missing = 8 - head.length - tail.length;
  if (halves.length === 2 ? missing < 1 : missing !== 0) return undefined;
  const all = [...head, ...Array<string>(missing).fill("0"), ...tail];
  if (!all.every((g) => /^[0-9a-fA-F]{1,4}$/.test(g))) return undefined;
  return all.reduce((n, g) => (n << 16n) | BigInt(`0x${g}`), 0n);
}

/** RFC 5952 for IPv6. */
export function formatAddress(value: bigint, bits: 32 | 128): string {
  if (bits === 32) return [24n, 16n, 8n, 0n].map((s) => String((value >> s) & 255n)).join(".");
  const groups = Array.from({ length: 8 }, (_, i) => ((value >> BigInt(112 - 16 * i)) & 0xffffn).toString(16));
  let best = { at: -1, length: 1 };
  for (let i = 0; i < 8; i++) {
    let n = 0;
    while (i + n < 8 && groups[i + n] === "0") n++;
    if (n > best.length) best = { at: i, length: n };
  }
  if (best.at < 0) return groups.join(":");
  return `${groups.slice(0, best.at).join(":")}::${groups.slice(best.at + best.length).join(":")}`;
}

/** Hands out the parts of a range that have a given prefix length, lowest first. */
export class CidrSet {
  readonly #range: Cidr;
  readonly #size: number;
  readonly #used = new Set<number>();
  /** No part below is free. */
  #lowest = 0;

  /** Throws a RangeError when parts are larger than the range, or there would be more than 2^16 of them. */
  constructor(range: Cidr, size: number) {
    if (size < range.prefix || size > range.bits) throw new RangeError(`a mask size of ${size} does not fit ${formatCidr(range)}`);
    if (size - range.prefix > 16) throw new RangeError(`the mask size ${size} is more than 16 bits below ${formatCidr(range)}`);
    this.#range = range;
    this.#size = size;
  }

  get capacity(): number {
    return 2 ** (this.#size - this.#range.prefix);
  }

  get used(): number {
    return this.#used.size;
  }

  /** The next free part; undefined when none is left. */
  allocate(): Cidr | undefined {
    for (let i = this.#lowest; i < this.capacity; i++) {
      if (this.#used.has(i)) continue;
      this.#used.add(i);
      this.#lowest = i + 1;
      return { base: this.#range.base + (BigInt(i) << BigInt(this.#range.bits - this.#size)), bits: this.#range.bits, prefix: this.#size };
    }
    return undefined;
  }

  /** Takes the parts that `cidr` touches. Returns false when it lies outside of the range. */
  occupy(cidr: Cidr): boolean {
    const parts = this.#parts(cidr);
    if (!parts) return false;
    for (let i = parts[0]; i <= parts[1]; i++) this.#used.add(i);
    return true;
  }

  release(cidr: Cidr): void {
    const parts = this.#parts(cidr);
    if (!parts) return;
    for (let i = parts[0]; i <= parts[1]; i++) this.#used.delete(i);
    this.#lowest = Math.min(this.#lowest, parts[0]);
  }

  #parts(cidr: Cidr): [first: number, last: number] | undefined {
    if (cidr.bits !== this.#range.bits) return undefined;
    const unit = BigInt(cidr.bits - this.#size);
    const first = (cidr.base - this.#range.base) >> unit;
    const last = (cidr.base + (1n << BigInt(cidr.bits - cidr.prefix)) - 1n - this.#range.base) >> unit;
    const most = BigInt(this.capacity - 1);
    if (last < 0n || first > most) return undefined;
    return [Number(first < 0n ? 0n : first), Number(last > most ? most : last)];
  }
}
