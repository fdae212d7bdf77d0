// The kernel of wasm/scheduler in TypeScript, over the same memory: what tests
// compare the kernel with.
import * as L from "../../wasm/scheduler/layout.ts";
import type { Kernel } from "./kernel.ts";

function leftover(capacity: number, requested: number): number {
  return capacity !== 0 && requested <= capacity ? Math.floor(((capacity - requested) * 100) / capacity) : 0;
}

function leastAllocated(cpu: number, cpuUsed: number, memory: number, memoryUsed: number): number {
  const sum = leftover(cpu, cpuUsed) + leftover(memory, memoryUsed);
  return cpu !== 0 && memory !== 0 ? Math.floor(sum / 2) : sum;
}

function balanced(cpu: number, cpuUsed: number, memory: number, memoryUsed: number): number {
  if (cpu === 0 || memory === 0) return 100;
  const deviation = Math.abs(Math.min(cpuUsed / cpu, 1) - Math.min(memoryUsed / memory, 1)) / 2;
  return Math.floor((1 - deviation) * 100);
}

export function twin(memory: WebAssembly.Memory): Kernel {
  return (header, pods, count, commit) => {
    const f64 = new Float64Array(memory.buffer);
    const i32 = new Int32Array(memory.buffer);
    const u32 = new Uint32Array(memory.buffer);
    const u8 = new Uint8Array(memory.buffer);
    const word = (i: number) => u32[header / 4 + i]!;
    const rows = word(L.HEADER_ROWS);
    const resources = word(L.HEADER_RESOURCES);
    const stride = word(L.HEADER_STRIDE) / 8;
    const alloc = word(L.HEADER_ALLOC) / 8;
    const used = word(L.HEADER_USED) / 8;
    const nonzero = word(L.HEADER_NONZERO) / 8;
    const flags = word(L.HEADER_FLAGS) / 4;
    const taints = word(L.HEADER_TAINTS) / 4;
    const verdicts = word(L.HEADER_VERDICT) / 4;
    const scores = word(L.HEADER_SCORE) / 4;

    for (let p = 0; p < count; p++) {
      const pod = (pods + p * L.POD_BYTES) / 4;
      const request = (r: number) => f64[(pods + p * L.POD_BYTES + L.POD_REQUEST_BYTE) / 8 + r]!;
      const floor = (r: number) => f64[(pods + p * L.POD_BYTES + L.POD_NONZERO_BYTE) / 8 + r]!;
      const field = (i: number) => u32[pod + i]!;
      const soft = (row: number) => (field(L.POD_TAINTS) === 0 ? 0 : i32[field(L.POD_TAINTS) / 4 + i32[taints + row]!]!);
      const preferred = (row: number) => (field(L.POD_PREFERRED) === 0 ? 0 : i32[field(L.POD_PREFERRED) / 4 + row]!);

      const verdict = (row: number): number => {
        let v = 0;
        if (!(i32[flags + row]! & L.FLAG_PRESENT)) v |= L.VERDICT_ABSENT;
        if (i32[flags + row]! & L.FLAG_UNSCHEDULABLE && field(L.POD_TOLERATES_UNSCHEDULABLE) === 0) v |= L.VERDICT_UNSCHEDULABLE;
        const node = i32[pod + L.POD_NODE]!;
        if (node !== L.NODE_ANY && node !== row) v |= L.VERDICT_NODE_NAME;
        if (soft(row) < 0) v |= L.VERDICT_TAINT;
        if (field(L.POD_MASK) !== 0) v |= u8[field(L.POD_MASK) + row]! << L.VERDICT_MASK_SHIFT;
        for (let r = 0; r < resources; r++) {
          if (request(r) !== 0 && f64[alloc + r * stride + row]! - f64[used + r * stride + row]! < request(r)) v |= 1 << r;
        }
        return v;
      };
      const base = (row: number): number => {
        const cpu = f64[alloc + row]!;
        const bytes = f64[alloc + stride + row]!;
        let score = leastAllocated(cpu, f64[nonzero + row]! + floor(0), bytes, f64[nonzero + stride + row]! + floor(1));
        if (field(L.POD_BEST_EFFORT) === 0)
          score += balanced(cpu, f64[used + row]! + request(0), bytes, f64[used + stride + row]! + request(1));
        return score + (field(L.POD_EXTRA) === 0 ? 0 : i32[field(L.POD_EXTRA) / 4 + row]!);
      };

      const feasible: number[] = [];
      for (let row = 0; row < rows; row++) {
        i32[verdicts + row] = verdict(row);
        i32[scores + row] = -1;
        if (i32[verdicts + row] === 0) feasible.push(row);
      }
      const mostTaints = Math.max(0, ...feasible.map(soft));
      const mostPreferred = Math.max(0, ...feasible.map(preferred));
      for (const row of feasible) {
        const taint = mostTaints > 0 ? 100 - Math.trunc((100 * soft(row)) / mostTaints) : 100;
        const affinity = mostPreferred > 0 ? Math.trunc((100 * preferred(row)) / mostPreferred) : 0;
        i32[scores + row] = base(row) + taint * L.WEIGHT_TAINTS + affinity * L.WEIGHT_AFFINITY;
      }
      const best = Math.max(-1, ...feasible.map((row) => i32[scores + row]!));
      const tied = feasible.filter((row) => i32[scores + row] === best);
      const chosen = tied[field(L.POD_RANDOM) % Math.max(1, tied.length)] ?? -1;
      i32[pod + L.POD_ROW] = chosen;
      i32[pod + L.POD_FEASIBLE] = feasible.length;
      i32[pod + L.POD_TIES] = tied.length;
      i32[pod + L.POD_BEST] = best;
      if (!commit || chosen < 0) continue;
      for (let r = 0; r < resources; r++) f64[used + r * stride + chosen]! += request(r);
      for (let r = 0; r < 2; r++) f64[nonzero + r * stride + chosen]! += floor(r);
    }
  };
}
