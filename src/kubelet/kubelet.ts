// The kubelet: brings the pods that are bound to its node to life by CRI, and
// tells the apiserver of them and of the node.
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type * as coreV1 from "../api/gen/core/v1.ts";
import type * as nodeV1 from "../api/gen/node/v1.ts";
import { EventRecorder } from "../client/events.ts";
import { Informer } from "../client/informer.ts";
import { pods, runtimeClasses, secrets, services } from "../client/resources.ts";
import type { Component } from "../platform/component.ts";
import { logger } from "../platform/log.ts";
import { ObjectCache } from "./config/objects.ts";
import { TokenManager } from "./config/tokens.ts";
import { type Cri, dial, rpcMessage } from "./cri/client.ts";
import { Pleg } from "./cri/pleg.ts";
import { ImageCollector } from "./images/collector.ts";
import { ImageManager } from "./images/manager.ts";
import { LogRotation } from "./log-rotation.ts";
import { NodeAgent } from "./node/agent.ts";
import { defaultIP, fileSystem, type Machine, machine } from "./node/machine.ts";
import { allocatable } from "./node/status.ts";
import type { KubeletOptions } from "./options.ts";
import { Backoff } from "./pod/backoff.ts";
import { PodCgroups } from "./pod/cgroup.ts";
import { type PodContext, recorder } from "./pod/context.ts";
import { type DnsConfig, parseResolvConf } from "./pod/dns.ts";
import { isMirrorPod, isStaticPod } from "./pod/labels.ts";
import { PodManager } from "./pods.ts";
import { runProbe } from "./probes/actions.ts";
import { ProbeManager } from "./probes/manager.ts";
import { StatusManager } from "./status-manager.ts";
import { VolumeManager } from "./volumes/manager.ts";

const defaultMaxPods = 110;
const defaultLogSize = 10 * 2 ** 20;
const defaultLogFiles = 5;
const crashLoop = { initial: 10_000, max: 300_000 };
/** A runtime that comes up beside us is tried again this soon, in milliseconds. */
const dialPeriod = 20;
const dialTimeout = 60_000;

export class Kubelet implements Component {
  readonly name = "kubelet";
  readonly #options: KubeletOptions;
  readonly #log = logger("kubelet");
  readonly #machine: Machine = machine();
  #cri: Cri | undefined;
  #pleg: Pleg | undefined;
  #node: NodeAgent | undefined;
  #pods: PodManager | undefined;
  #podInformer: Informer<coreV1.Pod> | undefined;
  #services: Informer<coreV1.Service> | undefined;
  #objects: ObjectCache | undefined;
  #probes: ProbeManager | undefined;
  #statuses: StatusManager | undefined;
  #events: EventRecorder | undefined;
  #server: { readonly port: number; readonly address: string; stop(): Promise<void> } | undefined;
  #runtimeTrouble: string | undefined = "the container runtime has not answered yet";
  readonly #background: { stop(): void }[] = [];
  #stopped = false;

  constructor(options: KubeletOptions) {
    this.#options = options;
  }

  get address(): string | undefined {
    return this.#server?.address;
  }

