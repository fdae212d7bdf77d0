// What a container wrote to one stream, from the lines of its log. The log does
// not tell whether its last line ended with a newline; what an attached client
// was sent does, so a newline at the end waits until that is known.
import type { LogLine } from "./log-format.ts";

/** Bytes at the end by which the two are compared. */
const compared = 256;

const nothing: Buffer = Buffer.alloc(0);
const newline: Buffer = Buffer.from("\n");

const endOf = (a: Buffer, b: Uint8Array): Buffer => {
  if (b.length >= compared) return Buffer.from(b.subarray(-compared));
  return Buffer.concat([a.subarray(-(compared - b.length)), b]);
};

const endsWith = (a: Buffer, b: Buffer): boolean => a.length >= b.length && a.subarray(a.length - b.length).equals(b);

export class AttachedOutput {
  /** The end of what the log has, without the newline that waits. */
  #logged: Buffer = nothing;
  /** The end of what was sent to an attached client. */
  #seen: Buffer = nothing;
  #waits = false;

  /** What a line of the log adds, but for the newline at its end. */
  line({ content, partial }: LogLine): Buffer {
    const out = this.#waits ? Buffer.concat([newline, content]) : content;
    this.#waits = !partial;
    this.#logged = endOf(this.#logged, out);
    return out;
  }

  /** An attached client was sent some of it. */
  seen(data: Uint8Array): void {
    if (data.length > 0) this.#seen = endOf(this.#seen, data);
  }

  /** Whether a newline waits. */
  get waits(): boolean {
    return this.#waits;
  }

  /** Whether the last line ended with a newline; undefined where what was sent does not tell, or not yet. */
  get ended(): boolean | undefined {
    if (this.#seen.length === 0) return undefined;
    if (endsWith(endOf(this.#logged, newline), this.#seen)) return true;
    return endsWith(this.#logged, this.#seen) ? false : undefined;
  }

  /** Whether an attached client was sent what the log does not have yet. */
  get behind(): boolean {
    return this.#seen.length > 0 && !endsWith(this.#logged, this.#seen) && !(this.#waits && this.ended === true);
  }

  /** The newline that waits, which now is known to be one. */
  release(): Buffer {
    if (!this.#waits) return nothing;
    this.#waits = false;
    this.#logged = endOf(this.#logged, newline);
    return newline;
  }
}
