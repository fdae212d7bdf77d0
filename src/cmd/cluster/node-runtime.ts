// Which container runtime a node uses, and how it is started and taken away.
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Component } from "../../platform/component.ts";
import { UsageError } from "../flags.ts";
import type { NodeSpec } from "./node.ts";
import type { ClusterFile, RunState } from "./state.ts";
import type { UpOptions } from "./up-options.ts";

/** Where distributions put containerd's socket. */
const CONTAINERD = "/run/containerd/containerd.sock";

export interface NodeRuntime {
  kind: RunState["runtime"];
  /** Path of the CRI socket. */
  endpoint: string;
  /** The runtime where it runs in this process. */
  component?: Component;
}

/** Whether a CRI runtime answers there; containerd as Docker ships it has its CRI plugin off. */
async function answersCri(socket: string): Promise<boolean> {
  if (!existsSync(socket)) return false;
  const [{ connect, createClient }, { RuntimeService }] = await Promise.all([
    import("../../rpc/client.ts"),
    import("../../rpc/gen/cri/runtime_pb.ts"),
  ]);
  const channel = connect({ unix: socket });
  try {
    const status = await createClient(RuntimeService, channel).status({}, { timeout: 2000 });
    return status.status?.conditions.every((c) => c.status) ?? false;
  } catch {
    // Any failure means the same: not a runtime that can be used.
    return false;
  } finally {
    await channel.close();
  }
}

export async function chooseRuntime(options: UpOptions): Promise<RunState["runtime"]> {
  if (options.containerRuntimeEndpoint !== "") {
    if (options.nodes > 1)
      throw new UsageError("--container-runtime-endpoint and several nodes exclude each other: each node needs a runtime of its own");
    return "external";
  }
  if (options.runtime !== "auto") return options.runtime;
  // The machine's containerd is one node's.
  if (options.nodes > 1) return "embedded";
  return (await answersCri(CONTAINERD)) ? "external" : "embedded";
}

export const containerdPaths = (spec: Pick<NodeSpec, "dir" | "runDir">) => ({
  root: join(spec.dir, "containerd"),
  state: join(spec.runDir, "containerd"),
  socket: join(spec.runDir, "containerd.sock"),
});

/** Folders of the embedded runtime of a node. */
export const embeddedPaths = (spec: Pick<NodeSpec, "dir" | "runDir">) => ({
  root: join(spec.dir, "runtime"),
  runDir: join(spec.runDir, "cri"),
  socketPath: join(spec.runDir, "cri.sock"),
});

/** `ended` is told of containers that ended by runtimes that say so outside the CRI. */
/** The CRI socket of a node after the first. */
export const runtimeSocket = (cluster: Pick<ClusterFile, "runtime">, home: Pick<NodeSpec, "dir" | "runDir">): string =>
  cluster.runtime === "containerd" ? containerdPaths(home).socket : embeddedPaths(home).socketPath;

export async function makeRuntime(spec: NodeSpec, ended: (containerId: string) => void): Promise<NodeRuntime> {
  const cni = { cniConfDir: spec.cniConfDir, cniBinDirs: ["/usr/lib/cni", "/opt/cni/bin"] };
  if (spec.runtime === "external") return { kind: "external", endpoint: spec.externalEndpoint || CONTAINERD };
  if (spec.runtime === "containerd") {
    const { Containerd } = await import("../../runtime/containerd/mod.ts");
    const paths = containerdPaths(spec);
    return { kind: "containerd", endpoint: paths.socket, component: new Containerd({ ...paths, ...cni }, ended) };
  }
  const { EmbeddedRuntime } = await import("../../runtime/mod.ts");
  const paths = embeddedPaths(spec);
  return {
    kind: "embedded",
    endpoint: paths.socketPath,
    component: new EmbeddedRuntime({ ...paths, ...cni, clusterId: spec.clusterId, cgroupParent: spec.cgroupRoot }),
  };
}
