// The processes of the nodes after the first: each runs `kubun node` inside its
// host's network, is started again when it ends, and is found after a crash.
import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, mkdirSync, openSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Component } from "../../platform/component.ts";
import { logger } from "../../platform/log.ts";
import { alive, identify, type ProcessId, signal } from "../../platform/process.ts";
import { type ComponentStatus, fetchComponents } from "./control.ts";
import { hostNetwork } from "./host-network.ts";
import { insideHost, makeHosts } from "./node-hosts.ts";
import { nodeHome, nodeName, podCidrOf } from "./nodes.ts";
import type { DetachedMessage } from "./progress.ts";
import { selfCommand } from "./self.ts";
import type { ClusterFile, DataDir, RunState } from "./state.ts";

const log = logger("kubun");
/** Milliseconds that a process has to end by itself. */
const GRACE = 10_000;
/** Milliseconds after which a process that ended counts as one that had worked. */
const SETTLED = 30_000;

/** Milliseconds before a node's process is started again, the n-th time in a row. */
export const restartDelay = (failures: number): number => Math.min(100 * 2 ** failures, 30_000);

/** What a node's process is told. */
export interface NodeProcessFile {
  index: number;
  ip: string;
  /** Where the node reaches the apiserver. */
  server: string;
  runtime: RunState["runtime"];
}

export const nodeFile = (cluster: Pick<ClusterFile, "runDir">, index: number) => join(cluster.runDir, `node${index + 1}.json`);

const dataDirFlag = (dir: DataDir) => `--data-dir=${dir.path}`;

export interface NodeProcessOptions {
  runtime: RunState["runtime"];
  /** All nodes, with the first. */
  nodes: number;
  server: string;
  hostCidr: string;
  verbosity: number;
}

interface Child {
  process: ChildProcess;
  since: number;
  /** Settles once it serves, or ended before. */
  serving: PromiseWithResolvers<void>;
  /** Why it could not start, as it says itself. */
  failure?: string;
}

export class NodeProcesses implements Component {
  readonly name = "further nodes";
  readonly #dir: DataDir;
  readonly #cluster: ClusterFile;
  readonly #options: NodeProcessOptions;
  readonly #children = new Map<number, Child>();
  readonly #failures = new Map<number, number>();
  readonly #restarts = new Map<number, ReturnType<typeof setTimeout>>();
  #stopping = false;

  constructor(dir: DataDir, cluster: ClusterFile, options: NodeProcessOptions) {
    this.#dir = dir;
    this.#cluster = cluster;
    this.#options = options;
  }

