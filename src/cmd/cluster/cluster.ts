// Puts a cluster together and keeps it: control plane, node, name server.
import { accessSync, constants, mkdirSync } from "node:fs";
import { hostname } from "node:os";
import type * as core from "../../api/gen/core/v1.ts";
import type { Component } from "../../platform/component.ts";
import { logger } from "../../platform/log.ts";
import { VERSION } from "../../platform/version.ts";
import { UsageError } from "../flags.ts";
import { ensureAddons } from "./addons.ts";
import { formatIp, nthAddress, parseCidr } from "./cidr.ts";
import { type ClusterStatus, serveControl } from "./control.ts";
import { type ControlPlane, startControlPlane } from "./control-plane.ts";
import { nodeAddress } from "./host.ts";
import { type NodeSpec, type RunningNode, startNode } from "./node.ts";
import { hostNetwork } from "./node-hosts.ts";
import { NodeProcesses } from "./node-processes.ts";
import { chooseRuntime } from "./node-runtime.ts";
import type { Progress } from "./progress.ts";
import { type ClusterFile, DataDir, processStartTime } from "./state.ts";
import type { UpOptions } from "./up-options.ts";

const log = logger("kubun");

export interface RunningCluster {
  server: string;
  /** Ends the processes' work; containers keep running. */
  stop(): Promise<void>;
}

/** A node's name, as upstream's kubelet takes it from the host. */
export const nodeName = (index: number) => (index === 0 ? hostname().toLowerCase() : `${hostname().toLowerCase()}-${index + 1}`);

/** The n-th /24 of the pod network. */
export function podCidrOf(clusterPodCidr: string, index: number): string {
  const all = parseCidr(clusterPodCidr);
  if (index >= 2 ** (24 - all.bits)) throw new UsageError(`--pod-cidr ${clusterPodCidr} has no /24 left for node ${index + 1}`);
  return `${formatIp(all.base + index * 256)}/24`;
}

export const cgroupRootOf = (clusterId: string) => `/kubun-${clusterId}`;

/** What node `index` of a cluster is made of. */
export function nodeSpec(
  dir: DataDir,
  cluster: ClusterFile,
  settings: { index: number; ip: string; runtime: NodeSpec["runtime"]; endpoint: string; nodes: number },
): NodeSpec {
  const { index, ip, runtime, endpoint, nodes } = settings;
  const home = index === 0 ? "node" : `node${index + 1}`;
  return {
    name: nodeName(index),
    index,
    ip,
    dir: dir.file(home),
    runDir: index === 0 ? cluster.runDir : `${cluster.runDir}/n${index + 1}`,
    clusterId: cluster.id,
    cgroupRoot: index === 0 ? cgroupRootOf(cluster.id) : `${cgroupRootOf(cluster.id)}/${home}`,
    podCidr: podCidrOf(cluster.podCidr, index),
    clusterPodCidr: cluster.podCidr,
    serviceCidr: cluster.serviceCidr,
    clusterDomain: cluster.clusterDomain,
    dnsIp: nthAddress(parseCidr(cluster.serviceCidr), 10),
    cniConfDir: dir.file(home, "cni/net.d"),
    runtime,
    externalEndpoint: endpoint,
    hostNetworks: index === 0 && nodes > 1 ? [hostNetwork(cluster.id).cidr] : [],
  };
}

async function startDns(cluster: ClusterFile, plane: ControlPlane, node: NodeSpec, progress: Progress): Promise<Component> {
  const { DnsServer } = await import("../../dns/mod.ts");
  const dns = new DnsServer({
    transport: plane.transport("system:coredns", "system:masters"),
    domain: cluster.clusterDomain,
    listen: [{ host: node.ip, port: 0 }],
    resolvConf: "/etc/resolv.conf",
  });
  await progress.run(dns.name, async () => {
    await dns.start();
    const port = Number(new URL(dns.address).port);
    await ensureAddons(plane.transport("system:kubun", "system:masters"), { dnsIp: node.dnsIp, dns: { host: node.ip, port } });
  });
  return dns;
}

/** Resolves when the apiserver says that the node is Ready. */
async function nodeReady(plane: ControlPlane, name: string): Promise<void> {
  const target = { group: "", version: "v1", resource: "nodes" };
  const end = new AbortController();
  const api = plane.transport("system:kubun", "system:masters");
  for await (const event of api.watch<core.Node>(
    target,
    { fieldSelector: `metadata.name=${name}`, sendInitialEvents: true, allowWatchBookmarks: true, resourceVersionMatch: "NotOlderThan" },
    end.signal,
  )) {
    if (event.type !== "BOOKMARK" && event.object.status?.conditions?.some((c) => c.type === "Ready" && c.status === "True")) break;
  }
  end.abort();
}

