// What a node of a cluster is made of.
import { join } from "node:path";
import { nthAddress, parseCidr } from "./cidr.ts";
import type { NodeSpec } from "./node.ts";
import { nodeHome, nodeName, podCidrOf } from "./nodes.ts";
import type { ClusterFile, DataDir } from "./state.ts";

export interface NodeSettings {
  index: number;
  ip: string;
  runtime: NodeSpec["runtime"];
  endpoint: string;
  hostNetworks: readonly string[];
}

export function nodeSpec(dir: DataDir, cluster: ClusterFile, { index, ip, runtime, endpoint, hostNetworks }: NodeSettings): NodeSpec {
  const home = nodeHome(dir, cluster, index);
  return {
    ...home,
    name: nodeName(index),
    ip,
    clusterId: cluster.id,
    podCidr: podCidrOf(cluster.podCidr, index),
    clusterPodCidr: cluster.podCidr,
    clusterDomain: cluster.clusterDomain,
    serviceCidr: cluster.serviceCidr,
    dnsIp: nthAddress(parseCidr(cluster.serviceCidr), 10),
    cniConfDir: join(home.dir, "cni/net.d"),
    runtime,
    externalEndpoint: endpoint,
    hostNetworks,
  };
}
