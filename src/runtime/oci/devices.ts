// Host devices for containers that get some or, privileged, all of them.
import { lstatSync, readdirSync, realpathSync, statSync } from "node:fs";
import type { OciDevice } from "./types.ts";

const SKIPPED = new Set(["/dev/pts", "/dev/shm", "/dev/mqueue", "/dev/fd", "/dev/console", "/dev/ptmx", "/dev/.lxc", "/dev/.lxd-mounts"]);

/** glibc's major() and minor(). */
const major = (rdev: number) => (Math.floor(rdev / 2 ** 8) & 0xfff) + Math.floor(rdev / 2 ** 44) * 4096;
const minor = (rdev: number) => (rdev & 0xff) + (Math.floor(rdev / 2 ** 20) & 0xfff) * 256;

function describe(hostPath: string, path: string): OciDevice | undefined {
  const s = statSync(hostPath);
  const type = s.isCharacterDevice() ? "c" : s.isBlockDevice() ? "b" : undefined;
  if (type === undefined) return undefined;
  return { path, type, major: major(s.rdev), minor: minor(s.rdev), fileMode: s.mode & 0o777, uid: s.uid, gid: s.gid };
}

function* walk(dir: string): Generator<OciDevice> {
  for (const entry of readdirSync(dir)) {
    const path = `${dir}/${entry}`;
    if (SKIPPED.has(path)) continue;
    const s = lstatSync(path, { throwIfNoEntry: false });
    if (s?.isDirectory()) yield* walk(path);
    else if (s?.isCharacterDevice() || s?.isBlockDevice()) {
      const device = describe(path, path);
      if (device) yield device;
    }
  }
}

/** A device, or all devices in a folder, under another path. @throws Error if there is none. */
export function devicesAt(hostPath: string, containerPath: string): OciDevice[] {
  const real = realpathSync(hostPath);
  if (statSync(real).isDirectory()) {
    return [...walk(real)].map((d) => ({ ...d, path: containerPath + d.path.slice(real.length) }));
  }
  const device = describe(real, containerPath);
  if (device === undefined) throw new Error(`${hostPath} is not a device`);
  return [device];
}

/** All devices of the host. */
export const hostDevices = (): OciDevice[] => [...walk("/dev")];
