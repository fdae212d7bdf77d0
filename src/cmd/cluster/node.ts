// One node of a cluster: runtime, kubelet and proxy, on the machine itself or
// inside a network namespace.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { ApiTransport } from "../../client/transport.ts";
import type { Component } from "../../platform/component.ts";
import { prepareHost, setSysctl, writeCniConfig } from "./host.ts";
import { makeRuntime } from "./node-runtime.ts";
import type { NodeHome } from "./nodes.ts";
import type { Pki } from "./pki.ts";
import type { Progress } from "./progress.ts";
import type { RunState } from "./state.ts";

/** `index` is its position among the cluster's nodes; those after 0 have a network namespace of their own. */
export interface NodeSpec extends NodeHome {
  name: string;
  ip: string;
  clusterId: string;
  /** This node's share of the pod network. */
  podCidr: string;
  clusterPodCidr: string;
  serviceCidr: string;
  clusterDomain: string;
  dnsIp: string;
  cniConfDir: string;
  runtime: RunState["runtime"];
  externalEndpoint: string;
  /** Networks besides pods' whose traffic to the outside leaves under this machine's address. */
  hostNetworks: readonly string[];
}

export interface RunningNode {
  spec: NodeSpec;
  runtimeEndpoint: string;
  components: Component[];
}

export const proxyTable = (clusterId: string) => `kubun-proxy-${clusterId}`;

/** Starts a node's systems side by side; resolves when each serves. */
export async function startNode(
  spec: NodeSpec,
  pki: Pki,
  transport: (user: string, ...groups: string[]) => ApiTransport,
  progress: Progress,
): Promise<RunningNode> {
  const components: Component[] = [];
  const start = async (c: Component): Promise<void> => {
    components.push(c);
    await progress.run(c.name, () => c.start());
  };
  try {
    prepareHost(spec.clusterPodCidr, spec.index > 0);
    writeCniConfig({ clusterId: spec.clusterId, podCidr: spec.podCidr, confDir: spec.cniConfDir, ipamDir: join(spec.dir, "cni/ipam") });
    const [serving, { Kubelet }, { Proxy: KubeProxy }, runtime] = await Promise.all([
      pki.leaf({
        name: `kubelet-${spec.name}`,
        commonName: `system:node:${spec.name}`,
        organizations: ["system:nodes"],
        hosts: [spec.name, spec.ip],
      }),
      import("../../kubelet/mod.ts"),
      import("../../proxy/mod.ts"),
      // The kubelet is there before the runtime, and so its pods, start.
      makeRuntime(spec, (containerId) => kubelet.expectEnd(containerId)),
    ]);
    const tls = { ...serving, clientCa: pki.ca.cert };
    const kubelet: InstanceType<typeof Kubelet> = new Kubelet({
      transport: transport(`system:node:${spec.name}`, "system:nodes"),
      nodeName: spec.name,
      nodeIP: spec.ip,
      podCIDR: spec.podCidr,
      runtimeEndpoint: runtime.endpoint,
      rootDir: join(spec.dir, "kubelet"),
      serving: { host: spec.ip, port: 10250, tls, fallbackToFreePort: true },
      clusterDns: [spec.dnsIp],
      clusterDomain: spec.clusterDomain,
      cgroupRoot: spec.cgroupRoot,
      cgroupDriver: "cgroupfs",
    });
    const proxy = new KubeProxy({
      transport: transport("system:kube-proxy", "system:node-proxier"),
      nodeName: spec.name,
      tableName: proxyTable(spec.clusterId),
      podCidrs: [spec.clusterPodCidr, ...spec.hostNetworks],
      serviceCidrs: [spec.serviceCidr],
      setSysctl: spec.index > 0 ? (key, value) => writeFileSync(join("/proc/sys", key), value) : setSysctl,
    });
    await Promise.all([
      (async () => {
        if (runtime.component) await start(runtime.component);
        await start(kubelet);
      })(),
      start(proxy),
    ]);
    return { spec, runtimeEndpoint: runtime.endpoint, components };
  } catch (e) {
    for (const c of components.reverse()) await c.stop();
    throw e;
  }
}
