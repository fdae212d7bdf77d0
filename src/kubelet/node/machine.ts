// Facts of the machine that a Node object shows.
import { readFileSync, statfsSync } from "node:fs";
import { availableParallelism, hostname, networkInterfaces, release, totalmem } from "node:os";
import type * as coreV1 from "../../api/gen/core/v1.ts";
import { kubeletVersion } from "../version.ts";

function read(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8").trim() || undefined;
  } catch {
    // Absent on this machine, or not for us to read.
    return undefined;
  }
}

export interface Machine {
  cpus: number;
  /** Bytes. */
  memory: number;
  hostname: string;
  info: Omit<coreV1.NodeSystemInfo, "containerRuntimeVersion">;
}

const architectures: Record<string, string> = { x64: "amd64", arm64: "arm64", ia32: "386" };
export const architecture = architectures[process.arch] ?? process.arch;

export function machine(): Machine {
  const osRelease = read("/etc/os-release") ?? "";
  const machineID = read("/etc/machine-id") ?? read("/var/lib/dbus/machine-id") ?? "";
  const swap = Number(/^SwapTotal:\s+(\d+) kB/m.exec(read("/proc/meminfo") ?? "")?.[1] ?? 0) * 1024;
  return {
    cpus: availableParallelism(),
    memory: totalmem(),
    hostname: hostname(),
    info: {
      machineID,
      systemUUID: read("/sys/class/dmi/id/product_uuid") ?? machineID,
      bootID: read("/proc/sys/kernel/random/boot_id") ?? "",
      kernelVersion: release(),
      osImage: /^PRETTY_NAME="?([^"\n]*)"?/m.exec(osRelease)?.[1] ?? "Linux",
      kubeletVersion,
      kubeProxyVersion: "",
      operatingSystem: "linux",
      architecture,
      ...(swap > 0 ? { swap: { capacity: swap } } : {}),
    },
  };
}

/** Bytes of the file system that holds a path. */
export function fileSystem(path: string): { total: number; available: number; inodes: number; inodesFree: number } {
  const s = statfsSync(path);
  return { total: s.blocks * s.bsize, available: s.bavail * s.bsize, inodes: s.files, inodesFree: s.ffree };
}

/** The address of the interface of the default route, else any that is not loopback's. */
export function defaultIP(): string {
  const routes = (read("/proc/net/route") ?? "").split("\n").slice(1);
  const via = routes.map((r) => r.split("\t")).find((r) => r[1] === "00000000")?.[0];
  const all = networkInterfaces();
  const pick = (name: string) => all[name]?.find((a) => !a.internal && a.family === "IPv4")?.address;
  const first = via ? pick(via) : undefined;
  if (first) return first;
  for (const name of Object.keys(all)) {
    const address = pick(name);
    if (address) return address;
  }
  return "127.0.0.1";
}
