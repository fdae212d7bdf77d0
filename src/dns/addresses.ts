// IP addresses as bytes, and as names below in-addr.arpa and ip6.arpa.

function ipv4(text: string): Uint8Array | undefined {
  const parts = text.split(".");
  if (parts.length !== 4 || !parts.every((p) => /^(0|[1-9]\d{0,2})$/.test(p) && Number(p) < 256)) return undefined;
  return Uint8Array.from(parts, Number);
}

function ipv6(text: string): Uint8Array | undefined {
  const halves = text.split("::");
  if (halves.length > 2 || !text.includes(":")) return undefined;
  const groups = halves.map((h) => (h === "" ? [] : h.split(":")));
  const [head = [], tail = []] = groups;
  const missing = 8 - head.length - tail.length;
  if (halves.length === 2 ? missing < 1 : missing !== 0) return undefined;
  const all = [...head, ...Array<string>(missing).fill("0"), ...tail];
  if (!all.every((g) => /^[0-9a-fA-F]{1,4}$/.test(g))) return undefined;
  return Uint8Array.from(all.flatMap((g) => [Number.parseInt(g, 16) >> 8, Number.parseInt(g, 16) & 255]));
}

/** Four or sixteen bytes; undefined for what is no address. */
export const addressBytes = (text: string): Uint8Array | undefined => ipv4(text) ?? ipv6(text);

/** The same text for the same address. */
export const reverseKey = (address: Uint8Array): string => address.join(".");

/** What reverseKey says of the address that a reverse name stands for; undefined for other names. */
export function addressOfReverse(name: string): string | undefined {
  if (name.endsWith(".in-addr.arpa")) {
    const bytes = ipv4(name.slice(0, -".in-addr.arpa".length).split(".").reverse().join("."));
    return bytes && reverseKey(bytes);
  }
  if (!name.endsWith(".ip6.arpa")) return undefined;
  const nibbles = name.slice(0, -".ip6.arpa".length).split(".").reverse();
  if (nibbles.length !== 32 || !nibbles.every((n) => /^[0-9a-f]$/.test(n))) return undefined;
  return reverseKey(Uint8Array.from({ length: 16 }, (_, i) => Number.parseInt(nibbles[2 * i]! + nibbles[2 * i + 1]!, 16)));
}
