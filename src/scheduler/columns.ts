// The nodes in the kernel's memory, laid out as wasm/scheduler/layout.ts says.

import * as L from "../../wasm/scheduler/layout.ts";
import type * as coreV1 from "../api/gen/core/v1.ts";
import { type Kernel, loadKernel } from "./kernel.ts";

/** Pods in one call of the kernel. */
export const maxBatch = 64;

const headerAt = 1024;
const podsAt = headerAt + L.HEADER_WORDS * 4 + 16;
const columnsAt = Math.ceil((podsAt + maxBatch * L.POD_BYTES) / 64) * 64;
/** f64 columns, then four of i32. */
const bytesPerRow = (2 * L.RESOURCES_MAX + 2) * 8 + 4 * 4;

const fixed = ["cpu", "memory", "ephemeral-storage", "pods"];

/** Requests by resource slot; what has no slot is compared in TypeScript. */
export interface Usage {
  readonly slots: readonly (readonly [slot: number, amount: number])[];
  readonly others: readonly (readonly [name: string, amount: number])[];
  readonly nonzeroCpu: number;
  readonly nonzeroMemory: number;
}

export class Columns {
  readonly pods = podsAt;
  readonly #memory = new WebAssembly.Memory({ initial: 1 });
  readonly #kernel: Kernel;
  readonly #slots = new Map(fixed.map((name, i) => [name, i]));
  readonly #taintSets = new Map<string, number>([["[]", 0]]);
  readonly #taints: (readonly coreV1.Taint[])[] = [[]];
  readonly #free: number[] = [];
  #capacity = 0;
  #rows = 0;
  #scratchAt = columnsAt;
  #scratch = columnsAt;
  f64 = new Float64Array(this.#memory.buffer);
  i32 = new Int32Array(this.#memory.buffer);
  u8 = new Uint8Array(this.#memory.buffer);

  constructor(load: (memory: WebAssembly.Memory) => Kernel = loadKernel) {
    this.#kernel = load(this.#memory);
    this.#layOut(64);
  }

  /** Rows in use, and those between them that are not. */
  get rows(): number {
    return this.#rows;
  }
  get resources(): readonly string[] {
    return [...this.#slots.keys()];
  }
  /** Sets of taints seen so far; 0 is the empty one. */
  get taintSets(): readonly (readonly coreV1.Taint[])[] {
    return this.#taints;
  }

  /** The slot of a resource, made at its first use; undefined when there are no more. */
  slot(name: string): number | undefined {
    const found = this.#slots.get(name);
    if (found !== undefined || this.#slots.size === L.RESOURCES_MAX) return found;
    const made = this.#slots.size;
    this.#slots.set(name, made);
    this.i32[headerAt / 4 + L.HEADER_RESOURCES] = made + 1;
    return made;
  }

  addRow(): number {
    const free = this.#free.pop();
    if (free !== undefined) return free;
    if (this.#rows === this.#capacity) this.#layOut(this.#capacity * 2);
    const row = this.#rows++;
    this.i32[headerAt / 4 + L.HEADER_ROWS] = Math.ceil(this.#rows / 4) * 4;
    return row;
  }

  removeRow(row: number): void {
    for (let r = 0; r < L.RESOURCES_MAX; r++) {
      this.f64[this.#cell(L.HEADER_ALLOC, r, row)] = 0;
      this.f64[this.#cell(L.HEADER_USED, r, row)] = 0;
    }
    for (let r = 0; r < 2; r++) this.f64[this.#cell(L.HEADER_NONZERO, r, row)] = 0;
    this.setNode(row, new Map(), 0, []);
    this.#free.push(row);
  }

  /** `allocatable` by slot; `flags` of FLAG_*. */
  setNode(row: number, allocatable: ReadonlyMap<number, number>, flags: number, taints: readonly coreV1.Taint[]): void {
    for (let r = 0; r < this.#slots.size; r++) this.f64[this.#cell(L.HEADER_ALLOC, r, row)] = allocatable.get(r) ?? 0;
    this.i32[this.#word(L.HEADER_FLAGS) / 4 + row] = flags;
    this.i32[this.#word(L.HEADER_TAINTS) / 4 + row] = this.#taintSet(taints);
  }

  /** Adds what a pod requests to a row, or with -1 takes it away. */
  use(row: number, usage: Usage, sign: 1 | -1): void {
    for (const [slot, amount] of usage.slots) this.f64[this.#cell(L.HEADER_USED, slot, row)]! += sign * amount;
    this.f64[this.#cell(L.HEADER_NONZERO, 0, row)]! += sign * usage.nonzeroCpu;
    this.f64[this.#cell(L.HEADER_NONZERO, 1, row)]! += sign * usage.nonzeroMemory;
  }

  allocatable(row: number, slot: number): number {
    return this.f64[this.#cell(L.HEADER_ALLOC, slot, row)]!;
  }
  used(row: number, slot: number): number {
    return this.f64[this.#cell(L.HEADER_USED, slot, row)]!;
  }
  /** What the last run said of a row: VERDICT_* and resource bits. */
  verdict(row: number): number {
    return this.i32[this.#word(L.HEADER_VERDICT) / 4 + row]!;
  }
  score(row: number): number {
    return this.i32[this.#word(L.HEADER_SCORE) / 4 + row]!;
  }

  /** Forgets all that take() gave out. */
  beginBatch(): void {
    this.#scratch = this.#scratchAt;
    this.i32.fill(0, podsAt / 4, (podsAt + maxBatch * L.POD_BYTES) / 4);
  }

  /** Zeroed bytes for a table of one batch. May replace the views. */
  take(bytes: number): number {
    const at = this.#scratch;
    this.#scratch += Math.ceil(bytes / 16) * 16;
    this.#ensure(this.#scratch);
    this.u8.fill(0, at, this.#scratch);
    return at;
  }

  /** Runs the kernel over the first `count` pods. */
  run(count: number, commit: boolean): void {
    this.#kernel(headerAt, podsAt, count, commit);
  }

  #word(header: number): number {
    return this.i32[headerAt / 4 + header]!;
  }
  #cell(header: number, column: number, row: number): number {
    return this.#word(header) / 8 + column * this.#capacity + row;
  }

  #taintSet(taints: readonly coreV1.Taint[]): number {
    const key = JSON.stringify(taints.map((t) => [t.key, t.value ?? "", t.effect]));
    let id = this.#taintSets.get(key);
    if (id === undefined) {
      id = this.#taints.length;
      this.#taintSets.set(key, id);
      this.#taints.push(taints);
    }
    return id;
  }

  #ensure(bytes: number): void {
    const missing = bytes - this.#memory.buffer.byteLength;
    if (missing > 0) {
      this.#memory.grow(Math.ceil(missing / 65536));
      this.f64 = new Float64Array(this.#memory.buffer);
      this.i32 = new Int32Array(this.#memory.buffer);
      this.u8 = new Uint8Array(this.#memory.buffer);
    }
  }

  /** Moves the columns to their places for `capacity` rows. */
  #layOut(capacity: number): void {
    const before = this.#capacity;
    const old = before === 0 ? [] : Array.from({ length: 10 }, (_, i) => this.#word(i));
    const copy = before === 0 ? undefined : this.u8.slice(columnsAt, columnsAt + before * bytesPerRow);
    this.#capacity = capacity;
    this.#scratchAt = columnsAt + capacity * bytesPerRow;
    this.#scratch = this.#scratchAt;
    this.#ensure(this.#scratchAt);
    this.u8.fill(0, columnsAt, this.#scratchAt);

    let next = columnsAt;
    const take = (bytes: number) => {
      const at = next;
      next += bytes;
      return at;
    };
    const wide = capacity * 8;
    const header = [
      Math.ceil(this.#rows / 4) * 4,
      this.#slots.size,
      wide,
      take(wide * L.RESOURCES_MAX),
      take(wide * L.RESOURCES_MAX),
      take(wide * 2),
      take(capacity * 4),
      take(capacity * 4),
      take(capacity * 4),
      take(capacity * 4),
    ];
    this.i32.set(header, headerAt / 4);
    if (!copy) return;
    const move = (index: number, columns: number, width: number) => {
      for (let c = 0; c < columns; c++) {
        const from = old[index]! - columnsAt + c * before * width;
        this.u8.set(copy.subarray(from, from + before * width), header[index]! + c * capacity * width);
      }
    };
    move(L.HEADER_ALLOC, L.RESOURCES_MAX, 8);
    move(L.HEADER_USED, L.RESOURCES_MAX, 8);
    move(L.HEADER_NONZERO, 2, 8);
    move(L.HEADER_FLAGS, 1, 4);
    move(L.HEADER_TAINTS, 1, 4);
  }
}
