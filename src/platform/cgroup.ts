// Control groups, v1 (one hierarchy a controller, hybrid layouts too) and v2.
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";

const ROOT = "/sys/fs/cgroup";

export interface Hierarchy {
  /** Where it is mounted. */
  mountPoint: string;
  /** cpu, memory, name=systemd, …; empty for v2. */
  controllers: readonly string[];
}

let found: { version: 1 | 2; hierarchies: Hierarchy[] } | undefined;

/** What is mounted. Version 2 only where the unified hierarchy stands alone. */
export function cgroups(): { version: 1 | 2; hierarchies: readonly Hierarchy[] } {
  if (found) return found;
  const hierarchies: Hierarchy[] = [];
  let unified = false;
  for (const line of readFileSync("/proc/self/mountinfo", "utf8").split("\n")) {
    const [left, right] = line.split(" - ");
    const mountPoint = left?.split(" ")[4];
    const [type, , options] = right?.split(" ") ?? [];
    if (mountPoint === undefined) continue;
    if (type === "cgroup2") {
      hierarchies.push({ mountPoint, controllers: [] });
      if (mountPoint === ROOT) unified = true;
    } else if (type === "cgroup") {
      const controllers = (options ?? "").split(",").filter((o) => !["rw", "ro", "xattr", "noprefix", "clone_children"].includes(o));
      hierarchies.push({ mountPoint, controllers });
    }
  }
  found = { version: unified ? 2 : 1, hierarchies };
  return found;
}

/** The folder of a group in the hierarchy that has a controller; undefined where it isn't mounted. */
export function cgroupDir(controller: string, path: string): string | undefined {
  const { version, hierarchies } = cgroups();
  const h = version === 2 ? hierarchies.find((x) => x.mountPoint === ROOT) : hierarchies.find((x) => x.controllers.includes(controller));
  return h === undefined ? undefined : `${h.mountPoint}/${path.replace(/^\/+/, "")}`;
}

/** The group's folder in every hierarchy, whether it exists or not. */
export const cgroupDirs = (path: string): string[] => cgroups().hierarchies.map((h) => `${h.mountPoint}/${path.replace(/^\/+/, "")}`);

/** What a group that may go at any moment holds, or nothing once it is gone. */
function unlessGone<T>(read: () => T, nothing: T): T {
  try {
    return read();
  } catch (error) {
    // A file of a group that goes while it is open reads as ENODEV.
    if (["ENOENT", "ENODEV"].includes((error as NodeJS.ErrnoException).code ?? "")) return nothing;
    throw error;
  }
}

function* tree(dir: string): Generator<string> {
  for (const entry of unlessGone(() => readdirSync(dir, { withFileTypes: true }), []))
    if (entry.isDirectory()) yield* tree(`${dir}/${entry.name}`);
  yield dir;
}

/** Pids in a group and all groups below it. */
export function cgroupPids(path: string): number[] {
  const pids = new Set<number>();
  for (const dir of cgroupDirs(path)) {
    if (!existsSync(dir)) continue;
    for (const d of tree(dir)) {
      const procs = unlessGone(() => readFileSync(`${d}/cgroup.procs`, "utf8"), "");
      for (const pid of procs.split("\n")) if (pid !== "") pids.add(Number(pid));
    }
  }
  return [...pids];
}

/** Sends SIGKILL to every process in a group and below, until none is left. Rejects after `timeout` ms. */
export async function killCgroup(path: string, timeout = 5000): Promise<void> {
  const deadline = Date.now() + timeout;
  for (;;) {
    const pids = cgroupPids(path).filter((pid) => pid > 1 && pid !== process.pid);
    if (pids.length === 0) return;
    if (Date.now() > deadline) throw new Error(`processes of cgroup ${path} don't end: ${pids.join(", ")}`);
    for (const pid of pids) {
      try {
        process.kill(pid, "SIGKILL");
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
      }
    }
    await delay(5);
  }
}

/** Removes a group with all below it in every hierarchy. Processes must have ended; waits for the kernel to notice. */
export async function removeCgroup(path: string, timeout = 2000): Promise<void> {
  const deadline = Date.now() + timeout;
  for (const top of cgroupDirs(path)) {
    while (existsSync(top)) {
      try {
        for (const dir of tree(top)) rmdirSync(dir);
      } catch (error) {
        const code = (error as NodeJS.ErrnoException).code;
        if (code === "ENOENT") continue;
        if (code !== "EBUSY" || Date.now() > deadline) throw error;
        await delay(5);
      }
    }
  }
}

