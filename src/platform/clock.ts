// A clock that is never set and never stands still.
import { ptr } from "bun:ffi";
import { libc } from "./ffi.ts";

const CLOCK_BOOTTIME = 7;

const time = new BigInt64Array(2);
let address: ReturnType<typeof ptr> | undefined;

/**
 * Milliseconds since the machine started. Unlike performance.now(), it goes on
 * while the machine sleeps (clock_gettime(2), CLOCK_BOOTTIME).
 */
export function bootTime(): number {
  address ??= ptr(time);
  libc().clock_gettime(CLOCK_BOOTTIME, address);
  return Number(time[0]) * 1000 + Number(time[1]) / 1e6;
}
