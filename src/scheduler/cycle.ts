// One scheduling cycle: writes pods for the kernel, runs it, reads its choice.

import * as L from "../../wasm/scheduler/layout.ts";
import type * as coreV1 from "../api/gen/core/v1.ts";
import type { Cache, NodeInfo } from "./cache.ts";
import { maxBatch } from "./columns.ts";
import { MASK_AFFINITY, MASK_PORTS, MASK_RESOURCES, usedOther } from "./diagnosis.ts";
import { imageScores } from "./image-locality.ts";
import { matchesRequired, preference, preferredKey, requiredKey } from "./node-affinity.ts";
import type { PodInfo } from "./pod-info.ts";
import { portsConflict } from "./requests.ts";
import { disliked, toleratesUnschedulable, untolerated } from "./taints.ts";

/** Answers kept over cycles, by what was asked. */
const maxKept = 256;

export class Cycle {
  readonly #cache: Cache;
  readonly #random: () => number;
  #generation = -1;
  readonly #affinity = new Map<string, Uint8Array>();
  readonly #preferred = new Map<string, Int32Array>();
  readonly #taints = new Map<string, Int32Array>();
  /** Where this batch has its tables. */
  readonly #offsets = new Map<string, number>();

  /** `random`: from 0 to less than 1; breaks ties. */
  constructor(cache: Cache, random: () => number) {
    this.#cache = cache;
    this.#random = random;
  }

  /** Whether the choice for other pods of a batch leaves what this pod's mask says true. */
  static batchable(info: PodInfo): boolean {
    return info.ports.length === 0 && info.usage.others.length === 0;
  }

  /**
   * Finds a node for each pod, at most `maxBatch`. With `commit` each counts on
   * its node before the next is looked at.
   */
  run(infos: readonly PodInfo[], commit: boolean): (NodeInfo | undefined)[] {
    if (infos.length > maxBatch) throw new RangeError(`${infos.length} pods in a batch of ${maxBatch}`);
    const { columns } = this.#cache;
    this.#forgetStale();
    columns.beginBatch();
    this.#offsets.clear();
    for (let i = 0; i < infos.length; i++) this.#write(infos[i]!, columns.pods + i * L.POD_BYTES);
    columns.run(infos.length, commit);
    return infos.map((_, i) => {
      const row = columns.i32[(columns.pods + i * L.POD_BYTES) / 4 + L.POD_ROW]!;
      return row < 0 ? undefined : this.#cache.atRow(row);
    });
  }

  #write(info: PodInfo, at: number): void {
    const { columns } = this.#cache;
    const { spec } = info.pod;
    const tolerations = spec.tolerations ?? [];
    const taints = this.#taintTable(tolerations);
    const mask = this.#mask(info);
    const preferred = this.#preferences(spec);
    const extra = this.#extra(spec);
    // The views may have been replaced up to here, and are not after it.
    const { i32, f64 } = columns;
    const word = at / 4;
    i32[word + L.POD_RANDOM] = Math.floor(this.#random() * 2 ** 32);
    i32[word + L.POD_NODE] = spec.nodeName ? (this.#cache.node(spec.nodeName)?.row ?? L.NODE_UNKNOWN) : L.NODE_ANY;
    i32[word + L.POD_TOLERATES_UNSCHEDULABLE] = toleratesUnschedulable(tolerations) ? 1 : 0;
    i32[word + L.POD_TAINTS] = taints;
    i32[word + L.POD_MASK] = mask;
    i32[word + L.POD_PREFERRED] = preferred;
    i32[word + L.POD_EXTRA] = extra;
    i32[word + L.POD_BEST_EFFORT] = info.bestEffort ? 1 : 0;
    f64[(at + L.POD_NONZERO_BYTE) / 8] = info.usage.nonzeroCpu;
    f64[(at + L.POD_NONZERO_BYTE) / 8 + 1] = info.usage.nonzeroMemory;
    for (const [slot, amount] of info.usage.slots) f64[(at + L.POD_REQUEST_BYTE) / 8 + slot] = amount;
  }

  #forgetStale(): void {
    if (this.#generation !== this.#cache.generation) {
      this.#affinity.clear();
      this.#preferred.clear();
      this.#generation = this.#cache.generation;
    }
    for (const kept of [this.#affinity, this.#preferred, this.#taints]) if (kept.size > maxKept) kept.clear();
  }

  /** Puts a table into the kernel's memory once a batch. */
  #place(key: string, bytes: Uint8Array): number {
    let at = this.#offsets.get(key);
    if (at === undefined) {
      at = this.#cache.columns.take(Math.max(4, Math.ceil(bytes.byteLength / 16) * 16));
      this.#cache.columns.u8.set(bytes, at);
      this.#offsets.set(key, at);
    }
    return at;
  }

  #taintTable(tolerations: readonly coreV1.Toleration[]): number {
    const sets = this.#cache.columns.taintSets;
    if (sets.length === 1) return 0;
    const key = JSON.stringify(tolerations);
    let table = this.#taints.get(key);
    if (!table || table.length < sets.length) {
      table = Int32Array.from(sets, (set) => (untolerated(set, tolerations) ? L.TAINT_UNTOLERATED : disliked(set, tolerations)));
      this.#taints.set(key, table);
    }
    return this.#place(`taints ${key}`, bytesOf(table));
  }

