// Appends on their way to a follower: their last indexes and their sizes, in a
// ring that grows with use.

export class Inflight {
  readonly #most: number;
  readonly #mostBytes: number;
  #indexes: Float64Array;
  #sizes: Float64Array;
  #start = 0;
  #count = 0;
  #bytes = 0;

  constructor(most: number, mostBytes: number) {
    this.#most = most;
    this.#mostBytes = mostBytes;
    const room = Math.min(most, 8);
    this.#indexes = new Float64Array(room);
    this.#sizes = new Float64Array(room);
  }

  get count(): number {
    return this.#count;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get full(): boolean {
    return this.#count >= this.#most || this.#bytes >= this.#mostBytes;
  }

  add(lastIndex: number, bytes: number): void {
    if (this.#count === this.#indexes.length) this.#grow();
    const at = (this.#start + this.#count++) % this.#indexes.length;
    this.#indexes[at] = lastIndex;
    this.#sizes[at] = bytes;
    this.#bytes += bytes;
  }

  /** Those whose last index is at most this one have arrived. */
  freeTo(index: number): void {
    while (this.#count > 0 && this.#indexes[this.#start]! <= index) {
      this.#bytes -= this.#sizes[this.#start]!;
      this.#start = (this.#start + 1) % this.#indexes.length;
      this.#count--;
    }
  }

  clear(): void {
    this.#start = this.#count = this.#bytes = 0;
  }

  #grow(): void {
    const grown = (ring: Float64Array) => {
      const next = new Float64Array(Math.max(1, ring.length * 2));
      for (let i = 0; i < this.#count; i++) next[i] = ring[(this.#start + i) % ring.length]!;
      return next;
    };
    this.#indexes = grown(this.#indexes);
    this.#sizes = grown(this.#sizes);
    this.#start = 0;
  }
}
