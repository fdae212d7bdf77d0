// The few calls of libc that Bun has no API for, bound on first use.
import { dlopen, ptr, read, FFIType as T } from "bun:ffi";
import { closeSync } from "node:fs";

const signatures = {
  mount: { args: [T.ptr, T.ptr, T.ptr, T.u64, T.ptr], returns: T.i32 },
  umount2: { args: [T.ptr, T.i32], returns: T.i32 },
  unshare: { args: [T.i32], returns: T.i32 },
  setns: { args: [T.i32, T.i32], returns: T.i32 },
  flock: { args: [T.i32, T.i32], returns: T.i32 },
  posix_fadvise: { args: [T.i32, T.i64, T.i64, T.i32], returns: T.i32 },
  posix_fallocate: { args: [T.i32, T.i64, T.i64], returns: T.i32 },
  sethostname: { args: [T.ptr, T.u64], returns: T.i32 },
  mknod: { args: [T.ptr, T.u32, T.u64], returns: T.i32 },
  mkfifo: { args: [T.ptr, T.u32], returns: T.i32 },
  lsetxattr: { args: [T.ptr, T.ptr, T.ptr, T.u64, T.i32], returns: T.i32 },
  lgetxattr: { args: [T.ptr, T.ptr, T.ptr, T.u64], returns: T.i64 },
  socket: { args: [T.i32, T.i32, T.i32], returns: T.i32 },
  connect: { args: [T.i32, T.ptr, T.u32], returns: T.i32 },
  clock_gettime: { args: [T.i32, T.ptr], returns: T.i32 },
  ioctl: { args: [T.i32, T.u64, T.ptr], returns: T.i32 },
  __errno_location: { args: [], returns: T.ptr },
} as const;

type Libc = ReturnType<typeof dlopen<typeof signatures>>["symbols"];
let loaded: Libc | undefined;

/** The bound functions; throws where no libc can be loaded. */
export function libc(): Libc {
  if (loaded) return loaded;
  const names = ["libc.so.6", `libc.musl-${process.arch === "arm64" ? "aarch64" : "x86_64"}.so.1`];
  let cause: unknown;
  for (const name of names) {
    try {
      loaded = dlopen(name, signatures).symbols;
      return loaded;
    } catch (error) {
      cause = error;
    }
  }
  throw new Error(`no libc found (tried ${names.join(", ")})`, { cause });
}

/** errno numbers of Linux by name, those that callers tell apart. */
export const Errno = {
  EPERM: 1,
  ENOENT: 2,
  EAGAIN: 11,
  EACCES: 13,
  EBUSY: 16,
  EEXIST: 17,
  ENODEV: 19,
  EINVAL: 22,
  ENOSYS: 38,
  ENOTSUP: 95,
  EISCONN: 106,
  ECONNREFUSED: 111,
  EALREADY: 114,
  EINPROGRESS: 115,
} as const;

const errnoNames = new Map<number, string>(Object.entries(Errno).map(([name, n]) => [n, name]));

/** A call that the kernel refused. `code` is the errno's name, as in Node's errors. */
export class SystemError extends Error {
  override name = "SystemError";
  readonly errno: number;
  readonly code: string;
  constructor(call: string, errno: number) {
    const code = errnoNames.get(errno) ?? `errno ${errno}`;
    super(`${call}: ${code}`);
    this.errno = errno;
    this.code = code;
  }
}

/** errno of the calling thread's last failed call. */
export function errno(): number {
  const at = libc().__errno_location();
  return at === null ? 0 : read.i32(at, 0);
}

/** Passes a result through, or throws the errno if it is -1. */
export function check(result: number, call: string): number {
  if (result === -1) throw new SystemError(call, errno());
  return result;
}

/** A NUL-terminated copy. Keep the reference until the call has returned. */
export const cstring = (text: string): Buffer => Buffer.from(`${text}\0`);

const LOCK = { shared: 1, exclusive: 2, unlock: 8 } as const;
const LOCK_NB = 4;

/** Takes an flock(2) without waiting; false if another process holds it. */
export function tryLock(fd: number, mode: "shared" | "exclusive" = "exclusive"): boolean {
  if (libc().flock(fd, LOCK[mode] | LOCK_NB) === 0) return true;
  const e = errno();
  if (e === Errno.EAGAIN) return false;
  throw new SystemError("flock", e);
}

/** Releases an flock(2). */
export function unlock(fd: number): void {
  check(libc().flock(fd, LOCK.unlock), "flock");
}

const S_IFCHR = 0o020000;
const S_IFBLK = 0o060000;

/** Makes a device file. `mode` holds the permission bits. */
export function mknod(path: string, kind: "char" | "block", mode: number, major: number, minor: number): void {
  // glibc's makedev: 12 bits of major, then 20 of minor around it.
  const device =
    (BigInt(minor) & 0xffn) | ((BigInt(major) & 0xfffn) << 8n) | ((BigInt(minor) & ~0xffn) << 12n) | ((BigInt(major) & ~0xfffn) << 32n);
  check(libc().mknod(ptr(cstring(path)), (kind === "char" ? S_IFCHR : S_IFBLK) | mode, device), `mknod ${path}`);
}

/** Makes a named pipe. */
export function mkfifo(path: string, mode: number): void {
  check(libc().mkfifo(ptr(cstring(path)), mode), `mkfifo ${path}`);
}

/** Sets an extended attribute on a file, or on a symbolic link itself. */
export function setXattr(path: string, name: string, value: Uint8Array): void {
  const data = value.length === 0 ? Buffer.alloc(1) : value;
  check(libc().lsetxattr(ptr(cstring(path)), ptr(cstring(name)), ptr(data), BigInt(value.length), 0), `setxattr ${name} ${path}`);
}

/** An extended attribute's value, or undefined if it isn't set. */
export function getXattr(path: string, name: string): Uint8Array | undefined {
  const buffer = Buffer.alloc(256);
  const n = Number(libc().lgetxattr(ptr(cstring(path)), ptr(cstring(name)), ptr(buffer), BigInt(buffer.length)));
  return n < 0 ? undefined : buffer.subarray(0, n);
}

const AF_UNIX = 1;
const SOCK_SEQPACKET = 5;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;

/** Connects to a SOCK_SEQPACKET socket; returns a non-blocking descriptor that the caller owns. */
export function connectSeqpacket(path: string): number {
  const bytes = Buffer.from(path);
  if (bytes.length > 107) throw new Error(`socket path is longer than 107 bytes: ${path}`);
  const fd = check(libc().socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), "socket");
  const address = Buffer.alloc(2 + bytes.length + 1);
  address.writeUInt16LE(AF_UNIX, 0);
  bytes.copy(address, 2);
  try {
    check(libc().connect(fd, ptr(address), address.length), `connect ${path}`);
  } catch (error) {
    closeSync(fd);
    throw error;
  }
  return fd;
}
