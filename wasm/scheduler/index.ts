// Filter and score of every node for a batch of pods. The memory is described
// in layout.ts; src/scheduler/kernel-twin.ts is the same in TypeScript.
import {
  FLAG_PRESENT,
  FLAG_UNSCHEDULABLE,
  HEADER_ALLOC,
  HEADER_FLAGS,
  HEADER_NONZERO,
  HEADER_RESOURCES,
  HEADER_ROWS,
  HEADER_SCORE,
  HEADER_STRIDE,
  HEADER_TAINTS,
  HEADER_USED,
  HEADER_VERDICT,
  NODE_ANY,
  POD_BEST,
  POD_BEST_EFFORT,
  POD_BYTES,
  POD_EXTRA,
  POD_FEASIBLE,
  POD_MASK,
  POD_NODE,
  POD_NONZERO_BYTE,
  POD_PREFERRED,
  POD_RANDOM,
  POD_REQUEST_BYTE,
  POD_ROW,
  POD_TAINTS,
  POD_TIES,
  POD_TOLERATES_UNSCHEDULABLE,
  VERDICT_ABSENT,
  VERDICT_MASK_SHIFT,
  VERDICT_NODE_NAME,
  VERDICT_TAINT,
  VERDICT_UNSCHEDULABLE,
  WEIGHT_AFFINITY,
  WEIGHT_TAINTS,
} from "./layout";

function word(base: usize, index: i32): u32 {
  return load<u32>(base + ((<usize>index) << 2));
}

function put(base: usize, index: i32, value: i32): void {
  store<i32>(base + ((<usize>index) << 2), value);
}

/** Lanes of two f64 masks as one i32 mask of four rows. */
function narrow(low: v128, high: v128): v128 {
  return v128.shuffle<i32>(low, high, 0, 2, 4, 6);
}

function largest(lanes: v128): i32 {
  const pairs = i32x4.max_s(lanes, v128.shuffle<i32>(lanes, lanes, 2, 3, 0, 1));
  return max(i32x4.extract_lane(pairs, 0), i32x4.extract_lane(pairs, 1));
}

/** 100 × what is left / capacity, rounded down; 0 where it does not fit. */
function leftover(capacity: v128, requested: v128): v128 {
  const zero = f64x2.splat(0);
  const score = f64x2.floor(f64x2.div(f64x2.mul(f64x2.sub(capacity, requested), f64x2.splat(100)), capacity));
  const fits = v128.and(f64x2.ne(capacity, zero), f64x2.le(requested, capacity));
  return v128.and(score, fits);
}

/** Mean of the two leftovers, over those resources that the node has. */
function leastAllocated(cpu: v128, cpuUsed: v128, memory: v128, memoryUsed: v128): v128 {
  const zero = f64x2.splat(0);
  const both = v128.and(f64x2.ne(cpu, zero), f64x2.ne(memory, zero));
  const sum = f64x2.add(leftover(cpu, cpuUsed), leftover(memory, memoryUsed));
  return v128.bitselect(f64x2.floor(f64x2.mul(sum, f64x2.splat(0.5))), sum, both);
}

/** 100 × (1 − half the distance of the two fractions in use), rounded down. */
function balanced(cpu: v128, cpuUsed: v128, memory: v128, memoryUsed: v128): v128 {
  const zero = f64x2.splat(0);
  const one = f64x2.splat(1);
  const both = v128.and(f64x2.ne(cpu, zero), f64x2.ne(memory, zero));
  const a = f64x2.min(f64x2.div(cpuUsed, cpu), one);
  const b = f64x2.min(f64x2.div(memoryUsed, memory), one);
  const deviation = v128.and(f64x2.mul(f64x2.abs(f64x2.sub(a, b)), f64x2.splat(0.5)), both);
  return f64x2.floor(f64x2.mul(f64x2.sub(one, deviation), f64x2.splat(100)));
}

