// Pod sandboxes: pinned namespaces with a network, no process needed. They
// stand on disk and in the kernel, so they outlive the runtime.

import { existsSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { removeCgroup } from "../../platform/cgroup.ts";
import { readJson, writeAtomic } from "../../platform/files.ts";
import type { Logger } from "../../platform/log.ts";
import { detachMount, MS, mount } from "../../platform/mount.ts";
import { createNamespaces, linkUp, type NamespaceKind, removeNamespace, setHostname, setSysctls } from "../../platform/netns.ts";
import { bootId } from "../../platform/process.ts";
import { ContainerEventType, NamespaceMode, type PodSandboxConfig, Protocol } from "../../rpc/gen/cri/runtime_pb.ts";
import { Code, RpcError } from "../../rpc/types.ts";
import { loadConfig } from "../cni/config.ts";
import { addHostPorts, removeHostPorts } from "../cni/hostport.ts";
import { addNetwork, type CniTarget, delNetwork, type PortMapping } from "../cni/invoke.ts";
import { message, notFound, wrap } from "../errors.ts";
import type { EventStream } from "../events.ts";
import { newId } from "../ids.ts";
import * as layout from "../layout.ts";
import type { OciRuntime } from "../oci/runtime.ts";
import { podHostname, writeSandboxFiles } from "./files.ts";
import { removeHolder, startHolder } from "./holder.ts";
import { decodeSandbox, encodeSandbox, type SandboxRecord } from "./record.ts";

export interface SandboxOptions extends layout.RuntimePaths {
  clusterId: string;
  cniConfDir: string;
  cniBinDirs: readonly string[];
  /** Where groups go whose parent the kubelet doesn't name. */
  cgroupParent: string;
  oci: OciRuntime;
  events: EventStream;
  log: Logger;
}

/** RuntimeClass handlers that exist; all run on the same OCI runtime. */
export const HANDLERS = ["", "bun"] as const;

const SHM_SIZE = "65536k";
const now = () => BigInt(Date.now()) * 1_000_000n;

export class Sandboxes {
  readonly #options: SandboxOptions;
  readonly #all = new Map<string, SandboxRecord>();
  /** Teardowns under way: a second one waits for the first. */
  readonly #stopping = new Map<string, Promise<void>>();

  constructor(options: SandboxOptions) {
    this.#options = options;
  }

  /** Takes over what earlier runtimes left. */
  async adopt(): Promise<void> {
    mkdirSync(layout.sandboxes(this.#options), { recursive: true, mode: 0o711 });
    for (const id of readdirSync(layout.sandboxes(this.#options))) {
      try {
        const stored = readJson<unknown>(join(layout.sandboxDir(this.#options, id), "state.json"));
        if (stored === undefined) throw new Error("no state.json");
        const record = decodeSandbox(stored);
        // A boot takes the namespaces with it; the addresses are still to be given back.
        const gone = record.bootId !== bootId() || (record.namespaces.net !== undefined && !existsSync(record.namespaces.net));
        if (gone) record.ready = false;
        this.#all.set(id, record);
      } catch (error) {
        this.#options.log.warn("Removing a sandbox that was left half made", { podSandboxID: id, err: message(error) });
        await this.#leaveNetwork(id);
        await this.#removeTraces(id);
      }
    }
  }

  get(id: string): SandboxRecord {
    const record = this.find(id);
    if (record === undefined) throw notFound("sandbox", id);
    return record;
  }

  /** By ID or a unique beginning of it. */
  find(id: string): SandboxRecord | undefined {
    const exact = this.#all.get(id);
    if (exact !== undefined || id === "") return exact;
    const matches = [...this.#all.keys()].filter((k) => k.startsWith(id));
    return matches.length === 1 ? this.#all.get(matches[0]!) : undefined;
  }

  list(): SandboxRecord[] {
    return [...this.#all.values()];
  }

  dir(record: SandboxRecord): string {
    return layout.sandboxDir(this.#options, record.id);
  }

  cgroupParent(record: SandboxRecord): string {
    return record.config.linux?.cgroupParent || `${this.#options.cgroupParent}/${record.id}`;
  }

  async run(config: PodSandboxConfig, handler: string): Promise<SandboxRecord> {
    if (!(HANDLERS as readonly string[]).includes(handler)) {
      throw new RpcError(Code.Unknown, `failed to get sandbox runtime: no runtime for ${JSON.stringify(handler)} is configured`);
    }
    const id = newId();
    const dir = layout.sandboxDir(this.#options, id);
    const options = config.linux?.securityContext?.namespaceOptions;
    const hostNetwork = options?.network === NamespaceMode.NODE;
    const hostIpc = options?.ipc === NamespaceMode.NODE;
    const pin = (kind: NamespaceKind) => join(layout.namespaceDir(this.#options, id), kind);
    const record: SandboxRecord = {
      id,
      bootId: bootId(),
      createdAt: now(),
      ready: false,
      handler,
      config,
      // A pod on the host's network has the host's name too.
      namespaces: { ...(hostNetwork ? {} : { net: pin("net"), uts: pin("uts") }), ...(hostIpc ? {} : { ipc: pin("ipc") }) },
      ...(hostIpc ? {} : { shm: layout.shmDir(this.#options, id) }),
      ips: [],
    };
    mkdirSync(dir, { recursive: true, mode: 0o711 });
    try {
      if (!hostNetwork) record.network = { config: loadConfig(this.#options.cniConfDir) };
      this.#save(record);
      this.#makeNamespaces(record);
      const joined = hostNetwork ? undefined : this.#joinNetwork(record);
      // It may fail before anybody waits for it below.
      joined?.catch(() => {});
      try {
        writeSandboxFiles(dir, config);
        if (record.shm !== undefined) {
          mkdirSync(record.shm, { recursive: true });
          mount("shm", record.shm, "tmpfs", MS.NOSUID | MS.NODEV | MS.NOEXEC, `mode=1777,size=${SHM_SIZE}`);
        }
        if (options?.pid === NamespaceMode.POD) {
          record.holder = await startHolder(this.#options.oci, id, dir, `${this.cgroupParent(record)}/${id}`);
        }
      } finally {
        await joined;
      }
      record.ready = true;
      this.#save(record);
    } catch (error) {
      await this.#teardown(record).catch((cause: unknown) => {
        this.#options.log.error("Can't undo a sandbox that failed to start", cause, { podSandboxID: id });
      });
      await this.#removeTraces(id);
      throw error;
    }
    this.#all.set(id, record);
    this.#emit(record, ContainerEventType.CONTAINER_CREATED_EVENT);
    this.#emit(record, ContainerEventType.CONTAINER_STARTED_EVENT);
    return record;
  }

  /** Takes it off the network and its namespaces away. Its containers have to be stopped before. */
  async stop(record: SandboxRecord): Promise<void> {
    const running = this.#stopping.get(record.id);
    if (running !== undefined) return await running;
    if (!record.ready && record.network === undefined && record.holder === undefined && this.#unmounted(record)) return;
    const work = this.#teardown(record).finally(() => this.#stopping.delete(record.id));
    this.#stopping.set(record.id, work);
    await work;
  }

  async remove(record: SandboxRecord): Promise<void> {
    await this.stop(record);
    await this.#removeTraces(record.id);
    // A parent that the kubelet named is the kubelet's to remove.
    if (!record.config.linux?.cgroupParent) await removeCgroup(this.cgroupParent(record));
    this.#all.delete(record.id);
    this.#emit(record, ContainerEventType.CONTAINER_DELETED_EVENT);
  }

  #unmounted(record: SandboxRecord): boolean {
    return Object.values(record.namespaces).every((path) => !existsSync(path)) && (record.shm === undefined || !existsSync(record.shm));
  }

  #emit(record: SandboxRecord, type: ContainerEventType): void {
    this.#options.events.emit({ containerId: record.id, sandboxId: record.id, type, at: now() });
  }

  #save(record: SandboxRecord): void {
    writeAtomic(join(this.dir(record), "state.json"), encodeSandbox(record));
  }

  #makeNamespaces(record: SandboxRecord): void {
    const { namespaces, config } = record;
    if (Object.keys(namespaces).length === 0) return;
    createNamespaces(namespaces, () => {
      if (namespaces.uts !== undefined) setHostname(podHostname(config));
      if (namespaces.net !== undefined) linkUp("lo");
      setSysctls(config.linux?.sysctls ?? {});
    });
  }

  #target(record: SandboxRecord, netns: string): CniTarget {
    const m = record.config.metadata;
    return {
      containerId: record.id,
      netns,
      ifName: "eth0",
      args: {
        K8S_POD_NAMESPACE: m?.namespace ?? "",
        K8S_POD_NAME: m?.name ?? "",
        K8S_POD_INFRA_CONTAINER_ID: record.id,
        K8S_POD_UID: m?.uid ?? "",
      },
      portMappings: portMappings(record.config),
    };
  }

  async #joinNetwork(record: SandboxRecord): Promise<void> {
    const { config } = record.network!;
    const target = this.#target(record, record.namespaces.net!);
    try {
      const result = await addNetwork(config, target, this.#options.cniBinDirs);
      record.network = { config, result };
      record.ips = (result.ips ?? []).map((ip) => ip.address.split("/")[0]!);
      if (record.ips.length === 0) throw new Error(`network ${JSON.stringify(config.name)} gave no address`);
      const byPlugin = config.plugins.some((p) => p.capabilities?.portMappings);
      if (!byPlugin && target.portMappings.length > 0) {
        const links = (result.interfaces ?? []).filter((i) => !i.sandbox).map((i) => i.name);
        await addHostPorts(this.#options.clusterId, record.id, record.ips[0]!, links, target.portMappings);
      }
    } catch (error) {
      throw wrap(`failed to setup network for sandbox ${JSON.stringify(record.id)}`, error);
    }
  }

  /** Gives back the addresses and ports of a sandbox of which only the ID is known. */
  async #leaveNetwork(id: string): Promise<void> {
    const net = join(layout.namespaceDir(this.#options, id), "net");
    const target = { containerId: id, netns: existsSync(net) ? net : "", ifName: "eth0", args: {}, portMappings: [] };
    try {
      await removeHostPorts(this.#options.clusterId, id);
      await delNetwork(loadConfig(this.#options.cniConfDir), target, this.#options.cniBinDirs);
    } catch (error) {
      this.#options.log.warn("A pod's network could not be taken down by its plugins", { podSandboxID: id, err: message(error) });
    }
  }

  async #teardown(record: SandboxRecord): Promise<void> {
    if (record.ready) {
      record.ready = false;
      this.#save(record);
      this.#emit(record, ContainerEventType.CONTAINER_STOPPED_EVENT);
    }
    if (record.holder !== undefined) {
      await removeHolder(this.#options.oci, record.id, this.dir(record));
      delete record.holder;
    }
    if (record.network !== undefined) {
      const { config, result } = record.network;
      const net = record.namespaces.net;
      // Without the namespace the plugins still give the address back.
      const netns = net !== undefined && record.bootId === bootId() && existsSync(net) ? net : "";
      if (portMappings(record.config).length > 0) await removeHostPorts(this.#options.clusterId, record.id);
      try {
        await delNetwork(config, this.#target(record, netns), this.#options.cniBinDirs, result);
      } catch (error) {
        throw wrap(`failed to destroy network for sandbox ${JSON.stringify(record.id)}`, error);
      }
      delete record.network;
    }
    releaseKernelState(this.#options, record.id);
    if (existsSync(this.dir(record))) this.#save(record);
  }

  async #removeTraces(id: string): Promise<void> {
    await removeHolder(this.#options.oci, id, layout.sandboxDir(this.#options, id));
    releaseKernelState(this.#options, id);
    rmSync(layout.sandboxDir(this.#options, id), { recursive: true, force: true });
  }
}

/** Lets go of the namespaces and the shared memory of a sandbox; fine if they are gone. */
export function releaseKernelState(paths: layout.RuntimePaths, id: string): void {
  const namespaces = layout.namespaceDir(paths, id);
  for (const kind of ["net", "ipc", "uts"]) removeNamespace(join(namespaces, kind));
  rmSync(namespaces, { recursive: true, force: true });
  const shm = layout.shmDir(paths, id);
  detachMount(shm);
  rmSync(shm, { recursive: true, force: true });
}

/** The ports of the host that lead into the pod. */
export function portMappings(config: PodSandboxConfig): PortMapping[] {
  return config.portMappings
    .filter((p) => p.hostPort > 0)
    .map((p) => ({
      hostPort: p.hostPort,
      containerPort: p.containerPort,
      protocol: Protocol[p.protocol].toLowerCase(),
      ...(p.hostIp === "" ? {} : { hostIP: p.hostIp }),
    }));
}
