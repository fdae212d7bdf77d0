// What of the machine a cluster may change, so that a test can compare it
// before and after.
import { readdirSync, readFileSync } from "node:fs";

export interface MachineState {
  links: string[];
  namespaces: string[];
  mounts: string[];
  routes: string[];
  nftables: string[];
  cgroups: string[];
  processes: string[];
  sysctls: string[];
}

function lines(...command: string[]): string[] {
  const p = Bun.spawnSync(command, { stdout: "pipe", stderr: "pipe" });
  return p.stdout
    .toString()
    .split("\n")
    .map((l) => l.trim())
    .filter((l) => l !== "")
    .sort();
}

function cgroups(dir = "/sys/fs/cgroup"): string[] {
  const found: string[] = [];
  for (const e of readdirSync(dir, { withFileTypes: true })) {
    // The sandbox that tests run in makes and removes groups of its own.
    if (e.isDirectory() && e.name !== "process_api") found.push(`${dir}/${e.name}`, ...cgroups(`${dir}/${e.name}`));
  }
  return found.sort();
}

/** Names of processes that belong to clusters; the rest of the machine comes and goes. */
const OURS = /containerd|runc|conmon|crun|kubun|src\/main\.ts|pause/;
/** Stores that a test runs for its clusters, which those leave alone. */
const STORES = /--data-dir=\S*\/outside-store-/;

function processes(): string[] {
  const found: string[] = [];
  for (const pid of readdirSync("/proc").filter((d) => /^\d+$/.test(d))) {
    try {
      const command = readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ").trim();
      if (Number(pid) !== process.pid && OURS.test(command) && !STORES.test(command)) found.push(`${pid} ${command}`);
    } catch (e) {
      // Ended between the two reads.
      if ((e as NodeJS.ErrnoException).code !== "ENOENT" && (e as NodeJS.ErrnoException).code !== "ESRCH") throw e;
    }
  }
  return found.sort();
}

export function machineState(): MachineState {
  return {
    links: lines("ip", "-o", "link").map((l) => l.split(":")[1]!.trim()),
    namespaces: lines("ip", "netns", "list"),
    mounts: readFileSync("/proc/self/mountinfo", "utf8")
      .split("\n")
      .filter((l) => l !== "")
      .map((l) => l.split(" ")[4]!)
      .sort(),
    routes: lines("ip", "route"),
    nftables: lines("nft", "list", "tables"),
    cgroups: cgroups(),
    processes: processes(),
    sysctls: ["net/ipv4/ip_forward", "net/bridge/bridge-nf-call-iptables", "net/ipv4/conf/all/route_localnet"].map(
      (k) => `${k}=${readFileSync(`/proc/sys/${k}`, "utf8").trim()}`,
    ),
  };
}

/**
 * The state once nothing has changed for half a second: the kernel takes its time over the links of a namespace that
 * another test has let go.
 */
export async function settledMachine(): Promise<MachineState> {
  let state = machineState();
  for (let same = 0, looks = 0; same < 5 && looks < 200; looks++) {
    await Bun.sleep(100);
    const now = machineState();
    same = Bun.deepEquals(now, state) ? same + 1 : 0;
    state = now;
  }
  return state;
}
