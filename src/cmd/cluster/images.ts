// The images of several nodes as if they were one's.
import type { ImageTarget, ListedImage } from "../../runtime/images/target.ts";

/** Does everything on each of them; `base` asks the first. */
export function onEvery(targets: readonly ImageTarget[]): ImageTarget {
  return {
    async import(file, names) {
      const [imported] = await Promise.all(targets.map((t) => t.import(file, names)));
      return imported!;
    },
    list: () => targets[0]!.list(),
    async remove(name) {
      const removed = await Promise.all(targets.map((t) => t.remove(name)));
      return removed.includes(true);
    },
    base: (name, scratch) => targets[0]!.base(name, scratch),
    async [Symbol.asyncDispose]() {
      await Promise.all(targets.map((t) => t[Symbol.asyncDispose]()));
    },
  };
}

export interface PlacedImage extends ListedImage {
  /** Names of the nodes that have it. */
  nodes: string[];
}

/** What the nodes have; images of the same id and names stand together. */
export async function listEvery(targets: ReadonlyMap<string, ImageTarget>): Promise<PlacedImage[]> {
  const found = new Map<string, PlacedImage>();
  for (const [node, target] of targets) {
    for (const image of await target.list()) {
      const key = JSON.stringify([image.id, [...image.names].sort()]);
      const placed = found.get(key);
      if (placed) placed.nodes.push(node);
      else found.set(key, { ...image, nodes: [node] });
    }
  }
  return [...found.values()];
}
