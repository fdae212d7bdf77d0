// The processes of the nodes after the first: each runs `kubun node` inside its
// host's network.
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { Component } from "../../platform/component.ts";
import type { ComponentStatus } from "./control.ts";
import { hostNetwork } from "./host-network.ts";
import { insideHost, makeHosts } from "./node-hosts.ts";
import { nodeHome, nodeName, podCidrOf } from "./nodes.ts";
import { endGroup, ProcessGroup } from "./process-group.ts";
import type { ClusterFile, DataDir, RunState } from "./state.ts";

/** What a node's process is told. */
export interface NodeProcessFile {
  index: number;
  ip: string;
  /** Where the node reaches the apiserver. */
  server: string;
  runtime: RunState["runtime"];
}

export const nodeFile = (cluster: Pick<ClusterFile, "runDir">, index: number) => join(cluster.runDir, `node${index + 1}.json`);

export interface NodeProcessOptions {
  runtime: RunState["runtime"];
  /** All nodes, with the first. */
  nodes: number;
  server: string;
  hostCidr: string;
  verbosity: number;
}

export class NodeProcesses implements Component {
  readonly name = "further nodes";
  readonly #dir: DataDir;
  readonly #cluster: ClusterFile;
  readonly #options: NodeProcessOptions;
  readonly #indexes: readonly number[];
  readonly #group: ProcessGroup;

  constructor(dir: DataDir, cluster: ClusterFile, options: NodeProcessOptions) {
    this.#dir = dir;
    this.#cluster = cluster;
    this.#options = options;
    this.#indexes = Array.from({ length: options.nodes - 1 }, (_, i) => i + 1);
    this.#group = new ProcessGroup({
      dir,
      command: "node",
      indexes: this.#indexes,
      name: nodeName,
      inside: (index) => insideHost(cluster.id, index),
      runDir: (index) => nodeHome(dir, cluster, index).runDir,
      logFile: (index) => `log/node${index + 1}.log`,
      verbosity: options.verbosity,
      settings: (index) => ({ file: nodeFile(cluster, index), content: this.#file(index) }),
      prepare: (index) => void mkdirSync(nodeHome(dir, cluster, index).dir, { recursive: true, mode: 0o711 }),
    });
  }

  /** Resolves once every node serves; rejects when one can't. */
  async start(): Promise<void> {
    const { id, podCidr } = this.#cluster;
    const hosts = this.#indexes.map((index) => ({ index, podCidr: podCidrOf(podCidr, index) }));
    await Promise.all([
      // A kubun that was killed leaves its nodes' processes; they go before new ones come.
      endNodeProcesses(this.#dir),
      makeHosts(id, hostNetwork(this.#options.hostCidr), hosts),
    ]);
    await Promise.all(this.#indexes.map((index) => this.#group.start(index)));
  }

  notReady(): string | undefined {
    return this.#group.notReady();
  }

  components(): Promise<ComponentStatus[]> {
    return this.#group.components();
  }

  stop(): Promise<void> {
    return this.#group.stop();
  }

  #file(index: number): NodeProcessFile {
    const { address, gateway } = hostNetwork(this.#options.hostCidr);
    const server = new URL(this.#options.server);
    server.hostname = gateway;
    return { index, ip: address(index), server: server.origin, runtime: this.#options.runtime };
  }
}

/** Ends the node processes of a cluster whose main process is gone: all, or those from node `from` on. */
export const endNodeProcesses = (dir: DataDir, from = 1): Promise<void> => endGroup(dir, "node", from);
