// The processes of the nodes after the first: each runs `kubun node` inside its
// host's network, is started again when it ends, and is found after a crash.
import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, existsSync, mkdirSync, openSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Component } from "../../platform/component.ts";
import { logger } from "../../platform/log.ts";
import { podCidrOf } from "./cluster.ts";
import { hostNetwork, insideHost, makeHost, makeHostBridge } from "./node-hosts.ts";
import { type ClusterFile, type DataDir, processStartTime, type RunState } from "./state.ts";

const log = logger("kubun");
/** Milliseconds before a node that ended is started again. */
const RESTART_DELAY = 1000;

/** What a node's process is told, in its environment of files. */
export interface NodeProcessFile {
  index: number;
  ip: string;
  /** Where the node reaches the apiserver and the name server's host. */
  server: string;
  runtime: RunState["runtime"];
  pid?: number;
  startTime?: string;
}

export const nodeFile = (cluster: Pick<ClusterFile, "runDir">, index: number) => join(cluster.runDir, `node${index + 1}.json`);

/** How this program is started again with other arguments. */
export const selfCommand = (...args: string[]): string[] => [
  process.execPath,
  ...(Bun.main.startsWith("/$bunfs") ? [] : [Bun.main]),
  ...args,
];

export class NodeProcesses implements Component {
  readonly name = "hosts of further nodes";
  readonly #dir: DataDir;
  readonly #cluster: ClusterFile;
  readonly #options: { runtime: RunState["runtime"]; nodes: number; server: string };
  readonly #children = new Map<number, ChildProcess>();
  #stopping = false;

  constructor(dir: DataDir, cluster: ClusterFile, options: { runtime: RunState["runtime"]; nodes: number; server: string }) {
    this.#dir = dir;
    this.#cluster = cluster;
    this.#options = options;
  }

  async start(): Promise<void> {
    const { id, podCidr } = this.#cluster;
    // A kubun that was killed leaves its nodes' processes; they go before new ones come.
    await endNodeProcesses(this.#cluster);
    await makeHostBridge(id);
    for (let index = 1; index < this.#options.nodes; index++) {
      await makeHost(id, index, podCidrOf(podCidr, index));
      this.#spawn(index);
    }
  }

  notReady(): string | undefined {
    const missing = this.#options.nodes - 1 - this.#children.size;
    return missing > 0 ? `${missing} of ${this.#options.nodes - 1} node processes are not running` : undefined;
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    await Promise.all(
      [...this.#children.values()].map(async (child) => {
        const ended = new Promise((done) => child.once("exit", done));
        child.kill("SIGTERM");
        await ended;
      }),
    );
  }

  #spawn(index: number): void {
    const { gateway, address } = hostNetwork(this.#cluster.id);
    const server = new URL(this.#options.server);
    server.hostname = gateway;
    const file: NodeProcessFile = { index, ip: address(index), server: server.origin, runtime: this.#options.runtime };
    const path = nodeFile(this.#cluster, index);
    writeFileSync(path, JSON.stringify(file));
    const logFile = this.#dir.file(`log/node${index + 1}.log`);
    mkdirSync(dirname(logFile), { recursive: true, mode: 0o700 });
    const output = openSync(logFile, "a", 0o600);
    const [program, ...args] = [
      ...insideHost(this.#cluster.id, index),
      ...selfCommand("node", `--data-dir=${this.#dir.path}`, `--index=${index}`),
    ];
    const child = spawn(program!, args, { stdio: ["ignore", output, output], detached: true });
    closeSync(output);
    this.#children.set(index, child);
    writeFileSync(path, JSON.stringify({ ...file, pid: child.pid, startTime: processStartTime(child.pid!) }));
    child.on("exit", (code, signal) => {
      this.#children.delete(index);
      if (this.#stopping) return;
      log.warn("A node's process ended; starting it again", { node: index + 1, code, signal, log: logFile });
      setTimeout(() => !this.#stopping && this.#spawn(index), RESTART_DELAY);
    });
  }
}

/** Ends the node processes of a cluster whose main process is gone. */
export async function endNodeProcesses(cluster: Pick<ClusterFile, "runDir">): Promise<void> {
  if (!existsSync(cluster.runDir)) return;
  for (const name of readdirSync(cluster.runDir).filter((f) => /^node\d+\.json$/.test(f))) {
    const { pid, startTime } = JSON.parse(readFileSync(join(cluster.runDir, name), "utf8")) as NodeProcessFile;
    const there = () => pid !== undefined && startTime !== undefined && processStartTime(pid) === startTime;
    if (!there()) continue;
    process.kill(pid!, "SIGTERM");
    const deadline = Date.now() + 10_000;
    while (there() && Date.now() < deadline) await Bun.sleep(10);
    if (there()) process.kill(pid!, "SIGKILL");
  }
}
