// Undoes what a cluster did to the machine. Works from what is on disk and in
// the kernel, so that it makes no difference whether kubun still runs, crashed,
// or had only half started; a second call finds nothing to do.
import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import { removeBridge, removeUnreachableRoute, restoreSysctls } from "./host.ts";
import { proxyTable } from "./node.ts";
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

async function removeContainers(dir: DataDir, cluster: ClusterFile): Promise<void> {
  const spec = { dir: dir.file("node"), runDir: cluster.runDir };
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
    await removeContainers(dir, cluster);
    const [{ cleanup }, { removeCgroup }] = await Promise.all([import("../../proxy/mod.ts"), import("../../platform/cgroup.ts")]);
    await cleanup(proxyTable(cluster.id));
    removeBridge(cluster.id);
    removeUnreachableRoute(cluster.podCidr);
    await removeCgroup(`/kubun-${cluster.id}`);
  }
  rmSync(cluster.runDir, { recursive: true, force: true });
  if (process.getuid?.() === 0) restoreSysctls();
  const { pid: _, startTime: __, ...rest } = cluster;
  dir.write(rest as ClusterFile);
  return true;
}
