// What the disk was given and what it holds for good. Writes are numbered, so
// that a suffix that was overwritten, and then written again, does not count
// as durable when the first of the three writes is.

export class Disk {
  #write = 0;
  #done = 0;
  /** Up to where the log was given to the disk, and is there for good. */
  #given: number;
  #durable: number;
  /** Writes under way, and up to which index each makes the log durable. */
  #pending: { write: number; index: number }[] = [];

  constructor(index: number) {
    this.#given = index;
    this.#durable = index;
  }

  get given(): number {
    return this.#given;
  }

  get durable(): number {
    return this.#durable;
  }

  /** The newest write. */
  get write(): number {
    return this.#write;
  }

  /** The newest write that is done, with all before it. */
  get done(): number {
    return this.#done;
  }

  /** Numbers a write that brings the log to this index. */
  give(index: number): number {
    this.#given = index;
    this.#pending.push({ write: ++this.#write, index });
    return this.#write;
  }

  /** The log has other entries from this index on than those given. */
  replaced(from: number): void {
    const kept = from - 1;
    if (this.#given <= kept) return;
    this.#given = kept;
    this.#durable = Math.min(this.#durable, kept);
    for (const p of this.#pending) p.index = Math.min(p.index, kept);
  }

  /** All writes up to this one are durable. */
  finish(write: number): void {
    if (write > this.#write) throw new RangeError(`write ${write} can't be durable, the newest is ${this.#write}`);
    this.#done = Math.max(this.#done, write);
    let n = 0;
    for (; n < this.#pending.length && this.#pending[n]!.write <= write; n++) {
      this.#durable = Math.max(this.#durable, this.#pending[n]!.index);
    }
    if (n > 0) this.#pending.splice(0, n);
  }
}
