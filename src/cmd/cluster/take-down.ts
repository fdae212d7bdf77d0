// Undoes what a cluster did to the machine. Works from what is on disk and in
// the kernel, so that it makes no difference whether kubun still runs, crashed,
// or had only half started; a second call finds nothing to do.
import { rmSync } from "node:fs";
import { join } from "node:path";
import { UsageError } from "../flags.ts";
import { markEnding } from "./guard.ts";
import { removeBridge, removeUnreachableRoute, restoreSysctls } from "./host.ts";
import { proxyTable } from "./node.ts";
import { containerdPaths, embeddedPaths } from "./node-runtime.ts";
import { cgroupRootOf, type NodeHome, nodeHomes } from "./nodes.ts";
import { endGroup } from "./process-group.ts";
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

/** Ends a node's containers and removes what runtime and kubelet made for them. */
export async function removeContainers(home: NodeHome, cluster: ClusterFile): Promise<void> {
  const { removeAllPods } = await import("../../kubelet/mod.ts");
  const rootDir = join(home.dir, "kubelet");
  if (cluster.runtime === "containerd") {
    const { Containerd } = await import("../../runtime/containerd/mod.ts");
    await Containerd.removeAll({
      ...containerdPaths(home),
      cniConfDir: join(home.dir, "cni/net.d"),
      cniBinDirs: ["/usr/lib/cni", "/opt/cni/bin"],
    });
  } else if (cluster.runtime !== "external") {
    const { removeAll } = await import("../../runtime/mod.ts");
    const { root, runDir } = embeddedPaths(home);
    await removeAll({ root, runDir, clusterId: cluster.id, cgroupParent: home.index > 0 ? home.cgroupRoot : undefined });
  }
  await removeAllPods({ rootDir, runtimeEndpoint: cluster.runtime === "external" ? cluster.runtimeEndpoint : undefined });
}

/** Returns false where there is no cluster. */
export async function takeDown(dir: DataDir): Promise<boolean> {
  const cluster = dir.read();
  if (!cluster) return false;
  markEnding(cluster);
  if (cluster.pid !== process.pid) await endProcess(cluster);
  if ((cluster.controlPlanes ?? 1) > 1) {
    await endGroup(dir, "balancer");
    // It may have started one in this moment.
    const now = dir.read();
    if (now && now.pid !== cluster.pid && now.pid !== process.pid) await endProcess(now);
  }
  const homes = nodeHomes(dir, cluster);
  if (process.getuid?.() === 0 && (cluster.controlPlanes ?? 1) > 1) {
    await endGroup(dir, "control-plane");
    // Hosts of nodes have containers, which end first.
    if (homes.length < 2) await (await import("./node-hosts.ts")).removeHosts(cluster.id);
  }
  if (process.getuid?.() === 0 && homes.length > 0) {
    if (homes.length > 1) await endGroup(dir, "node");
    for (const home of homes) await removeContainers(home, cluster);
    if (homes.length > 1) await (await import("./node-hosts.ts")).removeHosts(cluster.id);
    const [{ cleanup }, { removeCgroup }] = await Promise.all([import("../../proxy/mod.ts"), import("../../platform/cgroup.ts")]);
    await cleanup(proxyTable(cluster.id));
    removeBridge(cluster.id);
    removeUnreachableRoute(cluster.podCidr);
    await removeCgroup(cgroupRootOf(cluster.id));
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
