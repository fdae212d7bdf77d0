// Versions as a chunk of a snapshot holds them: a row of numbers for each, and
// their keys and values one behind the other. Two byte strings cost an eighth
// of what seven CBOR items for each version cost, and while a snapshot is
// written nothing else is.
//
//   row   key bytes u32 | value bytes u32 | create revision f64 |
//         mod revision f64 | version f64 | lease i64 | sub u32, little-endian
import { keyTextAt, writeKey } from "../mvcc/key.ts";
import { NO_LEASE, Version } from "../mvcc/types.ts";

const ROW = 44;
/** Versions, and bytes, after which a chunk is better closed. */
const MOST = 512;
const CLOSED_AT = 256 * 1024;

export interface Packed {
  rows: Uint8Array;
  /** Key and value of the first version, then of the second, and so on. */
  bytes: Uint8Array;
}

type CopyParts = { copy(this: Uint8Array, target: Uint8Array, at: number, start: number, end: number): number };
const { copy } = Buffer.prototype as unknown as CopyParts;

export class Packer {
  #rows = new Uint8Array(MOST * ROW);
  #view = new DataView(this.#rows.buffer);
  #bytes = new Uint8Array(2 * CLOSED_AT);
  #count = 0;
  #end = 0;

  get empty(): boolean {
    return this.#count === 0;
  }

  get full(): boolean {
    return this.#count >= MOST || this.#end >= CLOSED_AT;
  }

  add(v: Version): void {
    const row = this.#count++ * ROW;
    const { text, valueAt, valueEnd } = v;
    const valueStart = this.#end + text.length;
    const end = valueStart + valueEnd - valueAt;
    if (row === this.#rows.length) {
      this.#rows = grown(this.#rows, row + ROW);
      this.#view = new DataView(this.#rows.buffer);
    }
    if (end > this.#bytes.length) this.#bytes = grown(this.#bytes, end);
    const view = this.#view;
    view.setUint32(row, text.length, true);
    view.setUint32(row + 4, valueEnd - valueAt, true);
    view.setFloat64(row + 8, v.createRevision, true);
    view.setFloat64(row + 16, v.modRevision, true);
    view.setFloat64(row + 24, v.version, true);
    view.setBigInt64(row + 32, v.lease, true);
    view.setUint32(row + 40, v.sub, true);
    writeKey(text, this.#bytes, this.#end);
    copy.call(v.bytes, this.#bytes, valueStart, valueAt, valueEnd);
    this.#end = end;
  }

  /** What was added since the last call. */
  take(): Packed {
    const packed = { rows: this.#rows.slice(0, this.#count * ROW), bytes: this.#bytes.slice(0, this.#end) };
    this.#count = this.#end = 0;
    return packed;
  }
}

function grown(bytes: Uint8Array, least: number): Uint8Array<ArrayBuffer> {
  const larger = new Uint8Array(Math.max(least, 2 * bytes.length));
  larger.set(bytes);
  return larger;
}

/**
 * Visits the versions in the order in which they were added. Their values are copies.
 *
 * @throws Error where rows and bytes do not fit together
 */
export function unpack({ rows, bytes }: Packed, visit: (version: Version) => void): void {
  const view = new DataView(rows.buffer, rows.byteOffset, rows.byteLength);
  let at = 0;
  for (let row = 0; row + ROW <= rows.length; row += ROW) {
    const valueAt = at + view.getUint32(row, true);
    const end = valueAt + view.getUint32(row + 4, true);
    if (end > bytes.length) break;
    const lease = view.getBigInt64(row + 32, true);
    visit(
      new Version(
        keyTextAt(bytes, at, valueAt),
        // A view would keep the whole chunk in memory.
        bytes.slice(valueAt, end),
        view.getFloat64(row + 8, true),
        view.getFloat64(row + 16, true),
        view.getFloat64(row + 24, true),
        lease === 0n ? NO_LEASE : lease,
        view.getUint32(row + 40, true),
      ),
    );
    at = end;
  }
  if (at !== bytes.length || rows.length % ROW !== 0) throw new Error("a snapshot has versions that do not fill their chunk");
}
