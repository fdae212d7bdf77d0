// Consistent hashing tables, built by the kernel of wasm/proxy.
import { readFileSync } from "node:fs";
import path from "../../wasm/build/proxy.wasm" with { type: "file" };

/** Primes: a table about ten times as long as there are backends keeps their shares within a tenth of each other. */
const sizes = [61, 251, 1021, 4093, 16381, 65521];

/** Slots of the table for so many backends. */
export function tableSize(backends: number): number {
  return sizes.find((s) => s >= backends * 10) ?? sizes.at(-1)!;
}

type Build = (ends: number, names: number, count: number, scratch: number, table: number, size: number) => void;
/** Where the kernel's memory is ours. */
const start = 1024;

export class Maglev {
  readonly #memory = new WebAssembly.Memory({ initial: 1 });
  readonly #build: Build;
  readonly #encoder = new TextEncoder();

  constructor(load: (memory: WebAssembly.Memory) => Build = loadKernel) {
    this.#build = load(this.#memory);
  }

  /**
   * The backend's index for each slot; -1 everywhere without backends. The
   * names decide: the same names in the same order give the same table, and a
   * name that comes or goes moves few slots of the others.
   */
  table(names: readonly string[], size = tableSize(names.length)): Int32Array {
    const bytes = names.map((n) => this.#encoder.encode(n));
    const length = bytes.reduce((sum, b) => sum + b.length, 0);
    const table = start;
    const ends = table + size * 4;
    const scratch = ends + names.length * 4;
    const namesAt = scratch + names.length * 8;
    const missing = namesAt + length - this.#memory.buffer.byteLength;
    if (missing > 0) this.#memory.grow(Math.ceil(missing / 65536));
    const u32 = new Uint32Array(this.#memory.buffer);
    const u8 = new Uint8Array(this.#memory.buffer);
    let end = 0;
    bytes.forEach((b, i) => {
      u8.set(b, namesAt + end);
      end += b.length;
      u32[ends / 4 + i] = end;
    });
    this.#build(ends, namesAt, names.length, scratch, table, size);
    return new Int32Array(this.#memory.buffer, table, size).slice();
  }
}

let compiled: WebAssembly.Module | undefined;

function loadKernel(memory: WebAssembly.Memory): Build {
  compiled ??= new WebAssembly.Module(readFileSync(path));
  return new WebAssembly.Instance(compiled, { env: { memory } }).exports.build as Build;
}