  get #indexes(): number[] {
    return Array.from({ length: this.#options.nodes - 1 }, (_, i) => i + 1);
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
    await Promise.all(this.#indexes.map((index) => this.#spawn(index).serving.promise));
  }

  notReady(): string | undefined {
    const missing = this.#indexes.filter((index) => !this.#children.has(index)).map(nodeName);
    return missing.length > 0 ? `ended and about to be started again: ${missing.join(", ")}` : undefined;
  }

  /** Components of every node, or what keeps a node from telling. */
  async components(): Promise<ComponentStatus[]> {
    const rows = await Promise.all(
      this.#indexes.map(async (index) => {
        const node = nodeName(index);
        try {
          return (await fetchComponents(nodeHome(this.#dir, this.#cluster, index).runDir)).map((row) => ({ ...row, node }));
        } catch (e) {
          const pid = this.#children.get(index)?.process.pid;
          const message = pid ? `does not answer: ${(e as Error).message}` : "is being started again";
          return [{ name: "node", node, healthy: false, message, version: "", address: "", pid: pid ?? 0, memory: 0 }];
        }
      }),
    );
    return rows.flat();
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    for (const timer of this.#restarts.values()) clearTimeout(timer);
    const running = [...this.#children.values()].flatMap((c) => identify(c.process.pid!) ?? []);
    await endProcesses(running);
  }

  #spawn(index: number): Child {
    const { address, gateway } = hostNetwork(this.#options.hostCidr);
    const server = new URL(this.#options.server);
    server.hostname = gateway;
    const file: NodeProcessFile = { index, ip: address(index), server: server.origin, runtime: this.#options.runtime };
    writeFileSync(nodeFile(this.#cluster, index), JSON.stringify(file));
    const home = nodeHome(this.#dir, this.#cluster, index);
    for (const dir of [home.dir, home.runDir]) mkdirSync(dir, { recursive: true, mode: 0o711 });
    const logFile = this.#dir.file(`log/node${index + 1}.log`);
    mkdirSync(dirname(logFile), { recursive: true, mode: 0o700 });
    const output = openSync(logFile, "a", 0o600);
    const [program, ...args] = [
      ...insideHost(this.#cluster.id, index),
      ...selfCommand("node", dataDirFlag(this.#dir), `--index=${index}`, `--v=${this.#options.verbosity}`),
    ];
    const child: Child = {
      process: spawn(program!, args, { stdio: ["ignore", "pipe", output], detached: true }),
      since: performance.now(),
      serving: Promise.withResolvers(),
    };
    closeSync(output);
    // Whoever waits for it hears of a failure; a restart, for which nobody waits, is logged below.
    child.serving.promise.catch(() => {});
    this.#children.set(index, child);
    readMessages(child);
    child.process.on("exit", (code, signal) => {
      this.#children.delete(index);
      const why = child.failure ?? `ended with ${signal ?? `exit code ${code}`}`;
      child.serving.reject(new Error(`node ${nodeName(index)} could not start: ${why} (log: ${logFile})`));
      if (!this.#stopping) this.#startAgain(index, child, why);
    });
    return child;
  }

  #startAgain(index: number, child: Child, why: string): void {
    const failures = performance.now() - child.since > SETTLED ? 0 : (this.#failures.get(index) ?? 0);
    this.#failures.set(index, failures + 1);
    const delay = restartDelay(failures);
    log.warn("A node's process ended; starting it again", { node: nodeName(index), why, milliseconds: delay });
    this.#restarts.set(
      index,
      setTimeout(() => this.#spawn(index), delay),
    );
  }
}

/** Follows what a node's process tells while it starts. */
function readMessages(child: Child): void {
  let buffered = "";
  child.process.stdout!.on("data", (chunk: Buffer) => {
    const lines = (buffered + chunk).split("\n");
    buffered = lines.pop()!;
    for (const line of lines) {
      const message = JSON.parse(line) as DetachedMessage;
      if (message.type === "ready") child.serving.resolve();
      else if (message.type === "failed") child.failure = message.message;
    }
  });
}

/** The node processes of a cluster, whoever started them, by their command lines. */
function nodeProcesses(dir: DataDir): { process: ProcessId; index: number }[] {
  return readdirSync("/proc").flatMap((pid) => {
    if (!/^\d+$/.test(pid)) return [];
    try {
      const args = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
      const at = args.indexOf(dataDirFlag(dir));
      const index = /^--index=(\d+)$/.exec(args[at + 1] ?? "")?.[1];
      const process = identify(Number(pid));
      return at > 0 && args[at - 1] === "node" && index && process ? [{ process, index: Number(index) }] : [];
    } catch (e) {
      // It ended meanwhile.
      if (["ENOENT", "ESRCH"].includes((e as NodeJS.ErrnoException).code ?? "")) return [];
      throw e;
    }
  });
}

async function endProcesses(list: readonly ProcessId[]): Promise<void> {
  for (const process of list) {
    signal(process, "SIGTERM");
    // One that was stopped hears of its end only when it goes on.
    signal(process, "SIGCONT");
  }
  const deadline = Date.now() + GRACE;
  while (list.some(alive) && Date.now() < deadline) await Bun.sleep(10);
  for (const process of list) signal(process, "SIGKILL");
  while (list.some(alive)) await Bun.sleep(10);
}

/** Ends the node processes of a cluster whose main process is gone: all, or those from node `from` on. */
export const endNodeProcesses = (dir: DataDir, from = 1): Promise<void> =>
  endProcesses(nodeProcesses(dir).flatMap(({ process, index }) => (index >= from ? [process] : [])));
