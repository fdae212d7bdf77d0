// Loads the scheduler's kernel over a memory.
import { readFileSync } from "node:fs";
import path from "../../wasm/build/scheduler.wasm" with { type: "file" };

/** See wasm/scheduler/layout.ts: byte offsets of the header and of the first of `count` pods. */
export type Kernel = (header: number, pods: number, count: number, commit: boolean) => void;

let compiled: WebAssembly.Module | undefined;

export function loadKernel(memory: WebAssembly.Memory): Kernel {
  compiled ??= new WebAssembly.Module(readFileSync(path));
  const instance = new WebAssembly.Instance(compiled, { env: { memory } });
  const schedule = instance.exports.schedule as (header: number, pods: number, count: number, commit: number) => void;
  return (header, pods, count, commit) => schedule(header, pods, count, commit ? 1 : 0);
}