function one(header: usize, pod: usize, commit: bool): void {
  const rows = <i32>word(header, HEADER_ROWS);
  const resources = <i32>word(header, HEADER_RESOURCES);
  const stride = <usize>word(header, HEADER_STRIDE);
  const alloc = <usize>word(header, HEADER_ALLOC);
  const used = <usize>word(header, HEADER_USED);
  const nonzero = <usize>word(header, HEADER_NONZERO);
  const flags = <usize>word(header, HEADER_FLAGS);
  const taints = <usize>word(header, HEADER_TAINTS);
  const verdicts = <usize>word(header, HEADER_VERDICT);
  const scores = <usize>word(header, HEADER_SCORE);

  const node = <i32>word(pod, POD_NODE);
  const taintTable = <usize>word(pod, POD_TAINTS);
  const mask = <usize>word(pod, POD_MASK);
  const preferred = <usize>word(pod, POD_PREFERRED);
  const extra = <usize>word(pod, POD_EXTRA);
  const bestEffort = word(pod, POD_BEST_EFFORT) !== 0;
  const requests = pod + POD_REQUEST_BYTE;

  const zeroes = i32x4.splat(0);
  const cordoned = word(pod, POD_TOLERATES_UNSCHEDULABLE) !== 0 ? zeroes : i32x4.splat(VERDICT_UNSCHEDULABLE);
  const cpuNonzero = f64x2.splat(load<f64>(pod + POD_NONZERO_BYTE));
  const memoryNonzero = f64x2.splat(load<f64>(pod + POD_NONZERO_BYTE + 8));
  const cpuRequest = f64x2.splat(load<f64>(requests));
  const memoryRequest = f64x2.splat(load<f64>(requests + 8));

  let feasible = 0;
  let mostTaints = 0;
  let mostPreferred = 0;

  for (let i = 0; i < rows; i += 4) {
    const at4 = (<usize>i) << 2;
    const at8 = (<usize>i) << 3;
    const flag = v128.load(flags + at4);
    let verdict = v128.and(i32x4.eq(v128.and(flag, i32x4.splat(FLAG_PRESENT)), zeroes), i32x4.splat(VERDICT_ABSENT));
    verdict = v128.or(verdict, v128.and(i32x4.ne(v128.and(flag, i32x4.splat(FLAG_UNSCHEDULABLE)), zeroes), cordoned));
    if (node !== NODE_ANY) {
      const row = i32x4.add(i32x4.splat(i), i32x4(0, 1, 2, 3));
      verdict = v128.or(verdict, v128.and(i32x4.ne(row, i32x4.splat(node)), i32x4.splat(VERDICT_NODE_NAME)));
    }
    let soft = zeroes;
    if (taintTable !== 0) {
      const sets = v128.load(taints + at4);
      soft = i32x4.replace_lane(soft, 0, load<i32>(taintTable + ((<usize>i32x4.extract_lane(sets, 0)) << 2)));
      soft = i32x4.replace_lane(soft, 1, load<i32>(taintTable + ((<usize>i32x4.extract_lane(sets, 1)) << 2)));
      soft = i32x4.replace_lane(soft, 2, load<i32>(taintTable + ((<usize>i32x4.extract_lane(sets, 2)) << 2)));
      soft = i32x4.replace_lane(soft, 3, load<i32>(taintTable + ((<usize>i32x4.extract_lane(sets, 3)) << 2)));
      verdict = v128.or(verdict, v128.and(i32x4.lt_s(soft, zeroes), i32x4.splat(VERDICT_TAINT)));
    }
    if (mask !== 0) {
      const bytes = i32x4.extend_low_i16x8_u(i16x8.extend_low_i8x16_u(v128.load32_zero(mask + <usize>i)));
      verdict = v128.or(verdict, i32x4.shl(bytes, VERDICT_MASK_SHIFT));
    }
    for (let r = 0; r < resources; r++) {
      const amount = load<f64>(requests + ((<usize>r) << 3));
      if (amount === 0) continue;
      const request = f64x2.splat(amount);
      const column = stride * <usize>r + at8;
      const low = f64x2.lt(f64x2.sub(v128.load(alloc + column), v128.load(used + column)), request);
      const high = f64x2.lt(f64x2.sub(v128.load(alloc + column, 16), v128.load(used + column, 16)), request);
      verdict = v128.or(verdict, v128.and(narrow(low, high), i32x4.splat(1 << r)));
    }
    v128.store(verdicts + at4, verdict);

    const fits = i32x4.eq(verdict, zeroes);
    if (!v128.any_true(fits)) {
      v128.store(scores + at4, i32x4.splat(-1));
      continue;
    }
    feasible += popcnt(i32x4.bitmask(fits));
    if (taintTable !== 0) {
      const counted = v128.and(soft, fits);
      mostTaints = max(mostTaints, largest(counted));
    }
    if (preferred !== 0) {
      const counted = v128.and(v128.load(preferred + at4), fits);
      mostPreferred = max(mostPreferred, largest(counted));
    }

    const memoryAt = stride + at8;
    const cpu0 = v128.load(alloc + at8);
    const cpu1 = v128.load(alloc + at8, 16);
    const memory0 = v128.load(alloc + memoryAt);
    const memory1 = v128.load(alloc + memoryAt, 16);
    let low = leastAllocated(
      cpu0,
      f64x2.add(v128.load(nonzero + at8), cpuNonzero),
      memory0,
      f64x2.add(v128.load(nonzero + memoryAt), memoryNonzero),
    );
    let high = leastAllocated(
      cpu1,
      f64x2.add(v128.load(nonzero + at8, 16), cpuNonzero),
      memory1,
      f64x2.add(v128.load(nonzero + memoryAt, 16), memoryNonzero),
    );
    if (!bestEffort) {
      low = f64x2.add(
        low,
        balanced(cpu0, f64x2.add(v128.load(used + at8), cpuRequest), memory0, f64x2.add(v128.load(used + memoryAt), memoryRequest)),
      );
      high = f64x2.add(
        high,
        balanced(cpu1, f64x2.add(v128.load(used + at8, 16), cpuRequest), memory1, f64x2.add(v128.load(used + memoryAt, 16), memoryRequest)),
      );
    }
    let score = v128.shuffle<i32>(i32x4.trunc_sat_f64x2_s_zero(low), i32x4.trunc_sat_f64x2_s_zero(high), 0, 1, 4, 5);
    if (extra !== 0) score = i32x4.add(score, v128.load(extra + at4));
    v128.store(scores + at4, v128.bitselect(score, i32x4.splat(-1), fits));
  }

  // What depends on the maximum over all feasible nodes, and the best.
  let best = -1;
  let ties = 0;
  const plain = mostTaints === 0 && mostPreferred === 0;
  for (let i = 0; i < rows; i++) {
    const at = (<usize>i) << 2;
    let score = load<i32>(scores + at);
    if (score < 0) continue;
    if (plain) score += 100 * WEIGHT_TAINTS;
    else {
      let taint = 100;
      if (mostTaints > 0) taint = 100 - (100 * load<i32>(taintTable + ((<usize>load<i32>(taints + at)) << 2))) / mostTaints;
      let affinity = 0;
      if (mostPreferred > 0) affinity = (100 * load<i32>(preferred + at)) / mostPreferred;
      score += taint * WEIGHT_TAINTS + affinity * WEIGHT_AFFINITY;
    }
    store<i32>(scores + at, score);
    if (score > best) {
      best = score;
      ties = 1;
    } else if (score === best) ties++;
  }

  let chosen = -1;
  if (ties > 0) {
    let skip = word(pod, POD_RANDOM) % <u32>ties;
    for (let i = 0; i < rows; i++) {
      if (load<i32>(scores + ((<usize>i) << 2)) !== best) continue;
      if (skip === 0) {
        chosen = i;
        break;
      }
      skip--;
    }
  }
  put(pod, POD_ROW, chosen);
  put(pod, POD_FEASIBLE, feasible);
  put(pod, POD_TIES, ties);
  put(pod, POD_BEST, best);
  if (!commit || chosen < 0) return;

  const at = (<usize>chosen) << 3;
  for (let r = 0; r < resources; r++) {
    const cell = used + stride * <usize>r + at;
    store<f64>(cell, load<f64>(cell) + load<f64>(requests + ((<usize>r) << 3)));
  }
  store<f64>(nonzero + at, load<f64>(nonzero + at) + load<f64>(pod + POD_NONZERO_BYTE));
  store<f64>(nonzero + stride + at, load<f64>(nonzero + stride + at) + load<f64>(pod + POD_NONZERO_BYTE + 8));
}

/**
 * Filters and scores all rows for `count` pods that stand one after the other
 * at `pods`, and picks a row for each. With `commit`, what a pod requests is in
 * use on its row before the next pod is looked at.
 */
export function schedule(header: usize, pods: usize, count: i32, commit: bool): void {
  for (let p = 0; p < count; p++) one(header, pods + <usize>p * POD_BYTES, commit);
}
