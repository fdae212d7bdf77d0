// Versions as snapshots of format 2 and before hold them: seven items of a CBOR
// array for each, key, value, create, mod, version, lease, sub.
import { keyText } from "../mvcc/key.ts";
import { NO_LEASE, Version } from "../mvcc/types.ts";

const FIELDS = 7;

export function visitFlat(items: readonly unknown[], visit: (version: Version) => void): void {
  for (let at = 0; at < items.length; at += FIELDS) visit(versionAt(items, at));
}

function versionAt(items: readonly unknown[], at: number): Version {
  const [key, value, create, mod, version, lease, sub] = items.slice(at, at + FIELDS) as [
    Uint8Array,
    Uint8Array,
    number,
    number,
    number,
    bigint | number,
    number,
  ];
  // A copy, for a view would keep the whole chunk in memory.
  return new Version(keyText(key), new Uint8Array(value), create, mod, version, lease === 0 ? NO_LEASE : BigInt(lease), sub);
}
