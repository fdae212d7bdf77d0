// Capabilities by number (linux/capability.h) and the sets a container gets.
import { readFileSync } from "node:fs";
import type { OciCapabilities } from "./types.ts";

const names =
  `CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE NET_BROADCAST NET_ADMIN
NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME
SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON
BPF CHECKPOINT_RESTORE`
    .split(/\s+/)
    .map((name) => `CAP_${name}`);

/** What every container may do unless capabilities are dropped; the set that containerd gives. */
const defaults = "CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE SYS_CHROOT KILL AUDIT_WRITE"
  .split(" ")
  .map((name) => `CAP_${name}`);

let held: ReadonlySet<string> | undefined;

/** The capabilities of this process: nobody can hand on what he hasn't got. */
export function ownCapabilities(): ReadonlySet<string> {
  if (held) return held;
  const mask = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1] ?? "0"}`);
  held = new Set(names.filter((_, i) => (mask >> BigInt(i)) & 1n));
  return held;
}

export interface CapabilityRequest {
  privileged: boolean;
  add: readonly string[];
  drop: readonly string[];
  ambient: readonly string[];
}

const full = (name: string) => (name.toUpperCase().startsWith("CAP_") ? name.toUpperCase() : `CAP_${name.toUpperCase()}`);

/** Works out a container's sets. @throws Error for a capability that doesn't exist. */
export function capabilitySets(request: CapabilityRequest, available: ReadonlySet<string> = ownCapabilities()): OciCapabilities {
  const known = new Set([...names, "CAP_ALL"]);
  const wrong = [...request.add, ...request.drop, ...request.ambient].map(full).find((name) => !known.has(name));
  if (wrong !== undefined) throw new Error(`unknown capability ${JSON.stringify(wrong)}`);
  const add = request.add.map(full);
  const drop = request.drop.map(full);
  const wanted = new Set(request.privileged || add.includes("CAP_ALL") ? names : defaults);
  if (drop.includes("CAP_ALL") && !request.privileged) wanted.clear();
  for (const name of add) wanted.add(name);
  if (!request.privileged) for (const name of drop) if (!add.includes(name)) wanted.delete(name);
  const set = names.filter((name) => wanted.has(name) && available.has(name));
  const ambient = request.ambient.map(full).filter((name) => set.includes(name));
  return { bounding: set, effective: set, permitted: set, ...(ambient.length > 0 ? { inheritable: ambient, ambient } : {}) };
}
