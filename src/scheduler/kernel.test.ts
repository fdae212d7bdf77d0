import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import * as L from "../../wasm/scheduler/layout.ts";
import { loadKernel } from "./kernel.ts";
import { twin } from "./kernel-twin.ts";

interface Row {
  present: boolean;
  cordoned: boolean;
  taints: number;
  /** allocatable and used, by resource */
  cells: [number, number][];
  mask: number;
  preferred: number;
  extra: number;
}
interface Pod {
  requests: number[];
  node: number;
  tolerates: boolean;
  table: number[] | undefined;
  masked: boolean;
  preferring: boolean;
  scored: boolean;
  random: number;
}

const resources = 5;
const taintSets = 4;

/** Lays the rows and pods out in a fresh memory, as columns.ts does. */
function lay(rows: Row[], pods: Pod[]): { memory: WebAssembly.Memory; header: number; pods: number; used: number } {
  const memory = new WebAssembly.Memory({ initial: 4 + Math.ceil((rows.length * (resources * 16 + 64)) / 65536) });
  const f64 = new Float64Array(memory.buffer);
  const i32 = new Int32Array(memory.buffer);
  const u8 = new Uint8Array(memory.buffer);
  const capacity = Math.ceil(rows.length / 4) * 4;
  let next = 1024;
  const take = (bytes: number) => {
    const at = next;
    next += Math.ceil(bytes / 16) * 16;
    return at;
  };
  const header = take(L.HEADER_WORDS * 4);
  const podsAt = take(pods.length * L.POD_BYTES);
  const at = {
    alloc: take(capacity * 8 * resources),
    used: take(capacity * 8 * resources),
    nonzero: take(capacity * 16),
    flags: take(capacity * 4),
    taints: take(capacity * 4),
    verdict: take(capacity * 4),
    score: take(capacity * 4),
    mask: take(capacity),
    preferred: take(capacity * 4),
    extra: take(capacity * 4),
  };
  const words = [capacity, resources, capacity * 8, at.alloc, at.used, at.nonzero, at.flags, at.taints, at.verdict, at.score];
  i32.set(words, header / 4);
  rows.forEach((row, i) => {
    row.cells.forEach(([a, u], r) => {
      f64[at.alloc / 8 + r * capacity + i] = a;
      f64[at.used / 8 + r * capacity + i] = u;
      if (r < 2) f64[at.nonzero / 8 + r * capacity + i] = u + 7;
    });
    i32[at.flags / 4 + i] = (row.present ? L.FLAG_PRESENT : 0) | (row.cordoned ? L.FLAG_UNSCHEDULABLE : 0);
    i32[at.taints / 4 + i] = row.taints;
    u8[at.mask + i] = row.mask;
    i32[at.preferred / 4 + i] = row.preferred;
    i32[at.extra / 4 + i] = row.extra;
  });
  pods.forEach((pod, p) => {
    const base = podsAt + p * L.POD_BYTES;
    const set = (i: number, v: number) => {
      i32[base / 4 + i] = v;
    };
    set(L.POD_RANDOM, pod.random);
    set(L.POD_NODE, pod.node);
    set(L.POD_TOLERATES_UNSCHEDULABLE, pod.tolerates ? 1 : 0);
    if (pod.table) {
      const table = take(taintSets * 4);
      i32.set(pod.table, table / 4);
      set(L.POD_TAINTS, table);
    }
    if (pod.masked) set(L.POD_MASK, at.mask);
    if (pod.preferring) set(L.POD_PREFERRED, at.preferred);
    if (pod.scored) set(L.POD_EXTRA, at.extra);
    set(L.POD_BEST_EFFORT, pod.requests[0] === 0 && pod.requests[1] === 0 ? 1 : 0);
    f64[(base + L.POD_NONZERO_BYTE) / 8] = pod.requests[0] || 100;
    f64[(base + L.POD_NONZERO_BYTE) / 8 + 1] = pod.requests[1] || 200 * 2 ** 20;
    pod.requests.forEach((v, r) => {
      f64[(base + L.POD_REQUEST_BYTE) / 8 + r] = v;
    });
  });
  return { memory, header, pods: podsAt, used: next };
}

const amount = fc.oneof(
  fc.constantFrom(0, 1, 100, 4000, 64_000, 2 ** 30, 16 * 2 ** 30, 1.5e12),
  fc.integer({ min: 0, max: 100_000 }),
  fc.integer({ min: 0, max: 2 ** 40 }),
);
const row: fc.Arbitrary<Row> = fc.record({
  present: fc.integer({ min: 0, max: 9 }).map((n) => n !== 0),
  cordoned: fc.integer({ min: 0, max: 9 }).map((n) => n === 0),
  taints: fc.integer({ min: 0, max: taintSets - 1 }),
  cells: fc.array(fc.tuple(amount, amount), { minLength: resources, maxLength: resources }),
  mask: fc.constantFrom(0, 0, 0, 1, 2, 255),
  preferred: fc.integer({ min: 0, max: 300 }),
  extra: fc.integer({ min: 0, max: 100 }),
});
const pod: fc.Arbitrary<Pod> = fc.record({
  requests: fc.array(fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 20_000 })), { minLength: resources, maxLength: resources }),
  node: fc.constantFrom(L.NODE_ANY, L.NODE_ANY, L.NODE_ANY, L.NODE_UNKNOWN, 0, 3),
  tolerates: fc.boolean(),
  table: fc.option(fc.array(fc.constantFrom(-1, 0, 1, 2, 3), { minLength: taintSets, maxLength: taintSets }), { nil: undefined }),
  masked: fc.boolean(),
  preferring: fc.boolean(),
  scored: fc.boolean(),
  random: fc.integer(),
});

describe("the scheduler's kernel", () => {
  test("leaves the same bytes as its twin in TypeScript, for any nodes and batch of pods", () => {
    fc.assert(
      fc.property(
        fc.array(row, { minLength: 0, maxLength: 40 }),
        fc.array(pod, { minLength: 1, maxLength: 6 }),
        fc.boolean(),
        (rows, pods, commit) => {
          const a = lay(rows, pods);
          const b = lay(rows, pods);
          loadKernel(a.memory)(a.header, a.pods, pods.length, commit);
          twin(b.memory)(b.header, b.pods, pods.length, commit);
          const left = new Uint8Array(a.memory.buffer, 0, a.used);
          const right = new Uint8Array(b.memory.buffer, 0, b.used);
          if (Buffer.compare(left, right) !== 0) {
            const i = left.findIndex((v, k) => v !== right[k]);
            throw new Error(`byte ${i}: kernel ${left[i]}, twin ${right[i]}`);
          }
        },
      ),
      { numRuns: 500 },
    );
  });

  test("picks each of the nodes that tie when the random number moves on", () => {
    const same: Row = {
      present: true,
      cordoned: false,
      taints: 0,
      cells: Array.from({ length: resources }, () => [1000, 0]),
      mask: 0,
      preferred: 0,
      extra: 0,
    };
    const pods = [0, 1, 2, 3].map((random) => ({
      requests: [10, 10, 0, 1, 0],
      node: L.NODE_ANY,
      tolerates: false,
      table: undefined,
      masked: false,
      preferring: false,
      scored: false,
      random,
    }));
    const m = lay([same, same, same], pods);
    loadKernel(m.memory)(m.header, m.pods, pods.length, false);
    const i32 = new Int32Array(m.memory.buffer);
    expect(pods.map((_, p) => i32[(m.pods + p * L.POD_BYTES) / 4 + L.POD_ROW])).toEqual([0, 1, 2, 0]);
  });
});
