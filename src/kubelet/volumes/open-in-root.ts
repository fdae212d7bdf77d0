// openat2(2): a path below a folder from which no symbolic link leads out.
import { dlopen, ptr, FFIType as T } from "bun:ffi";
import { closeSync } from "node:fs";
import { cstring, errno, SystemError } from "../../platform/ffi.ts";

const O_PATH = 0x200000;
const O_CLOEXEC = 0x80000;
const RESOLVE_NO_MAGICLINKS = 2;
const RESOLVE_IN_ROOT = 16;
/** The same number on every architecture (Linux 5.6). */
const SYS_openat2 = 437;
const AT_FDCWD = -100;

let call: ((number: number, fd: number, path: Buffer, how: Buffer) => number) | undefined;

function openat2(fd: number, path: string, flags: number, resolve: number): number {
  if (!call) {
    const { symbols } = dlopen("libc.so.6", { syscall: { args: [T.i64, T.i64, T.ptr, T.ptr, T.i64], returns: T.i64 } });
    call = (number, dir, name, how) => Number(symbols.syscall(number, dir, ptr(name), ptr(how), how.length));
  }
  // struct open_how: flags, mode, resolve.
  const how = Buffer.alloc(24);
  how.writeBigUInt64LE(BigInt(flags), 0);
  how.writeBigUInt64LE(BigInt(resolve), 16);
  const opened = call(SYS_openat2, fd, cstring(path), how);
  if (opened < 0) throw new SystemError(`open ${path}`, errno());
  return opened;
}

/**
 * Calls `use` with a path that stands for `path` below `root` for as long as
 * the call lasts. Throws SystemError where there is none.
 */
export async function withPathInRoot<R>(root: string, path: string, use: (path: string) => Promise<R>): Promise<R> {
  const top = openat2(AT_FDCWD, root, O_PATH | O_CLOEXEC, 0);
  try {
    const fd = openat2(top, path, O_PATH | O_CLOEXEC, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
    try {
      return await use(`/proc/self/fd/${fd}`);
    } finally {
      closeSync(fd);
    }
  } finally {
    closeSync(top);
  }
}
