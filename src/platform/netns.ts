// Namespaces pinned to files, and short synchronous visits to them. A thread
// that changes its namespaces gets its own ones back before the visit returns,
// so no other code ever runs in a foreign one.
import { ptr } from "bun:ffi";
import { closeSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { check, Errno, errno, libc, SystemError } from "./ffi.ts";
import { bindMount, detachMount } from "./mount.ts";

const flags = { net: 0x40000000, ipc: 0x08000000, uts: 0x04000000 } as const;
export type NamespaceKind = keyof typeof flags;

const own = (kind: NamespaceKind) => `/proc/thread-self/ns/${kind}`;

/** A thread left in a foreign namespace would do harm everywhere, so nothing may go on. */
function mustReturn(fd: number, kind: NamespaceKind): void {
  if (libc().setns(fd, flags[kind]) === 0) return;
  process.stderr.write(`fatal: can't return to the ${kind} namespace: errno ${errno()}\n`);
  process.abort();
}

/**
 * Makes new namespaces and pins each to a file, which is created. `inside`
 * runs synchronously in them first, such as to set the host name.
 */
export function createNamespaces(pins: Partial<Record<NamespaceKind, string>>, inside?: () => void): void {
  const kinds = (Object.keys(flags) as NamespaceKind[]).filter((k) => pins[k] !== undefined);
  const before = kinds.map((kind) => [kind, openSync(own(kind), "r")] as const);
  const made: string[] = [];
  try {
    check(libc().unshare(kinds.reduce((bits, k) => bits | flags[k], 0)), "unshare");
    try {
      inside?.();
      for (const kind of kinds) {
        const pin = pins[kind]!;
        mkdirSync(dirname(pin), { recursive: true });
        writeFileSync(pin, "");
        bindMount(own(kind), pin);
        made.push(pin);
      }
    } finally {
      for (const [kind, fd] of before) mustReturn(fd, kind);
    }
  } catch (error) {
    for (const pin of made) removeNamespace(pin);
    throw error;
  } finally {
    for (const [, fd] of before) closeSync(fd);
  }
}

/** Lets go of a pinned namespace; fine if it is gone. */
export function removeNamespace(pin: string): void {
  detachMount(pin);
  rmSync(pin, { force: true });
}

/** Runs a synchronous function inside a pinned namespace. */
export function inNamespace<R>(kind: NamespaceKind, pin: string, visit: () => R): R {
  const before = openSync(own(kind), "r");
  try {
    const there = openSync(pin, "r");
    try {
      check(libc().setns(there, flags[kind]), `setns ${pin}`);
    } finally {
      closeSync(there);
    }
    try {
      return visit();
    } finally {
      mustReturn(before, kind);
    }
  } finally {
    closeSync(before);
  }
}

/** Sets the host name of the UTS namespace this is called in. */
export function setHostname(name: string): void {
  const bytes = Buffer.from(name);
  if (bytes.length > 0) check(libc().sethostname(ptr(bytes), BigInt(bytes.length)), "sethostname");
}

const AF_INET = 2;
const AF_INET6 = 10;
const SOCK_STREAM = 1;
const SOCK_DGRAM = 2;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const SIOCGIFFLAGS = 0x8913n;
const SIOCSIFFLAGS = 0x8914n;
const IFF_UP = 1;

/** Brings a link of the network namespace this is called in up (netdevice(7)). */
export function linkUp(name: string): void {
  const fd = check(libc().socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), "socket");
  try {
    const request = Buffer.alloc(40);
    request.write(name, 0, 15);
    check(libc().ioctl(fd, SIOCGIFFLAGS, ptr(request)), `SIOCGIFFLAGS ${name}`);
    request.writeUInt16LE(request.readUInt16LE(16) | IFF_UP, 16);
    check(libc().ioctl(fd, SIOCSIFFLAGS, ptr(request)), `SIOCSIFFLAGS ${name}`);
  } finally {
    closeSync(fd);
  }
}

function loopbackAddress(family: 4 | 6, port: number): Buffer {
  if (family === 4) {
    const address = Buffer.alloc(16);
    address.writeUInt16LE(AF_INET, 0);
    address.writeUInt16BE(port, 2);
    address.set([127, 0, 0, 1], 4);
    return address;
  }
  const address = Buffer.alloc(28);
  address.writeUInt16LE(AF_INET6, 0);
  address.writeUInt16BE(port, 2);
  address[23] = 1;
  return address;
}

/** Milliseconds between looks at a connection that isn't made at once; on a loopback that is rare. */
const CONNECT_POLL = 5;

/**
 * Connects to a TCP port of a namespace's loopback. A socket belongs to the
 * namespace it was made in wherever it is used later. Resolves with a
 * non-blocking descriptor that the caller owns; rejects with the errno, or
 * after `timeout` milliseconds.
 */
export async function connectLoopback(pin: string, family: 4 | 6, port: number, timeout = 10_000): Promise<number> {
  const fd = inNamespace("net", pin, () =>
    check(libc().socket(family === 4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), "socket"),
  );
  const address = loopbackAddress(family, port);
  const deadline = Date.now() + timeout;
  try {
    // A second connect(2) tells how the first one went.
    while (libc().connect(fd, ptr(address), address.length) !== 0) {
      const e = errno();
      if (e === Errno.EISCONN) break;
      if ((e !== Errno.EINPROGRESS && e !== Errno.EALREADY) || Date.now() > deadline) throw new SystemError(`connect to port ${port}`, e);
      if (e === Errno.EALREADY) await delay(CONNECT_POLL);
    }
    return fd;
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

export interface LinkCounters {
  name: string;
  rxBytes: bigint;
  rxErrors: bigint;
  txBytes: bigint;
  txErrors: bigint;
}

/** Traffic of each link in a namespace, loopback left out (proc(5), /proc/net/dev). */
export function linkCounters(pin: string): LinkCounters[] {
  const text = inNamespace("net", pin, () => readFileSync("/proc/thread-self/net/dev", "utf8"));
  const links: LinkCounters[] = [];
  for (const line of text.split("\n").slice(2)) {
    const [name, rest] = line.split(":");
    if (rest === undefined || name === undefined) continue;
    const n = rest.trim().split(/\s+/);
    if (name.trim() === "lo") continue;
    links.push({
      name: name.trim(),
      rxBytes: BigInt(n[0] ?? 0),
      rxErrors: BigInt(n[2] ?? 0),
      txBytes: BigInt(n[8] ?? 0),
      txErrors: BigInt(n[10] ?? 0),
    });
  }
  return links;
}

/** Sets kernel parameters as seen from the namespaces this is called in: {"net.core.somaxconn": "128"}. */
export function setSysctls(values: Readonly<Record<string, string>>): void {
  for (const [name, value] of Object.entries(values)) {
    // In sysctl(8)'s notation a slash in a name stands for a dot in the file's.
    const path = name.includes("/") ? name : name.replaceAll(".", "/");
    if (path.split("/").includes("..")) throw new Error(`sysctl name is not allowed: ${name}`);
    writeFileSync(`/proc/sys/${path}`, value);
  }
}