async function startFurtherNodes(
  options: UpOptions,
  dir: DataDir,
  cluster: ClusterFile,
  plane: ControlPlane,
  runtime: NodeSpec["runtime"],
  progress: Progress,
): Promise<Component> {
  const more = new NodeProcesses(dir, cluster, { runtime, nodes: options.nodes, server: plane.server });
  await progress.run(more.name, () => more.start());
  const names = Array.from({ length: options.nodes - 1 }, (_, i) => nodeName(i + 1));
  await Promise.all(names.map((name) => progress.run(`node ${name}`, () => nodeReady(plane, name))));
  return more;
}

function statusOf(plane: ControlPlane, cluster: ClusterFile, components: Component[]): () => Promise<ClusterStatus> {
  return async () => {
    const memory = process.memoryUsage.rss();
    const rows = components.map((c) => {
      const why = c.notReady();
      return {
        name: c.name,
        healthy: why === undefined,
        message: why ?? "",
        version: VERSION,
        address: c.address ?? "",
        pid: process.pid,
        memory,
      };
    });
    const api = plane.transport("system:kubun", "system:masters");
    const [nodes, pods] = await Promise.all([
      api.list<core.Node>({ group: "", version: "v1", resource: "nodes" }),
      api.list<core.Pod>({ group: "", version: "v1", resource: "pods" }),
    ]);
    const nodeRows = nodes.items.map((n) => ({
      name: n.metadata.name!,
      ready: n.status?.conditions?.some((c) => c.type === "Ready" && c.status === "True") ?? false,
      address: n.status?.addresses?.find((a) => a.type === "InternalIP")?.address ?? "",
      version: n.status?.nodeInfo?.kubeletVersion ?? "",
      runtime: n.status?.nodeInfo?.containerRuntimeVersion ?? "",
      pods: pods.items.filter((p) => p.spec.nodeName === n.metadata.name).length,
    }));
    return {
      id: cluster.id,
      ready: rows.every((r) => r.healthy) && nodeRows.every((n) => n.ready),
      server: plane.server,
      components: rows,
      nodes: nodeRows,
    };
  };
}

/** Starts a cluster; what had started is stopped again when a part of it can't. */
export async function startCluster(options: UpOptions, given: ReadonlySet<string>, progress: Progress): Promise<RunningCluster> {
  const dir = new DataDir(options.dataDir);
  const cluster = dir.open(options, given);
  try {
    accessSync(dir.path, constants.W_OK);
    mkdirSync(cluster.runDir, { recursive: true, mode: 0o700 });
  } catch (e) {
    throw new UsageError(`--data-dir ${dir.path} can't be used: ${(e as Error).message}`);
  }
  // Before the first part starts, so that `down` finds everything after a crash.
  dir.write({ ...cluster, pid: process.pid, startTime: processStartTime(process.pid)! });
  const ip = nodeAddress();
  if (!ip && !options.controlPlaneOnly)
    throw new Error(
      "this machine has no IPv4 address besides loopback, which a node needs: connect it to a network, or start with --control-plane-only",
    );

  const running: Component[] = [];
  const stop = async () => {
    for (const c of [...running].reverse()) {
      const started = performance.now();
      await c.stop().catch((e: unknown) => log.error(`stopping ${c.name}`, e));
      log.info("Stopped", { component: c.name, milliseconds: Math.round(performance.now() - started) }, 2);
    }
  };
  try {
    const runtime = options.controlPlaneOnly ? "none" : await chooseRuntime(options);
    const plane = await startControlPlane(options, dir, cluster, ip, progress);
    running.push(...plane.components);
    let node: RunningNode | undefined;
    if (runtime !== "none") {
      const spec = nodeSpec(dir, cluster, { index: 0, ip: ip!, runtime, endpoint: options.containerRuntimeEndpoint, nodes: options.nodes });
      const [started, dns] = await Promise.all([
        startNode(spec, plane.pki, plane.transport, progress),
        startDns(cluster, plane, spec, progress),
      ]);
      node = started;
      running.push(...node.components, dns);
      await progress.run(`node ${spec.name}`, () => nodeReady(plane, spec.name));
      if (options.nodes > 1) running.push(await startFurtherNodes(options, dir, cluster, plane, runtime, progress));
    }
    const control = serveControl(cluster.runDir, statusOf(plane, cluster, running));
    dir.write({
      ...cluster,
      pid: process.pid,
      startTime: processStartTime(process.pid)!,
      server: plane.server,
      kubeconfig: options.kubeconfig,
      runtime,
      runtimeEndpoint: node?.runtimeEndpoint ?? "",
      nodes: options.nodes,
    });
    return {
      server: plane.server,
      async stop() {
        control.stop();
        await stop();
      },
    };
  } catch (e) {
    await stop();
    throw e;
  }
}
