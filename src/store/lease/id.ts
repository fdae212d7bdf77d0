import type { Lessor } from "./lessor.ts";

/** An id that no lease has, positive as an int64. */
export function freeLeaseId(lessor: Lessor): bigint {
  for (;;) {
    const id = crypto.getRandomValues(new BigUint64Array(1))[0]! & 0x7fff_ffff_ffff_ffffn;
    if (id !== 0n && !lessor.has(id)) return id;
  }
}
