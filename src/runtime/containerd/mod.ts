// A private containerd from Debian's package. It lives on without kubun: the
// next start finds it, and `removeAll` ends it.
import { closeSync, existsSync, mkdirSync, openSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { Component } from "../../platform/component.ts";
import { readText, writeAtomic } from "../../platform/files.ts";
import { logger } from "../../platform/log.ts";
import { detachAllUnder } from "../../platform/mount.ts";
import { alive, identify, type ProcessId, signal } from "../../platform/process.ts";
import { type Channel, connect, createClient } from "../../rpc/client.ts";
import { ImageService, RuntimeService } from "../../rpc/gen/cri/runtime_pb.ts";
import type { Client } from "../../rpc/types.ts";
import { message } from "../errors.ts";
import { BUN_REPOSITORY } from "../images/bun.ts";
import { type ContainerdOptions, containerdConfig, PAUSE_IMAGE } from "./config.ts";
import { endedContainers } from "./events.ts";
import { isBunCurrent, type MadeImage, putBun, putPause } from "./images.ts";

export type { ContainerdOptions } from "./config.ts";

/** Milliseconds that it may take until it answers. */
const START_PATIENCE = 30_000;
const STOP_PATIENCE = 10_000;
/** Milliseconds between tries to start it again. */
const RESTART_PERIOD = 1000;

const log = logger("containerd");
const pidFile = (o: ContainerdOptions) => join(o.state, "containerd.pid");
const logFile = (o: ContainerdOptions) => join(o.root, "containerd.log");

type Clients = { runtime: Client<typeof RuntimeService>; images: Client<typeof ImageService>; channel: Channel };

async function withClients<T>(o: ContainerdOptions, use: (clients: Clients) => Promise<T>): Promise<T> {
  const channel = connect({ unix: o.socket });
  try {
    return await use({ runtime: createClient(RuntimeService, channel), images: createClient(ImageService, channel), channel });
  } finally {
    await channel.close();
  }
}

/** The containerd that an earlier start left, by its pid and command line. */
function running(o: ContainerdOptions): ProcessId | undefined {
  const process = identify(Number(readText(pidFile(o)) ?? "NaN"));
  if (process === undefined) return undefined;
  return readFileSync(`/proc/${process.pid}/cmdline`, "utf8").includes(o.socket) ? process : undefined;
}

function spawn(o: ContainerdOptions): ProcessId {
  const program = Bun.which("containerd", { PATH: `${process.env.PATH ?? ""}:/usr/sbin` });
  if (program === null || Bun.which("ctr") === null) throw new Error("containerd not found: install the Debian package containerd");
  for (const dir of [o.root, o.state, dirname(o.socket)]) mkdirSync(dir, { recursive: true, mode: 0o711 });
  const config = join(o.root, "config.toml");
  writeAtomic(config, containerdConfig(o));
  rmSync(o.socket, { force: true });
  const output = openSync(logFile(o), "a", 0o600);
  try {
    // A session of its own, so that Ctrl-C on kubun's terminal doesn't reach it.
    const child = Bun.spawn([program, "--config", config, "--address", o.socket], {
      stdio: ["ignore", output, output],
      detached: true,
      cwd: "/",
    });
    child.unref();
    writeAtomic(pidFile(o), String(child.pid));
    const found = identify(child.pid);
    if (found === undefined) throw new Error(failure(o));
    return found;
  } finally {
    closeSync(output);
  }
}

function failure(o: ContainerdOptions): string {
  const last = (readText(logFile(o)) ?? "").trim().split("\n").at(-1) ?? "";
  return `containerd ended while it started: ${last} (log: ${logFile(o)})`;
}

async function answers(o: ContainerdOptions, process: ProcessId): Promise<void> {
  const deadline = Date.now() + START_PATIENCE;
  for (;;) {
    if (!alive(process)) throw new Error(failure(o));
    if (existsSync(o.socket)) {
      try {
        return await withClients(o, async ({ runtime }) => void (await runtime.status({}, { timeout: 2000 })));
      } catch (error) {
        if (Date.now() > deadline) throw new Error(`containerd doesn't answer: ${message(error)} (log: ${logFile(o)})`, { cause: error });
      }
    }
    if (Date.now() > deadline) throw new Error(`containerd has no socket after ${START_PATIENCE / 1000} s (log: ${logFile(o)})`);
    await delay(10);
  }
}

async function launch(o: ContainerdOptions): Promise<void> {
  const found = running(o);
  if (found !== undefined) {
    try {
      return await answers(o, found);
    } catch (error) {
      // It was ending just now.
      if (alive(found)) throw error;
    }
  }
  await answers(o, spawn(o));
}

export class Containerd implements Component {
  readonly name = "containerd";
  readonly #options: ContainerdOptions;
  #problem: string | undefined = "starting";
  readonly #settling: Promise<void>[] = [];
  readonly #stop = new AbortController();
  readonly #ended: (containerId: string) => void;

  /** `ended` is told of each container and sandbox whose first process ended, maybe before the CRI says so. */
  constructor(options: ContainerdOptions, ended: (containerId: string) => void = () => {}) {
    this.#options = options;
    this.#ended = ended;
  }

  get address(): string {
    return `unix://${this.#options.socket}`;
  }

  notReady(): string | undefined {
    return this.#problem ?? (running(this.#options) ? undefined : "containerd has ended");
  }

  /** Adopts the one that runs or starts one, and gives it the images that no registry has. */
  async start(): Promise<void> {
    const o = this.#options;
    try {
      await launch(o);
      await withClients(o, async ({ images, channel }) => {
        const idOf = async (name: string) => (await images.imageStatus({ image: { image: name } })).image?.id;
        const put = async (image: Promise<MadeImage>) => {
          const { name, id, settled } = await image;
          this.#settling.push(settled.catch((error) => log.error("An image isn't on the disk yet; the next start makes it again", error)));
          // The CRI hears of new images by an event.
          while ((await idOf(name)) !== id) await delay(2);
        };
        await Promise.all([
          idOf(PAUSE_IMAGE).then((id) => (id === undefined ? put(putPause(o, channel)) : undefined)),
          idOf(`${BUN_REPOSITORY}:latest`).then((id) => (id === undefined || !isBunCurrent(o) ? put(putBun(o, channel)) : undefined)),
        ]);
      });
      this.#problem = undefined;
      void this.#keep();
    } catch (error) {
      this.#problem = message(error);
      throw error;
    }
  }

  /** Follows it, and starts it again whenever it ends; its containers don't notice. */
  async #keep(): Promise<void> {
    const o = this.#options;
    const { signal } = this.#stop;
    while (!signal.aborted) {
      const channel = connect({ unix: o.socket });
      const since = performance.now();
      try {
        for await (const id of endedContainers(channel, signal)) this.#ended(id);
      } catch (error) {
        if (!signal.aborted) log.info("containerd's event stream ended", { err: message(error) }, 2);
      } finally {
        await channel.close();
      }
      // One that ends at once every time isn't started in a busy loop.
      const pause = performance.now() - since < RESTART_PERIOD ? RESTART_PERIOD : 0;
      await delay(pause, undefined, { signal }).catch(() => {});
      if (signal.aborted) return;
      try {
        if (running(o) === undefined) {
          this.#problem = "containerd has ended and is started again";
          log.warn(this.#problem, { log: logFile(o) });
        }
        await launch(o);
        this.#problem = undefined;
      } catch (error) {
        this.#problem = message(error);
        log.error("containerd can't be started again", error);
      }
    }
  }

  /** Leaves containerd and its containers running, for the next start. */
  async stop(): Promise<void> {
    this.#stop.abort();
    this.#problem = "stopped";
    await Promise.all(this.#settling);
  }

  /** Removes every pod, ends containerd and takes its traces off the machine. Images stay. Idempotent. */
  static async removeAll(o: ContainerdOptions): Promise<void> {
    const used = existsSync(o.state) && readdirSync(o.state).length > 0;
    if (used) {
      try {
        await launch(o);
        await removePods(o);
      } catch (error) {
        log.warn("containerd can't be asked to remove its pods; its processes are ended instead", { err: message(error) });
      }
      const daemon = running(o);
      if (daemon !== undefined) await end(daemon);
      await endShims(o);
    }
    detachAllUnder(o.state);
    detachAllUnder(o.root);
    rmSync(o.state, { recursive: true, force: true });
    rmSync(o.socket, { force: true });
    rmSync(`${o.socket}.ttrpc`, { force: true });
  }
}

async function removePod(runtime: Clients["runtime"], podSandboxId: string): Promise<void> {
  const { containers } = await runtime.listContainers({ filter: { podSandboxId } });
  await Promise.all(containers.map(({ id: containerId }) => runtime.stopContainer({ containerId, timeout: 0n })));
  await runtime.stopPodSandbox({ podSandboxId });
  await runtime.removePodSandbox({ podSandboxId });
}

async function removePods(o: ContainerdOptions): Promise<void> {
  await withClients(o, async ({ runtime }) => {
    const deadline = Date.now() + STOP_PATIENCE;
    for (;;) {
      const { items } = await runtime.listPodSandbox({});
      const results = await Promise.allSettled(items.map(({ id }) => removePod(runtime, id)));
      const failed = results.find((r) => r.status === "rejected");
      if (failed === undefined) return;
      // A container that a killed kubelet was starting can be stopped only once it runs.
      if (Date.now() > deadline) throw failed.reason;
      await delay(20);
    }
  });
}

async function end(process: ProcessId): Promise<void> {
  signal(process, "SIGTERM");
  const deadline = Date.now() + STOP_PATIENCE;
  while (alive(process) && Date.now() < deadline) await delay(10);
  signal(process, "SIGKILL");
  while (alive(process)) await delay(10);
}

/** Shims name their containerd's socket on the command line. */
async function endShims(o: ContainerdOptions): Promise<void> {
  const shims: ProcessId[] = [];
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    const line = readText(`/proc/${pid}/cmdline`)?.split("\0") ?? [];
    if (!line[0]?.includes("containerd-shim") || !line.includes(o.socket)) continue;
    const process = identify(Number(pid));
    if (process) shims.push(process);
  }
  await Promise.all(shims.map(end));
}
