// Pods that preemption made room for on a node, until they are there.
import type { PodInfo } from "./pod-info.ts";

interface Nominated {
  info: PodInfo;
  node: string;
}

export class Nominator {
  readonly #pods = new Map<string, Nominated>();

  get size(): number {
    return this.#pods.size;
  }

  add(info: PodInfo, node: string): void {
    this.#pods.set(info.key, { info, node });
  }

  /** Takes over what the pod's status says, such as after a restart. */
  observe(info: PodInfo): void {
    const node = info.pod.status?.nominatedNodeName ?? this.#pods.get(info.key)?.node;
    if (node) this.add(info, node);
  }

  remove(key: string): boolean {
    return this.#pods.delete(key);
  }

  /** Those that have a right to their place before this pod: of its priority or higher. */
  ahead(info: PodInfo): Nominated[] {
    return [...this.#pods.values()].filter((n) => n.info.key !== info.key && n.info.priority >= info.priority);
  }
}
