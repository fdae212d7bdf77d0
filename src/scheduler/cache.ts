// The cluster as the scheduler sees it: nodes in columns, the pods on them, and
// the pods it assumes there before the apiserver says so.

import { FLAG_PRESENT, FLAG_UNSCHEDULABLE } from "../../wasm/scheduler/layout.ts";
import type * as coreV1 from "../api/gen/core/v1.ts";
import { Columns } from "./columns.ts";
import { hasEnded, type PodInfo, podInfo, podKey } from "./pod-info.ts";
import { amount } from "./requests.ts";

export interface NodeInfo {
  readonly name: string;
  readonly row: number;
  /** Absent while only its pods are known. */
  node: coreV1.Node | undefined;
  readonly pods: Map<string, PodInfo>;
  /** Allocatable amounts of resources that have no column. */
  others: ReadonlyMap<string, number>;
}

interface Placed {
  info: PodInfo;
  at: NodeInfo;
  /** Milliseconds since the epoch when an assumed pod is given up; undefined until its binding is done. */
  assumed: { expires: number | undefined } | undefined;
}

export class Cache {
  readonly columns: Columns;
  readonly #nodes = new Map<string, NodeInfo>();
  readonly #byRow: (NodeInfo | undefined)[] = [];
  readonly #pods = new Map<string, Placed>();
  /** Image name → row → bytes. */
  readonly #images = new Map<string, Map<number, number>>();
  #present = 0;
  /** Grows when a node comes, goes or changes its labels, so that what is derived from them can be kept. */
  generation = 0;

  constructor(columns = new Columns()) {
    this.columns = columns;
  }

  /** Nodes that there are objects of. */
  get size(): number {
    return this.#present;
  }
  node(name: string): NodeInfo | undefined {
    return this.#nodes.get(name);
  }
  atRow(row: number): NodeInfo | undefined {
    return this.#byRow[row];
  }
  nodes(): Iterable<NodeInfo> {
    return this.#nodes.values();
  }
  /** Rows that hold the image, with its bytes there. */
  image(name: string): ReadonlyMap<number, number> | undefined {
    return this.#images.get(name);
  }

  setNode(node: coreV1.Node): NodeInfo {
    const info = this.#nodeInfo(node.metadata.name!);
    if (!info.node) this.#present++;
    this.#setImages(info, node);
    if (!info.node || JSON.stringify(info.node.metadata.labels) !== JSON.stringify(node.metadata.labels)) this.generation++;
    info.node = node;
    const slots = new Map<number, number>();
    const others = new Map<string, number>();
    for (const [name, quantity] of Object.entries(node.status?.allocatable ?? {})) {
      const slot = this.columns.slot(name);
      if (slot === undefined) others.set(name, amount(name, quantity));
      else slots.set(slot, amount(name, quantity));
    }
    info.others = others;
    const flags = FLAG_PRESENT | (node.spec?.unschedulable ? FLAG_UNSCHEDULABLE : 0);
    this.columns.setNode(info.row, slots, flags, node.spec?.taints ?? []);
    return info;
  }

  removeNode(name: string): void {
    const info = this.#nodes.get(name);
    if (!info?.node) return;
    this.#present--;
    this.#setImages(info, undefined);
    info.node = undefined;
    this.generation++;
    this.columns.setNode(info.row, new Map(), 0, []);
    this.#drop(info);
  }

  /** A pod that the apiserver says is on a node. */
  setPod(pod: coreV1.Pod): void {
    const key = podKey(pod);
    const known = this.#pods.get(key);
    if (known && known.info.pod === pod && !known.assumed) return;
    if (known) this.#unplace(known);
    if (hasEnded(pod) || !pod.spec.nodeName) return;
    this.#place(podInfo(pod, this.columns), pod.spec.nodeName, undefined, true);
  }

  removePod(key: string): void {
    const known = this.#pods.get(key);
    if (known) this.#unplace(known);
  }

  /** Counts a pod on a node before it is bound there. `counted`: the kernel has added what it requests. */
  assume(info: PodInfo, node: string, counted = false): void {
    if (this.#pods.has(info.key)) throw new Error(`pod ${info.key} is in the cache already`);
    this.#place(info, node, { expires: undefined }, !counted);
  }

  isAssumed(key: string): boolean {
    return this.#pods.get(key)?.assumed !== undefined;
  }

  /** The binding is done; without news of the pod until `expires`, it counts no more. */
  finishBinding(key: string, expires: number): void {
    const known = this.#pods.get(key);
    if (known?.assumed) known.assumed.expires = expires;
  }

  /** The pod was not bound after all. */
  forget(key: string): void {
    const known = this.#pods.get(key);
    if (known?.assumed) this.#unplace(known);
  }

  /** Gives up assumed pods whose time is over; returns their keys. */
  expire(now: number): string[] {
    const gone: string[] = [];
    for (const [key, placed] of this.#pods) {
      if (placed.assumed?.expires === undefined || placed.assumed.expires > now) continue;
      this.#unplace(placed);
      gone.push(key);
    }
    return gone;
  }

  /** The earliest time that expire() has something to do. */
  get nextExpiry(): number | undefined {
    let next: number | undefined;
    for (const { assumed } of this.#pods.values())
      if (assumed?.expires !== undefined && (next === undefined || assumed.expires < next)) next = assumed.expires;
    return next;
  }

  #nodeInfo(name: string): NodeInfo {
    let info = this.#nodes.get(name);
    if (!info) {
      info = { name, row: this.columns.addRow(), node: undefined, pods: new Map(), others: new Map() };
      this.#nodes.set(name, info);
      this.#byRow[info.row] = info;
      this.generation++;
    }
    return info;
  }

  #place(info: PodInfo, node: string, assumed: Placed["assumed"], count: boolean): void {
    const at = this.#nodeInfo(node);
    at.pods.set(info.key, info);
    this.#pods.set(info.key, { info, at, assumed });
    if (count) this.columns.use(at.row, info.usage, 1);
  }

  #unplace({ info, at }: Placed): void {
    this.#pods.delete(info.key);
    at.pods.delete(info.key);
    this.columns.use(at.row, info.usage, -1);
    this.#drop(at);
  }

  /** A node without object and pods needs no row. */
  #drop(info: NodeInfo): void {
    if (info.node || info.pods.size > 0) return;
    this.#nodes.delete(info.name);
    this.#byRow[info.row] = undefined;
    this.columns.removeRow(info.row);
  }

  #setImages(info: NodeInfo, node: coreV1.Node | undefined): void {
    if (info.node?.status?.images === node?.status?.images) return;
    for (const image of info.node?.status?.images ?? []) {
      for (const name of image.names ?? []) {
        const rows = this.#images.get(name);
        rows?.delete(info.row);
        if (rows?.size === 0) this.#images.delete(name);
      }
    }
    for (const image of node?.status?.images ?? []) {
      for (const name of image.names ?? []) {
        const rows = this.#images.get(name) ?? new Map<number, number>();
        rows.set(info.row, image.sizeBytes ?? 0);
        this.#images.set(name, rows);
      }
    }
  }
}
