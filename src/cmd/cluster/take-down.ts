// Undoes what a cluster did to the machine. Works from what is on disk and in
// the kernel, so that it makes no difference whether kubun still runs, crashed,
// or had only half started; a second call finds nothing to do.
import { existsSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { UsageError } from "../flags.ts";
import { removeBridge, removeUnreachableRoute, restoreSysctls } from "./host.ts";
import { proxyTable } from "./node.ts";
import { removeHosts } from "./node-hosts.ts";
import { endNodeProcesses } from "./node-processes.ts";
import { containerdPaths, embeddedPaths } from "./node-runtime.ts";
import { type ClusterFile, type DataDir, isRunning, processStartTime } from "./state.ts";

const GRACE = 15_000;

async function endProcess(cluster: ClusterFile): Promise<void> {
  if (!isRunning(cluster)) return;
  const { pid, startTime } = cluster;
  const there = () => processStartTime(pid) === startTime;
  process.kill(pid, "SIGTERM");
  const deadline = Date.now() + GRACE;
  while (there() && Date.now() < deadline) await Bun.sleep(10);
  if (there()) process.kill(pid, "SIGKILL");
  while (there()) await Bun.sleep(10);
}

/** Where each node of a cluster keeps its things: the first, and those with hosts of their own. */
function nodeHomes(dir: DataDir, cluster: ClusterFile): { dir: string; runDir: string }[] {
  const more = readdirSync(dir.path).flatMap((name) =>
    /^node\d+$/.test(name) ? [{ dir: dir.file(name), runDir: join(cluster.runDir, name.replace("node", "n")) }] : [],
  );
  return [{ dir: dir.file("node"), runDir: cluster.runDir }, ...more];
}

async function removeContainers(spec: { dir: string; runDir: string }, cluster: ClusterFile): Promise<void> {
  const { removeAllPods } = await import("../../kubelet/mod.ts");
  const rootDir = join(spec.dir, "kubelet");
  if (cluster.runtime === "containerd") {
    const { Containerd } = await import("../../runtime/containerd/mod.ts");
    await Containerd.removeAll({
      ...containerdPaths(spec),
      cniConfDir: join(spec.dir, "cni/net.d"),
      cniBinDirs: ["/usr/lib/cni", "/opt/cni/bin"],
    });
  } else if (cluster.runtime !== "external") {
    const { removeAll } = await import("../../runtime/mod.ts");
    const { root, runDir } = embeddedPaths(spec);
    await removeAll({ root, runDir, clusterId: cluster.id });
  }
  await removeAllPods({ rootDir, runtimeEndpoint: cluster.runtime === "external" ? cluster.runtimeEndpoint : undefined });
}

/** Returns false where there is no cluster. */
export async function takeDown(dir: DataDir): Promise<boolean> {
  const cluster = dir.read();
  if (!cluster) return false;
  if (cluster.pid !== process.pid) await endProcess(cluster);
  if (process.getuid?.() === 0 && existsSync(dir.file("node"))) {
    await endNodeProcesses(cluster);
    for (const home of nodeHomes(dir, cluster)) await removeContainers(home, cluster);
    await removeHosts(cluster.id);
    const [{ cleanup }, { removeCgroup }] = await Promise.all([import("../../proxy/mod.ts"), import("../../platform/cgroup.ts")]);
    await cleanup(proxyTable(cluster.id));
    removeBridge(cluster.id);
    removeUnreachableRoute(cluster.podCidr);
    await removeCgroup(`/kubun-${cluster.id}`);
  }
  rmSync(cluster.runDir, { recursive: true, force: true });
  if (process.getuid?.() === 0) restoreSysctls();
  const { pid: _, startTime: __, ...rest } = cluster;
  try {
    dir.write(rest as ClusterFile);
  } catch (e) {
    // On a full disk the ended process stays on record, which nobody takes for a running one.
    if (!(e instanceof UsageError)) throw e;
  }
  return true;
}
