// Deletes images that no container uses when the file system of images runs
// full (upstream's image garbage collection: from 85 %, down to 80 %).

import type { Logger } from "../../platform/log.ts";
import type * as pb from "../../rpc/gen/cri/runtime_pb.ts";
import { type Cri, rpcMessage } from "../cri/client.ts";
import { fileSystem } from "../node/machine.ts";

const high = 0.85;
const low = 0.8;
const minimumAge = 120_000;
const period = 300_000;

export interface Candidate {
  id: string;
  size: number;
  /** Milliseconds since the epoch when it was last seen in use, or first seen. */
  used: number;
}

/** The images to delete, least lately used first, until `bytes` are free. */
export function choose(candidates: readonly Candidate[], bytes: number, now: number): string[] {
  const chosen: string[] = [];
  let freed = 0;
  for (const c of [...candidates].sort((a, b) => a.used - b.used)) {
    if (freed >= bytes) break;
    if (now - c.used < minimumAge) continue;
    chosen.push(c.id);
    freed += c.size;
  }
  return chosen;
}

export class ImageCollector {
  readonly #cri: Cri;
  readonly #lastUsed: Map<string, number>;
  readonly #log: Logger;
  #timer: ReturnType<typeof setInterval> | undefined;

  constructor(cri: Cri, lastUsed: Map<string, number>, log: Logger) {
    this.#cri = cri;
    this.#lastUsed = lastUsed;
    this.#log = log;
  }

  start(): void {
    this.#timer = setInterval(() => {
      this.collect().catch((error: unknown) => this.#log.warn("Image garbage collection failed", { err: rpcMessage(error) }));
    }, period);
    this.#timer.unref?.();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  async collect(now = Date.now()): Promise<void> {
    const [{ images }, { containers }, info] = await Promise.all([
      this.#cri.image.listImages({}),
      this.#cri.runtime.listContainers({}),
      this.#cri.image.imageFsInfo({}),
    ]);
    const used = new Set(containers.flatMap((c) => [c.imageRef, c.imageId, c.image?.image ?? ""]));
    const isUsed = (i: pb.Image) => used.has(i.id) || [...i.repoTags, ...i.repoDigests].some((n) => used.has(n));
    for (const i of images) if (isUsed(i) || !this.#lastUsed.has(i.id)) this.#lastUsed.set(i.id, now);
    const present = new Set(images.map((i) => i.id));
    for (const id of this.#lastUsed.keys()) if (!present.has(id)) this.#lastUsed.delete(id);

    const mountpoint = info.imageFilesystems[0]?.fsId?.mountpoint;
    if (!mountpoint) return;
    const { total, available } = fileSystem(mountpoint);
    if (total === 0 || 1 - available / total < high) return;
    const candidates = images
      .filter((i) => !i.pinned && !isUsed(i))
      .map((i) => ({ id: i.id, size: Number(i.size), used: this.#lastUsed.get(i.id) ?? now }));
    for (const id of choose(candidates, total * (1 - low) - available, now)) {
      this.#log.info("Removing image to free bytes", { image: id });
      await this.#cri.image.removeImage({ image: { image: id } });
    }
  }
}
