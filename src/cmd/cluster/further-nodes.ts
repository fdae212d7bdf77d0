// Nodes after the first, as `up` needs them; loaded only where there are any.
import { rmSync } from "node:fs";
import type * as core from "../../api/gen/core/v1.ts";
import { isNotFound } from "../../api/status.ts";
import type { ApiTransport } from "../../client/transport.ts";
import { parseCidr } from "./cidr.ts";
import { chooseHostNetwork, takenNetworks } from "./host-network.ts";
import { hostBridge, removeHost } from "./node-hosts.ts";
import { endNodeProcesses } from "./node-processes.ts";
import { type NodeHome, nodeName, podCidrOf } from "./nodes.ts";
import type { ClusterFile, DataDir } from "./state.ts";

export { hostNetwork } from "./host-network.ts";
export { NodeProcesses } from "./node-processes.ts";

/** The network of the nodes' hosts, which this machine must not use for anything else. */
export function hostCidrOf(cluster: ClusterFile): string {
  const own = [cluster.podCidr, cluster.serviceCidr].map((text) => ({ link: "", cidr: parseCidr(text), kubun: false }));
  return chooseHostNetwork(cluster.id, cluster.hostCidr, [...takenNetworks(hostBridge(cluster.id)), ...own]);
}

/** Takes nodes away from the machine: processes, containers, hosts and data. */
export async function removeNodes(dir: DataDir, cluster: ClusterFile, homes: readonly NodeHome[]): Promise<void> {
  const [{ removeContainers }, { removeCgroup }] = await Promise.all([import("./take-down.ts"), import("../../platform/cgroup.ts")]);
  await endNodeProcesses(dir, Math.min(...homes.map((h) => h.index)));
  for (const home of homes) {
    await removeContainers(home, cluster);
    await removeHost(cluster.id, home.index, podCidrOf(cluster.podCidr, home.index));
    await removeCgroup(home.cgroupRoot);
    for (const path of [home.runDir, home.dir]) rmSync(path, { recursive: true, force: true });
  }
}

/** Deletes the Node objects of nodes that were taken away, and their pods, which nobody runs any more. */
export async function forgetNodes(api: ApiTransport, homes: readonly NodeHome[]): Promise<void> {
  const absent = (e: unknown) => {
    if (!isNotFound(e)) throw e;
  };
  const pods = { group: "", version: "v1", resource: "pods" };
  for (const { index } of homes) {
    const name = nodeName(index);
    await api.delete({ group: "", version: "v1", resource: "nodes", name }).catch(absent);
    const { items } = await api.list<core.Pod>(pods, { fieldSelector: `spec.nodeName=${name}` });
    await Promise.all(
      items.map((p) =>
        api.delete({ ...pods, namespace: p.metadata.namespace!, name: p.metadata.name! }, { gracePeriodSeconds: 0 }).catch(absent),
      ),
    );
  }
}
