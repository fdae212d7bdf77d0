// The process in front of several apiservers: `kubun balancer`, which `up` keeps,
// and which keeps a detached `up`.
import { createServer } from "node:net";
import { join } from "node:path";
import type { Component } from "../../platform/component.ts";
import type { Backend } from "./balancer.ts";
import { inUse } from "./control-plane.ts";
import { ProcessGroup, readSettings } from "./process-group.ts";
import type { ClusterFile, DataDir } from "./state.ts";
import type { UpOptions } from "./up-options.ts";

/** What the process is told. */
export interface FrontFile {
  listen: { host: string; port: number };
  backends: Backend[];
  /** How `up` is started again when it was killed. */
  restart?: UpOptions["restart"];
}

export const frontFile = (cluster: Pick<ClusterFile, "runDir">) => join(cluster.runDir, "balancer.json");
export const frontRunDir = (cluster: Pick<ClusterFile, "runDir">) => join(cluster.runDir, "b");

/** A port that can be listened at: the one given, or a free one for 0. Throws what listening does. */
async function freePort(host: string, port: number): Promise<number> {
  const server = createServer();
  await new Promise<void>((done, failed) => {
    server.once("error", failed);
    server.listen(port, host, done);
  });
  const found = (server.address() as { port: number }).port;
  await new Promise((done) => server.close(done));
  return found;
}

export class Front implements Component {
  readonly name = "balancer";
  readonly #options: Pick<UpOptions, "port" | "controlPlaneOnly" | "restart">;
  readonly #hosts: readonly { name: string; host: string }[];
  readonly group: ProcessGroup;
  #port: number;

  constructor(options: UpOptions, dir: DataDir, cluster: ClusterFile, hosts: readonly { name: string; host: string }[]) {
    this.#options = options;
    this.#hosts = hosts;
    // Who takes any port keeps the one that clients know.
    this.#port = options.port || (readSettings<FrontFile>(frontFile(cluster))?.listen.port ?? 0);
    this.group = new ProcessGroup({
      dir,
      command: "balancer",
      indexes: [0],
      name: () => "",
      inside: () => [],
      runDir: () => frontRunDir(cluster),
      logFile: () => "log/balancer.log",
      verbosity: options.verbosity,
      settings: () => ({ file: frontFile(cluster), content: this.#file() }),
      prepare: () => {},
    });
  }

  get port(): number {
    return this.#port;
  }

  get address(): string {
    return `https://127.0.0.1:${this.#port}`;
  }

  #file(): FrontFile {
    const { controlPlaneOnly, restart } = this.#options;
    const port = this.#port;
    return {
      listen: { host: controlPlaneOnly ? "127.0.0.1" : "0.0.0.0", port },
      backends: this.#hosts.map(({ name, host }) => ({ name, host, port })),
      ...(restart ? { restart } : {}),
    };
  }

  /** Goes on with the process that is there, or finds the port for a new one. Throws UsageError where it is taken. */
  async find(): Promise<void> {
    if (this.#port !== 0 && (await this.group.adopt(0))) return;
    const { host } = this.#file().listen;
    const any = this.#options.port === 0;
    this.#port = await freePort(host, this.#port).catch((error: unknown) => {
      if (!any || (error as NodeJS.ErrnoException).code !== "EADDRINUSE") throw inUse(error, this.#port);
      return freePort(host, 0);
    });
  }

  /** Resolves once it listens. */
  start(): Promise<void> {
    return this.group.start(0);
  }

  notReady(): string | undefined {
    return this.group.notReady();
  }

  stop(): Promise<void> {
    return this.group.stop();
  }
}
