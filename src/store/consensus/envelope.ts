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

/** Writes the envelope into the room that was left for it. */
export function seal(data: Uint8Array, origin: bigint, number: number): void {
  const view = new DataView(data.buffer, data.byteOffset, ENVELOPE);
  view.setUint8(0, TAG);
  view.setBigUint64(1, origin, true);
  view.setUint32(9, number % 0x1_0000_0000, true);
  view.setUint16(13, Math.floor(number / 0x1_0000_0000), true);
}

/** The number that this origin gave it, or 0 if it is another's. */
export function numberOf(data: Uint8Array, origin: bigint): number {
  if (data[0] !== TAG) return 0;
  const view = new DataView(data.buffer, data.byteOffset, ENVELOPE);
  if (view.getBigUint64(1, true) !== origin) return 0;
  return view.getUint16(13, true) * 0x1_0000_0000 + view.getUint32(9, true);
}

/** The command's bytes. */
export const opened = (data: Uint8Array): Uint8Array => (data[0] === TAG ? data.subarray(ENVELOPE) : data);