/** Makes a group in every hierarchy of v1, or in v2 with every controller passed down to it. */
export function createCgroup(path: string): void {
  for (const dir of cgroupDirs(path)) mkdirSync(dir, { recursive: true });
}

function number(file: string): bigint | undefined {
  try {
    const text = readFileSync(file, "utf8").trim();
    return /^\d+$/.test(text) ? BigInt(text) : undefined;
  } catch (error) {
    if (["ENOENT", "ENODEV", "ENOTSUP"].includes((error as NodeJS.ErrnoException).code ?? "")) return undefined;
    throw error;
  }
}

function table(file: string): Map<string, bigint> {
  const values = new Map<string, bigint>();
  for (const line of unlessGone(() => readFileSync(file, "utf8"), "").split("\n")) {
    const [key, value] = line.split(" ");
    if (key !== undefined && value !== undefined && /^\d+$/.test(value)) values.set(key, BigInt(value));
  }
  return values;
}

export interface CgroupUsage {
  /** Nanoseconds of CPU time since the group was made. */
  cpu: bigint;
  /** Bytes, page cache included. */
  memory: bigint;
  /** Bytes that can't be reclaimed at once: memory without inactive file cache. */
  workingSet: bigint;
  rss: bigint;
  pageFaults: bigint;
  majorPageFaults: bigint;
  /** Bytes; undefined where there is no limit. */
  memoryLimit?: bigint;
  processes: bigint;
  swap: bigint;
}

/** A limit at or above this is v1's way to say that there is none. */
const NO_LIMIT = 1n << 62n;

function usageV2(dir: string): CgroupUsage {
  const cpu = table(`${dir}/cpu.stat`);
  const stat = table(`${dir}/memory.stat`);
  const memory = number(`${dir}/memory.current`) ?? 0n;
  const inactive = stat.get("inactive_file") ?? 0n;
  return {
    cpu: (cpu.get("usage_usec") ?? 0n) * 1000n,
    memory,
    workingSet: memory > inactive ? memory - inactive : 0n,
    rss: stat.get("anon") ?? 0n,
    pageFaults: stat.get("pgfault") ?? 0n,
    majorPageFaults: stat.get("pgmajfault") ?? 0n,
    memoryLimit: number(`${dir}/memory.max`),
    processes: number(`${dir}/pids.current`) ?? 0n,
    swap: number(`${dir}/memory.swap.current`) ?? 0n,
  };
}

function usageV1(path: string): CgroupUsage {
  const at = (controller: string, file: string) => {
    const dir = cgroupDir(controller, path);
    return dir === undefined ? undefined : number(`${dir}/${file}`);
  };
  const memoryDir = cgroupDir("memory", path);
  const stat = memoryDir === undefined ? new Map<string, bigint>() : table(`${memoryDir}/memory.stat`);
  const memory = at("memory", "memory.usage_in_bytes") ?? 0n;
  const inactive = stat.get("total_inactive_file") ?? 0n;
  const limit = at("memory", "memory.limit_in_bytes");
  return {
    cpu: at("cpuacct", "cpuacct.usage") ?? 0n,
    memory,
    workingSet: memory > inactive ? memory - inactive : 0n,
    rss: stat.get("total_rss") ?? 0n,
    pageFaults: stat.get("total_pgfault") ?? 0n,
    majorPageFaults: stat.get("total_pgmajfault") ?? 0n,
    memoryLimit: limit !== undefined && limit < NO_LIMIT ? limit : undefined,
    processes: at("pids", "pids.current") ?? 0n,
    swap: stat.get("total_swap") ?? 0n,
  };
}

/** What a group and those below it use; undefined once it is gone. */
export function cgroupUsage(path: string): CgroupUsage | undefined {
  const { version } = cgroups();
  const dir = cgroupDir(version === 2 ? "" : "cpuacct", path) ?? cgroupDir("memory", path);
  if (dir === undefined || !existsSync(dir)) return undefined;
  return version === 2 ? usageV2(dir) : usageV1(path);
}
