// Puts a cluster together and keeps it: control plane, node, name server.
import { accessSync, constants, mkdirSync } from "node:fs";
import type * as core from "../../api/gen/core/v1.ts";
import type { Component } from "../../platform/component.ts";
import { logger } from "../../platform/log.ts";
import { UsageError } from "../flags.ts";
import { ensureAddons } from "./addons.ts";
import { clusterStatus, isReady, type StatusSources } from "./cluster-status.ts";
import { serveControl } from "./control.ts";
import { type ControlPlane, startControlPlane } from "./control-plane.ts";
import { unmarkEnding } from "./guard.ts";
import { nodeAddress } from "./host.ts";
import type { HostNetwork } from "./host-network.ts";
import { IssuingProcess } from "./issuing.ts";
import { type NodeSpec, type RunningNode, startNode } from "./node.ts";
import type { NodeProcesses } from "./node-processes.ts";
import { chooseRuntime } from "./node-runtime.ts";
import { nodeSpec } from "./node-spec.ts";
import { nodeHomes, nodeName } from "./nodes.ts";
import type { Progress } from "./progress.ts";
import { type ClusterFile, DataDir, processStartTime } from "./state.ts";
import type { UpOptions } from "./up-options.ts";

const log = logger("kubun");

export interface RunningCluster {
  server: string;
  /** Ends the processes' work; containers keep running. */
  stop(): Promise<void>;
}

