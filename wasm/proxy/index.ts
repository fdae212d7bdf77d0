// Maglev consistent hashing (Eisenbud et al., NSDI 2016, section 3.4): each
// backend prefers the slots of the table in an order of its own, and they take
// turns. src/proxy/maglev-twin.ts is the same in TypeScript.

/** MurmurHash3, x86, 32 bits. */
function murmur3(at: usize, length: i32, seed: u32): u32 {
  let hash = seed;
  const whole = length & ~3;
  for (let i = 0; i < whole; i += 4) {
    let k = load<u32>(at + <usize>i) * 0xcc9e2d51;
    k = rotl<u32>(k, 15) * 0x1b873593;
    hash = rotl<u32>(hash ^ k, 13) * 5 + 0xe6546b64;
  }
  let tail: u32 = 0;
  for (let i = length - 1; i >= whole; i--) tail = (tail << 8) | load<u8>(at + <usize>i);
  if (whole !== length) hash ^= rotl<u32>(tail * 0xcc9e2d51, 15) * 0x1b873593;
  hash ^= length;
  hash = (hash ^ (hash >>> 16)) * 0x85ebca6b;
  hash = (hash ^ (hash >>> 13)) * 0xc2b2ae35;
  return hash ^ (hash >>> 16);
}

/**
 * Fills a table of `size` slots, a prime, with indexes of backends.
 *
 *   ends      u32 × count   where the name of each backend ends in `names`
 *   names     u8            the names, one after the other
 *   scratch   u32 × 2·count written: the next slot that each backend wants, and its step
 *   table     i32 × size    written
 */
export function build(ends: usize, names: usize, count: i32, scratch: usize, table: usize, size: i32): void {
  memory.fill(table, 0xff, (<usize>size) << 2);
  if (count === 0) return;
  let start: u32 = 0;
  for (let i = 0; i < count; i++) {
    const end = load<u32>(ends + ((<usize>i) << 2));
    const at = names + <usize>start;
    const length = <i32>(end - start);
    store<u32>(scratch + ((<usize>i) << 3), murmur3(at, length, 0xdeafbabe) % <u32>size);
    store<u32>(scratch + ((<usize>i) << 3) + 4, (murmur3(at, length, 0x000decaf) % <u32>(size - 1)) + 1);
    start = end;
  }
  let filled = 0;
  for (;;) {
    for (let i = 0; i < count; i++) {
      const own = scratch + ((<usize>i) << 3);
      const step = load<u32>(own + 4);
      let slot = load<u32>(own);
      while (load<i32>(table + ((<usize>slot) << 2)) >= 0) {
        slot += step;
        if (slot >= <u32>size) slot -= size;
      }
      store<i32>(table + ((<usize>slot) << 2), i);
      slot += step;
      store<u32>(own, slot >= <u32>size ? slot - size : slot);
      if (++filled === size) return;
    }
  }
}
