// mount(2), umount2(2) and what is mounted.
import { ptr } from "bun:ffi";
import { readFileSync } from "node:fs";
import { check, cstring, Errno, errno, libc, SystemError } from "./ffi.ts";

/** mount(2)'s flags, from sys/mount.h. */
export const MS = {
  RDONLY: 1,
  NOSUID: 2,
  NODEV: 4,
  NOEXEC: 8,
  REMOUNT: 32,
  BIND: 4096,
  REC: 16384,
  PRIVATE: 1 << 18,
  SLAVE: 1 << 19,
  SHARED: 1 << 20,
} as const;

const MNT_DETACH = 2;
const UMOUNT_NOFOLLOW = 8;

/** mount(2). Throws SystemError naming the target. */
export function mount(source: string | null, target: string, type: string | null, flags: number, data: string | null = null): void {
  const texts = [source, target, type, data].map((t) => (t === null ? null : cstring(t)));
  const [s, t, f, d] = texts.map((b) => (b === null ? null : ptr(b!)));
  check(libc().mount(s ?? null, t ?? null, f ?? null, BigInt(flags), d ?? null), `mount ${type ?? source ?? ""} on ${target}`);
}

/** Binds a file or folder to another place. */
export function bindMount(source: string, target: string, options: { recursive?: boolean; readonly?: boolean } = {}): void {
  const bind = MS.BIND | (options.recursive ? MS.REC : 0);
  mount(source, target, null, bind);
  // A bind ignores MS_RDONLY; only a remount sets it.
  if (options.readonly) mount(null, target, null, bind | MS.REMOUNT | MS.RDONLY);
}

/** Mounts an overlay; `lower` goes from the top layer down. */
export function mountOverlay(target: string, lower: readonly string[], upper: string, work: string): void {
  const quoted = (path: string) => path.replace(/[\\,:]/g, "\\$&");
  const data = `lowerdir=${lower.map(quoted).join(":")},upperdir=${quoted(upper)},workdir=${quoted(work)}`;
  // The kernel takes one page of options and cuts the rest off silently.
  if (Buffer.byteLength(data) > 4095) throw new Error(`too many image layers (${lower.length}) for one overlay mount`);
  mount("overlay", target, "overlay", 0, data);
}

/** Unmounts lazily. False if nothing was mounted there. */
export function detachMount(target: string): boolean {
  if (libc().umount2(ptr(cstring(target)), MNT_DETACH | UMOUNT_NOFOLLOW) === 0) return true;
  const e = errno();
  if (e === Errno.EINVAL || e === Errno.ENOENT) return false;
  throw new SystemError(`umount ${target}`, e);
}

/** Mount points at or below a path, deepest last mounted first. */
export function mountsUnder(path: string): string[] {
  const points: string[] = [];
  for (const line of readFileSync("/proc/self/mountinfo", "utf8").split("\n")) {
    const raw = line.split(" ")[4];
    if (raw === undefined) continue;
    const point = raw.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
    if (point === path || point.startsWith(`${path}/`)) points.push(point);
  }
  return points.reverse();
}

/** Unmounts all at or below a path; returns how many there were. */
export function detachAllUnder(path: string): number {
  const points = mountsUnder(path);
  for (const point of points) detachMount(point);
  return points.length;
}
