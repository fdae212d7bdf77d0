// A unix datagram socket, as systemd listens at for how its services are doing; Bun has none.
import { dlopen, FFIType as T } from "bun:ffi";
import { closeSync } from "node:fs";

const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const MSG_DONTWAIT = 0x40;

export interface Datagrams extends Disposable {
  /** The oldest that has come; undefined if there is none. */
  next(): string | undefined;
}

/** @param name a path, or an abstract name after a zero byte */
export function listenDatagrams(name: string): Datagrams {
  const { symbols: libc } = dlopen("libc.so.6", {
    socket: { args: [T.i32, T.i32, T.i32], returns: T.i32 },
    bind: { args: [T.i32, T.ptr, T.u32], returns: T.i32 },
    recv: { args: [T.i32, T.ptr, T.u64, T.i32], returns: T.i64 },
  });
  const fd = libc.socket(AF_UNIX, SOCK_DGRAM, 0);
  const address = Buffer.concat([Buffer.from([AF_UNIX, 0]), Buffer.from(name)]);
  if (fd < 0 || libc.bind(fd, address, address.length) !== 0) throw new Error(`can't listen at ${name}`);
  const into = Buffer.alloc(256);
  return {
    next() {
      const n = Number(libc.recv(fd, into, into.length, MSG_DONTWAIT));
      return n < 0 ? undefined : into.subarray(0, n).toString();
    },
    [Symbol.dispose]: () => closeSync(fd),
  };
}