  notReady(): string | undefined {
    if (!this.#node) return this.#runtimeTrouble ?? "starting";
    return this.#node.problems[0];
  }

  async start(): Promise<void> {
    const o = this.#options;
    mkdirSync(join(o.rootDir, "pods"), { recursive: true });
    const events = new EventRecorder(o.transport, { component: "kubelet", host: o.nodeName, log: this.#log });
    this.#events = events;
    const [cri, version] = await this.#connect();
    this.#cri = cri;
    const hostIPs = [o.nodeIP ?? defaultIP()];

    const informer = new Informer<coreV1.Pod>(o.transport, pods, { fieldSelector: `spec.nodeName=${o.nodeName}`, log: this.#log });
    const serviceInformer = new Informer<coreV1.Service>(o.transport, services, { log: this.#log });
    this.#podInformer = informer;
    this.#services = serviceInformer;

    const objects = new ObjectCache(o.transport, (uid) => this.#pods?.objectChanged(uid));
    this.#objects = objects;
    const pleg = new Pleg({
      cri,
      log: this.#log,
      changed: (uid) => this.#pods?.runtimeChanged(uid),
      trouble: (text) => this.#runtimeState(text),
    });
    this.#pleg = pleg;
    const context = this.#context(cri, version.runtimeName, pleg, objects, events, hostIPs, serviceInformer);
    const room = { ...context.allocatable(), pods: o.maxPods ?? defaultMaxPods };
    const manager = new PodManager({ context, rootDir: o.rootDir, room, log: this.#log });
    this.#pods = manager;

    const node = new NodeAgent({
      transport: o.transport,
      cri,
      events,
      log: this.#log,
      machine: this.#machine,
      name: o.nodeName,
      ips: hostIPs,
      labels: o.nodeLabels ?? {},
      taints: o.taints ?? [],
      podCIDR: o.podCIDR,
      register: o.registerNode ?? true,
      maxPods: o.maxPods ?? defaultMaxPods,
      rootDir: o.rootDir,
      port: () => this.#server?.port ?? 10250,
      runtimeVersion: `${version.runtimeName}://${version.runtimeVersion}`,
      problems: () => (this.#runtimeTrouble ? [`PLEG is not healthy: ${this.#runtimeTrouble}`] : []),
    });
    this.#node = node;

    serviceInformer.start();
    await Promise.all([pleg.start(), this.#serve(context, manager)]);
    const mirrors = await this.#staticPods(manager, context, node);
    informer.on({
      add: (pod) => (isMirrorPod(pod) ? mirrors?.putMirror(pod) : manager.put(pod)),
      update: (_, pod) => (isMirrorPod(pod) ? mirrors?.putMirror(pod) : manager.put(pod)),
      delete: (pod) => (isMirrorPod(pod) ? mirrors?.deleteMirror(pod) : manager.delete(pod)),
    });
    informer.start();
    void informer.synced.then(() => {
      if (this.#stopped) return;
      mirrors?.synced();
      manager.synced();
    });
    const rotation = new LogRotation({
      cri,
      pleg,
      log: this.#log,
      maxSize: o.containerLogMaxSize ?? defaultLogSize,
      maxFiles: o.containerLogMaxFiles ?? defaultLogFiles,
    });
    const collector = new ImageCollector(cri, context.images.lastUsed, this.#log);
    this.#background.push(rotation, collector);
    for (const work of [rotation, collector]) work.start();
    await node.start();
  }

  /** Runs the pods of --pod-manifest-path, if there is one. */
  async #staticPods(manager: PodManager, context: PodContext, node: NodeAgent) {
    const { podManifestPath: path, transport, nodeName } = this.#options;
    if (!path) return undefined;
    const [{ MirrorPods, StaticPods }, { MirrorKeeper }] = await Promise.all([import("./config/static-pods.ts"), import("./mirrors.ts")]);
    const keeper = new MirrorKeeper(new MirrorPods(transport, () => node.node?.metadata.uid, this.#log), context.statuses, nodeName);
    const files = new StaticPods({
      path,
      nodeName,
      log: this.#log,
      put: (pod) => {
        manager.put(pod);
        keeper.putStatic(pod);
      },
      delete: (pod) => {
        manager.delete(pod);
        keeper.deleteStatic(pod);
      },
    });
    await files.start();
    this.#background.push(files, keeper);
    return keeper;
  }

  /** Waits for the runtime's socket: it may be starting beside us. */
  async #connect() {
    const cri = await dial(this.#options.runtimeEndpoint);
    const deadline = Date.now() + dialTimeout;
    for (;;) {
      try {
        const version = await cri.runtime.version({ version: "0.1.0" }, { timeout: 2000 });
        return [cri, version] as const;
      } catch (error) {
        this.#runtimeTrouble = rpcMessage(error);
        if (this.#stopped || Date.now() > deadline)
          throw new Error(`the container runtime at ${this.#options.runtimeEndpoint} does not answer: ${rpcMessage(error)}`, {
            cause: error,
          });
        await new Promise((resolve) => setTimeout(resolve, dialPeriod));
      }
    }
  }

  #runtimeState(text: string | undefined): void {
    const changed = (text === undefined) !== (this.#runtimeTrouble === undefined);
    this.#runtimeTrouble = text;
    if (changed) void this.#node?.update();
  }

  #hostDns(): DnsConfig {
    try {
      return parseResolvConf(readFileSync(this.#options.resolvConf ?? "/etc/resolv.conf", "utf8"));
    } catch (error) {
      this.#log.warn("The node's resolv.conf can't be read; pods get no name servers from it", { err: error });
      return { servers: [], searches: [], options: [] };
    }
  }

  #context(
    cri: Cri,
    runtimeName: string,
    pleg: Pleg,
    objects: ObjectCache,
    events: EventRecorder,
    hostIPs: string[],
    serviceInformer: Informer<coreV1.Service>,
  ): PodContext {
    const o = this.#options;
    const statuses = new StatusManager(o.transport, this.#log);
    this.#statuses = statuses;
    const room = allocatable({ machine: this.#machine, storage: fileSystem(o.rootDir).total, maxPods: o.maxPods ?? defaultMaxPods });
    const resources = { cpu: room.cpu!, memory: room.memory!, "ephemeral-storage": room["ephemeral-storage"]! };
    const probes = new ProbeManager({
      run: (probe, target) => runProbe(probe, { cri, ...target }),
      changed: (uid) => this.#pods?.runtimeChanged(uid),
      unhealthy: (pod, container, message) => recorder(context, pod, container)("Warning", "Unhealthy", message),
    });
    this.#probes = probes;
    const context: PodContext = {
      cri,
      pleg,
      objects,
      probes,
      statuses,
      events,
      hostIPs,
      runtimeName,
      transport: o.transport,
      log: this.#log,
      images: new ImageManager(cri),
      volumes: new VolumeManager({
        rootDir: o.rootDir,
        objects,
        tokens: new TokenManager(o.transport),
        allocatable: () => resources,
        addresses: (uid) => ({ podIPs: pleg.get(uid).sandboxes[0]?.ips ?? [], hostIPs }),
      }),
      cgroups: new PodCgroups(o.cgroupRoot ?? "/", this.#log),
      collecting: new Set(),
      backoff: new Backoff(crashLoop.initial, crashLoop.max),
      node: {
        rootDir: o.rootDir,
        podLogsDir: o.podLogsDir ?? join(o.rootDir, "logs"),
        cgroupRoot: o.cgroupRoot ?? "/",
        hostname: this.#machine.hostname,
        clusterDomain: o.clusterDomain ?? "cluster.local",
        memory: this.#machine.memory,
      },
      dns: () => ({ clusterDns: o.clusterDns ?? [], clusterDomain: o.clusterDomain ?? "cluster.local", host: this.#hostDns() }),
      allocatable: () => resources,
      services: async (pod) => {
        // A static pod may be what the apiserver itself waits for.
        if (!isStaticPod(pod)) await serviceInformer.synced;
        return serviceInformer.lister.list();
      },
      runtimeClass: (name) => o.transport.get<nodeV1.RuntimeClass>({ ...runtimeClasses, name }),
      secret: (pod, name) => o.transport.get<coreV1.Secret>({ ...secrets, namespace: pod.metadata.namespace!, name }),
    };
    return context;
  }

  async #serve(context: PodContext, manager: PodManager): Promise<void> {
    const { serving, transport: _, ...configz } = this.#options;
    if (!serving) return;
    const { KubeletServer } = await import("./server/server.ts");
    this.#server = await KubeletServer.start({
      serving,
      context,
      pods: manager,
      nodeName: configz.nodeName,
      configz,
      trouble: () => this.#runtimeTrouble,
      log: this.#log,
    });
  }

  /** A hint that a container or a sandbox has ended or is about to: its pod is looked at now, not with the next list. */
  expectEnd(containerId: string): void {
    this.#pleg?.expectEnd(containerId);
  }

  /** Ends the kubelet; containers keep running. */
  async stop(): Promise<void> {
    if (this.#stopped) return;
    this.#stopped = true;
    await Promise.all([this.#podInformer?.stop(), this.#services?.stop(), this.#objects?.stop()]);
    for (const work of this.#background) work.stop();
    this.#probes?.stop();
    this.#pleg?.stop();
    await this.#pods?.stop();
    await Promise.all([this.#statuses?.stop(), this.#node?.stop(), this.#events?.stop(), this.#server?.stop()]);
    await this.#cri?.close();
  }
}