  #perRow<A extends Uint8Array | Int32Array>(into: A, value: (at: NodeInfo) => number): A {
    for (const at of this.#cache.nodes()) into[at.row] = value(at);
    return into;
  }

  #affinityBytes(spec: coreV1.PodSpec, key: string): Uint8Array {
    let bytes = this.#affinity.get(key);
    if (!bytes) {
      const matches = (at: NodeInfo) => (at.node && matchesRequired(spec, at.node) ? 0 : MASK_AFFINITY);
      bytes = this.#perRow(new Uint8Array(this.#cache.columns.rows), matches);
      this.#affinity.set(key, bytes);
    }
    return bytes;
  }

  #mask(info: PodInfo): number {
    const key = requiredKey(info.pod.spec);
    const affinity = key === undefined ? undefined : this.#affinityBytes(info.pod.spec, key);
    if (Cycle.batchable(info)) return affinity ? this.#place(`mask ${key}`, affinity) : 0;
    const own = affinity ? affinity.slice() : new Uint8Array(this.#cache.columns.rows);
    for (const at of this.#cache.nodes()) own[at.row]! |= crowded(info, at);
    return this.#place(`mask of ${info.key}`, own);
  }

  #preferences(spec: coreV1.PodSpec): number {
    const key = preferredKey(spec);
    if (key === undefined) return 0;
    let weights = this.#preferred.get(key);
    if (!weights) {
      weights = this.#perRow(new Int32Array(this.#cache.columns.rows), (at) => (at.node ? preference(spec, at.node) : 0));
      this.#preferred.set(key, weights);
    }
    return this.#place(`preferred ${key}`, bytesOf(weights));
  }

  #extra(spec: coreV1.PodSpec): number {
    const key = `images ${spec.containers.map((c) => c.image).join(" ")}`;
    const placed = this.#offsets.get(key);
    if (placed !== undefined) return placed;
    const scores = imageScores(spec, this.#cache);
    return scores ? this.#place(key, bytesOf(scores)) : 0;
  }
}

const bytesOf = (table: Int32Array) => new Uint8Array(table.buffer, table.byteOffset, table.byteLength);

/** Mask bits for what other pods of the node have taken. */
export function crowded(info: PodInfo, at: NodeInfo): number {
  let mask = 0;
  if (info.ports.length > 0) {
    for (const other of at.pods.values()) if (info.ports.some((a) => other.ports.some((b) => portsConflict(a, b)))) mask |= MASK_PORTS;
  }
  for (const [name, wanted] of info.usage.others) if ((at.others.get(name) ?? 0) - usedOther(at, name) < wanted) mask |= MASK_RESOURCES;
  return mask;
}
