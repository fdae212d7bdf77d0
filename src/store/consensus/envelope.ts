// Who proposed an entry: what a member finds in the log, it knows to be its own
// by these bytes in front of the command, through whatever leader it went.
//
//   0xe0 | origin u64 | number u48 | command
//
// In version 1 of the log, entries are commands alone.

/** No encoding of a command begins with it. */
const TAG = 0xe0;
/** Bytes in front of a command. */
export const ENVELOPE = 15;

/**
 * Writes the envelope into the room that was left for it. Byte by byte, as it
 * is read: a DataView would have the engine make a buffer object for every entry.
 */
export function seal(data: Uint8Array, origin: Uint8Array, number: number): void {
  data[0] = TAG;
  for (let i = 0; i < 8; i++) data[1 + i] = origin[i]!;
  const low = number % 0x1_0000_0000;
  const high = Math.floor(number / 0x1_0000_0000);
  data[9] = low;
  data[10] = low >>> 8;
  data[11] = low >>> 16;
  data[12] = low >>> 24;
  data[13] = high;
  data[14] = high >>> 8;
}

/** The number that this origin, eight bytes, gave it, or 0 if it is another's. */
export function numberOf(data: Uint8Array, origin: Uint8Array): number {
  if (data[0] !== TAG) return 0;
  for (let i = 0; i < 8; i++) if (data[1 + i] !== origin[i]) return 0;
  const low = (data[9]! | (data[10]! << 8) | (data[11]! << 16) | (data[12]! << 24)) >>> 0;
  return (data[13]! | (data[14]! << 8)) * 0x1_0000_0000 + low;
}

/** Where the command begins. */
export const commandAt = (data: Uint8Array): number => (data[0] === TAG ? ENVELOPE : 0);
