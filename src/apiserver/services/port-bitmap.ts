// Which node ports are taken, as upstream keeps it in the store: the bits of a
// big number, written with its highest byte first and without leading zeros
// (k8s.io/kubernetes/pkg/registry/core/service/allocator, AllocationBitmap).
import { AllocationError, type PortRange } from "./allocator.ts";

export class PortBitmap {
  readonly range: PortRange;
  /** Bit n of byte n / 8, counted from the lowest. */
  readonly #bits: Uint8Array;

  constructor(range: PortRange, bits = new Uint8Array(Math.ceil((range.to - range.from + 1) / 8))) {
    this.range = range;
    this.#bits = bits;
  }

  /** The ports of another range that are in this one stay taken. Throws an AllocationError where the text is no range. */
  static decode(range: PortRange, stored: { range: string; data?: string }): PortBitmap {
    const m = /^(\d+)-(\d+)$/.exec(stored.range);
    if (!m) throw new AllocationError(`the stored range ${JSON.stringify(stored.range)} is not a range of ports`);
    const bytes = Buffer.from(stored.data ?? "", "base64").reverse();
    const bitmap = new PortBitmap(range);
    for (let port = Number(m[1]); port <= Number(m[2]); port++) {
      const n = port - Number(m[1]);
      if (((bytes[n >> 3] ?? 0) >> (n & 7)) & 1) bitmap.set(port);
    }
    return bitmap;
  }

  encode(): { range: string; data: string } {
    const length = this.#bits.findLastIndex((byte) => byte !== 0) + 1;
    return { range: rangeText(this.range), data: Buffer.from(this.#bits.subarray(0, length)).reverse().toString("base64") };
  }

  has(port: number): boolean {
    const n = this.#at(port);
    return n >= 0 && ((this.#bits[n >> 3]! >> (n & 7)) & 1) === 1;
  }

  /** Ports outside the range are left alone. */
  set(port: number): void {
    const n = this.#at(port);
    if (n >= 0) this.#bits[n >> 3]! |= 1 << (n & 7);
  }

  clear(port: number): void {
    const n = this.#at(port);
    if (n >= 0) this.#bits[n >> 3]! &= ~(1 << (n & 7));
  }

  /** Those that are taken, in order. */
  *ports(): Generator<number> {
    for (let port = this.range.from; port <= this.range.to; port++) if (this.has(port)) yield port;
  }

  copy(): PortBitmap {
    return new PortBitmap(this.range, this.#bits.slice());
  }

  equals(other: PortBitmap): boolean {
    return Buffer.compare(this.#bits, other.#bits) === 0;
  }

  #at(port: number): number {
    return port > this.range.to ? -1 : port - this.range.from;
  }
}

export const rangeText = (range: PortRange): string => `${range.from}-${range.to}`;
