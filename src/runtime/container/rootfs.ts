// A container's root: the image's layers below, a layer of its own on top.
import { mkdirSync, rmSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { detachMount, mountOverlay } from "../../platform/mount.ts";

export const rootfsOf = (dir: string): string => join(dir, "rootfs");
export const upperOf = (dir: string): string => join(dir, "upper");
const workOf = (dir: string) => join(dir, "work");

/** Mount options fill one page at most. */
const PAGE = 4095;

/**
 * Mounts the root. Where the layers' paths are too long together for the
 * kernel, short symbolic links in `linkDir` stand for them; overlayfs follows
 * them once, at the time of the mount.
 */
export function mountRootfs(dir: string, lower: readonly string[], linkDir: string): string {
  for (const path of [rootfsOf(dir), upperOf(dir), workOf(dir)]) mkdirSync(path, { recursive: true, mode: 0o755 });
  const room = PAGE - Buffer.byteLength(upperOf(dir) + workOf(dir)) - 40;
  if (lower.reduce((sum, path) => sum + Buffer.byteLength(path) + 1, 0) <= room) {
    mountOverlay(rootfsOf(dir), lower, upperOf(dir), workOf(dir));
    return rootfsOf(dir);
  }
  mkdirSync(linkDir, { recursive: true });
  try {
    const links = lower.map((path, i) => {
      const link = join(linkDir, String(i));
      symlinkSync(path, link);
      return link;
    });
    mountOverlay(rootfsOf(dir), links, upperOf(dir), workOf(dir));
  } finally {
    rmSync(linkDir, { recursive: true, force: true });
  }
  return rootfsOf(dir);
}

export function unmountRootfs(dir: string): void {
  detachMount(rootfsOf(dir));
}