async function startDns(cluster: ClusterFile, plane: ControlPlane, node: NodeSpec, progress: Progress): Promise<Component> {
  const { DnsServer } = await import("../../dns/mod.ts");
  const dns = new DnsServer({
    transport: plane.transport("system:coredns"),
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

/** As many nodes as the user says, else as there were. */
const nodesWanted = (options: UpOptions, cluster: ClusterFile, given: ReadonlySet<string>): number =>
  given.has("nodes") ? options.nodes : (cluster.nodes ?? options.nodes);

async function hostNetworkOf(cluster: ClusterFile): Promise<HostNetwork> {
  const { hostCidrOf, hostNetwork } = await import("./further-nodes.ts");
  return hostNetwork(hostCidrOf(cluster));
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
    if (event.type !== "BOOKMARK" && isReady(event.object)) break;
  }
  end.abort();
}

/** Starts the nodes after the first; `running` gets what has to be stopped again. */
async function startFurtherNodes(
  start: { options: UpOptions; dir: DataDir; cluster: ClusterFile; plane: ControlPlane; runtime: NodeSpec["runtime"]; hostCidr: string },
  running: Component[],
  progress: Progress,
): Promise<NodeProcesses> {
  const { options, dir, cluster, plane, runtime, hostCidr } = start;
  const { NodeProcesses } = await import("./further-nodes.ts");
  const more = new NodeProcesses(dir, cluster, {
    runtime,
    nodes: options.nodes,
    server: plane.server,
    hostCidr,
    verbosity: options.verbosity,
  });
  running.push(more);
  await progress.run(more.name, () => more.start());
  const names = Array.from({ length: options.nodes - 1 }, (_, i) => nodeName(i + 1));
  await Promise.all(names.map((name) => progress.run(`node ${name}`, () => nodeReady(plane, name))));
  return more;
}

/**
 * Begins to load the systems' code while certificates are made and files are
 * opened. A failure comes up again where the code is used.
 */
function loadAhead(runtime: NodeSpec["runtime"], store: "own" | "outside" | "none"): void {
  const systems = [
    ...(store === "own" ? [import("../../store/mod.ts")] : []),
    ...(store === "outside" ? [import("./outside-store.ts")] : []),
    // Several control planes are processes of their own.
    ...(store === "none"
      ? []
      : [
          import("../../apiserver/mod.ts"),
          import("../../apiserver/http/mod.ts"),
          import("../../controllers/mod.ts"),
          import("../../scheduler/mod.ts"),
        ]),
    ...(runtime === "none" ? [] : [import("../../kubelet/mod.ts"), import("../../proxy/mod.ts"), import("../../dns/mod.ts")]),
    ...(runtime === "embedded" ? [import("../../runtime/mod.ts")] : []),
  ];
  void Promise.allSettled(systems);
}

/** Starts a cluster; what had started is stopped again when a part of it can't. */
export async function startCluster(wanted: UpOptions, given: ReadonlySet<string>, progress: Progress): Promise<RunningCluster> {
  const dir = new DataDir(wanted.dataDir);
  const before = dir.read()?.controlPlanes ?? 1;
  const cluster = dir.open(wanted, given);
  const options = { ...wanted, nodes: nodesWanted(wanted, cluster, given), controlPlanes: cluster.controlPlanes ?? 1 };
  try {
    accessSync(dir.path, constants.W_OK);
    mkdirSync(cluster.runDir, { recursive: true, mode: 0o700 });
    unmarkEnding(cluster);
  } catch (e) {
    throw new UsageError(`--data-dir ${dir.path} can't be used: ${(e as Error).message}`);
  }
  const several = options.controlPlanes > 1;
  if (options.controlPlanes > before && !cluster.etcd) {
    const [{ markGrowing }, { planeDir }] = await Promise.all([import("./growing.ts"), import("./planes.ts")]);
    markGrowing(dir, planeDir(0));
  }
  // Before the first part starts, so that `down` finds everything after a crash.
  dir.write({ ...cluster, pid: process.pid, startTime: processStartTime(process.pid)! });
  const ip = nodeAddress();
  if (!ip && !options.controlPlaneOnly)
    throw new Error(
      "this machine has no IPv4 address besides loopback, which a node needs: connect it to a network, or start with --control-plane-only",
    );

  const issuing = new IssuingProcess();
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
    // A control plane alone leaves the nodes as they are.
    const surplus = runtime === "none" ? [] : nodeHomes(dir, cluster).filter((h) => h.index >= options.nodes);
    if (surplus.length > 0) {
      const { removeNodes } = await import("./further-nodes.ts");
      await progress.run("removing nodes", () => removeNodes(dir, cluster, surplus));
    }
    const furtherNodes = options.nodes > 1 && runtime !== "none";
    const hosts = furtherNodes || several ? await hostNetworkOf(cluster) : undefined;
    const ips = [ip, hosts?.gateway].filter((a) => a !== undefined);
    const starting =
      several && hosts
        ? (await import("./planes.ts")).startControlPlanes(options, dir, cluster, hosts, ips, issuing.issue, progress)
        : startControlPlane(options, dir, cluster, ips, issuing.issue, progress);
    loadAhead(runtime, several ? "none" : cluster.etcd ? "outside" : "own");
    const plane = await starting;
    running.push(...plane.components);
    const api = plane.transport("system:kubun", "system:masters");
    if (surplus.length > 0) await (await import("./further-nodes.ts")).forgetNodes(api, surplus);
    let node: RunningNode | undefined;
    let further: NodeProcesses | undefined;
    if (runtime !== "none") {
      const spec = nodeSpec(dir, cluster, {
        index: 0,
        ip: ip!,
        runtime,
        endpoint: options.containerRuntimeEndpoint,
        hostNetworks: hosts ? [hosts.cidr] : [],
      });
      const [started, dns] = await Promise.all([
        startNode(spec, plane.pki, plane.transport, progress),
        startDns(cluster, plane, spec, progress),
      ]);
      node = started;
      plane.components.push(dns);
      running.push(...node.components, dns);
      await progress.run(`node ${spec.name}`, () => nodeReady(plane, spec.name));
      if (hosts && furtherNodes)
        further = await startFurtherNodes({ options, dir, cluster, plane, runtime, hostCidr: hosts.cidr }, running, progress);
    }
    const sources: StatusSources = {
      id: cluster.id,
      server: plane.server,
      api,
      controlPlane: further ? [...plane.components, further] : plane.components,
      node: node && { name: node.spec.name, components: node.components },
      further: async () => (await Promise.all([plane.rows?.() ?? [], further?.components() ?? []])).flat(),
    };
    const control = serveControl(cluster.runDir, () => clusterStatus(sources));
    dir.write({
      ...cluster,
      pid: process.pid,
      startTime: processStartTime(process.pid)!,
      server: plane.server,
      kubeconfig: options.kubeconfig,
      runtime,
      runtimeEndpoint: node?.runtimeEndpoint ?? "",
      nodes: options.controlPlaneOnly ? cluster.nodes : options.nodes,
      hostCidr: hosts?.cidr ?? cluster.hostCidr,
    });
    return {
      server: plane.server,
      async stop() {
        control.stop();
        await Promise.all([stop(), issuing.close()]);
      },
    };
  } catch (e) {
    await Promise.all([stop(), issuing.close()]);
    throw e;
  } finally {
    void issuing.close();
  }
}
