// The embedded runtime: the CRI on a unix socket, over an OCI runtime, conmon
// and CNI plugins. Stopping it leaves containers running; the next adopts them.
import { closeSync, mkdirSync, openSync, rmSync } from "node:fs";
import { dirname } from "node:path";
import type { Component } from "../platform/component.ts";
import { tryLock } from "../platform/ffi.ts";
import { writeAtomic } from "../platform/files.ts";
import { logger } from "../platform/log.ts";
import { VERSION } from "../platform/version.ts";
import { createRpcServer, type RpcListener } from "../rpc/server.ts";
import { Containers } from "./container/containers.ts";
import { StatsCollector } from "./container/stats.ts";
import { imageService } from "./cri/image-service.ts";
import { importService } from "./cri/import-service.ts";
import { runtimeService } from "./cri/runtime-service.ts";
import { message } from "./errors.ts";
import { EventStream } from "./events.ts";
import { ensureBunImage } from "./images/bun.ts";
import { ImageStore } from "./images/store.ts";
import * as layout from "./layout.ts";
import { findOciRuntime, OciRuntime } from "./oci/runtime.ts";
import { Sandboxes } from "./sandbox/sandboxes.ts";
import { StreamingServer } from "./streaming/server.ts";

export interface EmbeddedRuntimeOptions extends layout.RuntimePaths {
  /** Eight hex digits that mark what is made on the machine. */
  clusterId: string;
  /** At most 107 bytes. */
  socketPath: string;
  cniConfDir: string;
  cniBinDirs: readonly string[];
  /** Group of pods for which the kubelet names none. */
  cgroupParent: string;
  /** Path of runc or crun; found on PATH if absent. */
  ociRuntime?: string;
}

interface Running {
  lock: number;
  containers: Containers;
  streaming: StreamingServer;
  listener: RpcListener;
}

export class EmbeddedRuntime implements Component {
  readonly name = "cri-runtime";
  readonly #options: EmbeddedRuntimeOptions;
  #running: Running | undefined;
  #problem: string | undefined = "starting";

  constructor(options: EmbeddedRuntimeOptions) {
    this.#options = options;
  }

  get address(): string {
    return `unix://${this.#options.socketPath}`;
  }

  notReady(): string | undefined {
    return this.#problem;
  }

  async start(): Promise<void> {
    try {
      this.#running = await this.#start();
      this.#problem = undefined;
    } catch (error) {
      this.#problem = message(error);
      throw error;
    }
  }

  async #start(): Promise<Running> {
    const o = this.#options;
    mkdirSync(o.root, { recursive: true, mode: 0o711 });
    mkdirSync(o.runDir, { recursive: true, mode: 0o711 });
    mkdirSync(dirname(o.socketPath), { recursive: true, mode: 0o711 });
    const lock = openSync(layout.lockFile(o), "a", 0o600);
    try {
      if (!tryLock(lock)) throw new Error(`another runtime has ${o.root} open`);
      const oci = new OciRuntime(o.ociRuntime ?? findOciRuntime(), layout.runcRoot(o));
      const settings: layout.Settings = {
        version: 1,
        clusterId: o.clusterId,
        ociRuntime: oci.path,
        cniConfDir: o.cniConfDir,
        cniBinDirs: o.cniBinDirs,
        cgroupParent: o.cgroupParent,
      };
      writeAtomic(layout.settingsFile(o), JSON.stringify(settings, undefined, 1));
      return await this.#serve(oci, lock);
    } catch (error) {
      closeSync(lock);
      throw error;
    }
  }

  async #serve(oci: OciRuntime, lock: number): Promise<Running> {
    const o = this.#options;
    const log = logger("runtime");
    const events = new EventStream();
    const images = new ImageStore(layout.images(o));
    const sandboxes = new Sandboxes({ ...o, oci, events, log });
    const containers = new Containers({ ...o, oci, images, sandboxes, events, log });
    const streaming = new StreamingServer(log);
    await sandboxes.adopt();
    await Promise.all([containers.adopt().then(() => ensureBunImage(images, containers.layersInUse())), streaming.start()]);
    const puller = async () => {
      const { Puller } = await import("./images/registry.ts");
      return new Puller(images);
    };
    let thePuller: ReturnType<typeof puller> | undefined;
    const server = createRpcServer({
      services: [
        runtimeService({
          version: VERSION,
          sandboxes,
          containers,
          stats: new StatsCollector(),
          events,
          oci,
          streaming,
          cniConfDir: o.cniConfDir,
        }),
        imageService({
          ...o,
          images,
          containers,
          puller: () => {
            thePuller ??= puller();
            return thePuller;
          },
        }),
        importService(images),
      ],
      // The kubelet's limit for the same messages.
      maxReceiveSize: 16 << 20,
    });
    rmSync(o.socketPath, { force: true });
    const listener = await server.listen({ unix: o.socketPath });
    return { lock, containers, streaming, listener };
  }

  async stop(): Promise<void> {
    const running = this.#running;
    if (running === undefined) return;
    this.#running = undefined;
    this.#problem = "stopped";
    running.containers.close();
    await Promise.all([running.listener.close(), running.streaming.stop()]);
    rmSync(this.#options.socketPath, { force: true });
    closeSync(running.lock);
  }
}
