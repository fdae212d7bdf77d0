// Keeps the Node object and its Lease: registers at start, tells of changes as
// they happen, and of being alive by a lease each ten seconds.

import type * as coordinationV1 from "../../api/gen/coordination/v1.ts";
import type * as coreV1 from "../../api/gen/core/v1.ts";
import { isAlreadyExists, isConflict, isNotFound } from "../../api/status.ts";
import { microTimestamp } from "../../client/clock.ts";
import type { EventSink } from "../../client/events.ts";
import { leases, nodes } from "../../client/resources.ts";
import type { ApiTransport } from "../../client/transport.ts";
import type { Logger } from "../../platform/log.ts";
import { type Cri, rpcMessage } from "../cri/client.ts";
import { fileSystem, type Machine } from "./machine.ts";
import { type NodeInput, nodeLabels, nodeObject, nodeStatus, statusChanged } from "./status.ts";

const leaseNamespace = "kube-node-lease";
const leaseSeconds = 40;
const leasePeriod = 10_000;
const statusPeriod = 10_000;
/** A status that did not change is written this often all the same. */
const reportPeriod = 300_000;
const retryFirst = 20;
const retryMax = 2000;
const maxImages = 50;

export interface NodeAgentOptions {
  transport: ApiTransport;
  cri: Cri;
  events: EventSink;
  log: Logger;
  machine: Machine;
  name: string;
  ips: string[];
  labels: Record<string, string>;
  taints: readonly coreV1.Taint[];
  podCIDR?: string;
  register: boolean;
  maxPods: number;
  rootDir: string;
  port(): number;
  runtimeVersion: string;
  /** What else keeps the node from being ready. */
  problems(): string[];
}

const delay = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms).unref?.());

export class NodeAgent {
  readonly #o: NodeAgentOptions;
  readonly #stop = new AbortController();
  #node: coreV1.Node | undefined;
  #lastReport = 0;
  #ready = false;
  #announced = "";
  #images: coreV1.ContainerImage[] = [];
  #handlers: coreV1.NodeRuntimeHandler[] = [];
  #features: coreV1.NodeFeatures | undefined;
  #updating: Promise<void> | undefined;
  #again = false;
  #timers: ReturnType<typeof setTimeout>[] = [];
  #podCidr = "";
  #runtimeProblems: string[] = ["container runtime status check may not have completed yet"];

  constructor(options: NodeAgentOptions) {
    this.#o = options;
  }

  /** What keeps the node from being ready; empty when it is, and the apiserver knows. */
  get problems(): string[] {
    return this.#ready ? [] : [...this.#runtimeProblems, ...this.#o.problems()];
  }

  get node(): coreV1.Node | undefined {
    return this.#node;
  }

  /** Registers; resolves when the apiserver has the node. The rest goes on by itself. */
  async start(): Promise<void> {
    await this.#checkRuntime();
    await this.#register();
    this.#event("Starting", "Starting kubelet.");
    void this.#lease();
    void this.#untilReady();
    this.#every(leasePeriod, () => this.#lease());
    this.#every(statusPeriod, () => this.update());
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    for (const t of this.#timers) clearTimeout(t);
    await Promise.race([this.#updating, delay(200)]);
  }

  #every(ms: number, work: () => Promise<void>): void {
    const i = this.#timers.length;
    const next = () => {
      // Nodes that started together spread out.
      this.#timers[i] = setTimeout(() => void work().finally(() => this.#stop.signal.aborted || next()), ms * (1 + 0.04 * Math.random()));
    };
    next();
  }

  /** The runtime's network may come a moment later than the runtime. */
  async #untilReady(): Promise<void> {
    let wait = retryFirst;
    while (!this.#stop.signal.aborted) {
      await this.update();
      if (this.#ready) return;
      await delay(wait);
      wait = Math.min(retryMax, wait * 1.5);
    }
  }

  async #checkRuntime(): Promise<void> {
    const problems: string[] = [];
    try {
      const answer = await this.#o.cri.runtime.status({}, { timeout: 5000 });
      for (const c of answer.status?.conditions ?? []) {
        if (c.status) continue;
        const what = c.type === "NetworkReady" ? "container runtime network not ready" : "container runtime not ready";
        problems.push(`${what}: ${c.type}=false reason:${c.reason} message:${c.message}`);
      }
      this.#handlers = answer.runtimeHandlers.map((h) => ({
        name: h.name,
        ...(h.features
          ? { features: { recursiveReadOnlyMounts: h.features.recursiveReadOnlyMounts, userNamespaces: h.features.userNamespaces } }
          : {}),
      }));
      if (answer.features) this.#features = { supplementalGroupsPolicy: answer.features.supplementalGroupsPolicy };
    } catch (error) {
      problems.push(`container runtime is down: ${rpcMessage(error)}`);
    }
    this.#runtimeProblems = problems;
  }

  async #listImages(): Promise<void> {
    try {
      const { images } = await this.#o.cri.image.listImages({}, { timeout: 5000 });
      this.#images = images
        .map((i) => ({ names: [...i.repoDigests, ...i.repoTags].slice(0, 5), sizeBytes: Number(i.size) }))
        .filter((i) => i.names.length > 0)
        .sort((a, b) => b.sizeBytes - a.sizeBytes)
        .slice(0, maxImages);
    } catch (error) {
      this.#o.log.warn("Could not list images", { err: rpcMessage(error) });
    }
  }

  #input(): NodeInput {
    const { machine, name, ips, labels, taints, podCIDR, maxPods } = this.#o;
    return {
      name,
      ips,
      machine,
      labels,
      taints,
      podCIDR,
      maxPods,
      port: this.#o.port(),
      storage: fileSystem(this.#o.rootDir).total,
      runtimeVersion: this.#o.runtimeVersion,
      runtimeHandlers: this.#handlers,
      ...(this.#features ? { features: this.#features } : {}),
      images: this.#images,
      problems: [...this.#runtimeProblems, ...this.#o.problems()],
      pressure: { memory: false, disk: false, pid: false },
      now: Date.now(),
    };
  }

  async #register(): Promise<void> {
    let wait = retryFirst;
    while (!this.#stop.signal.aborted) {
      try {
        this.#node = this.#o.register ? await this.#createOrUpdate() : await this.#get();
        await this.#networkConfig();
        const ready = this.#node.status?.conditions?.find((c) => c.type === "Ready");
        this.#lastReport = this.#o.register && ready?.status === "True" ? Date.now() : 0;
        return;
      } catch (error) {
        this.#o.log.warn("Unable to register node with API server", { node: this.#o.name, err: error });
        await delay(wait);
        wait = Math.min(retryMax, wait * 1.5);
      }
    }
  }

  #get(): Promise<coreV1.Node> {
    return this.#o.transport.get<coreV1.Node>({ ...nodes, name: this.#o.name });
  }

  async #createOrUpdate(): Promise<coreV1.Node> {
    const wanted = nodeObject(this.#input());
    try {
      return await this.#o.transport.create<coreV1.Node>(nodes, wanted);
    } catch (error) {
      if (!isAlreadyExists(error)) throw error;
    }
    const existing = await this.#get();
    const labels = { ...existing.metadata.labels, ...nodeLabels(this.#input()) };
    const changed = Object.entries(labels).some(([k, v]) => existing.metadata.labels?.[k] !== v);
    if (!changed) return existing;
    return this.#o.transport.patch<coreV1.Node>({ ...nodes, name: this.#o.name }, "strategic", { metadata: { labels } });
  }

  /** Looks at the machine and the runtime, and tells the apiserver if something changed. */
  update(): Promise<void> {
    if (this.#updating) {
      this.#again = true;
      return this.#updating;
    }
    this.#updating = this.#update().finally(() => {
      this.#updating = undefined;
      if (!this.#again) return;
      this.#again = false;
      void this.update();
    });
    return this.#updating;
  }

  async #update(): Promise<void> {
    try {
      // Others write to the node as well: the node lifecycle controller says Unknown of one that was silent.
      const node = this.#get();
      await Promise.allSettled([node, this.#checkRuntime(), this.#listImages()]);
      this.#node = await node;
      const input = this.#input();
      const before = this.#node.status ?? {};
      const status = nodeStatus(input, before);
      if (statusChanged(before, status) || Date.now() - this.#lastReport > reportPeriod) {
        // Conditions merge by type, so that what others write stays.
        this.#node = await this.#o.transport.patch<coreV1.Node>({ ...nodes, name: this.#o.name, subresource: "status" }, "strategic", {
          status: { ...status, addresses: [{ $patch: "replace" }, ...(status.addresses ?? [])] },
        });
        this.#lastReport = Date.now();
      }
      await this.#networkConfig();
      this.#ready = input.problems.length === 0;
      this.#announce(status);
    } catch (error) {
      if (isNotFound(error) && this.#o.register) return this.#register();
      if (this.#stop.signal.aborted) return;
      this.#o.log.warn("Unable to update node status", { node: this.#o.name, err: error });
      this.#lastReport = 0;
    }
  }

  /** Tells the runtime of the pod network that the node was given. */
  async #networkConfig(): Promise<void> {
    const cidr = (this.#node?.spec.podCIDRs ?? []).join(",") || this.#node?.spec.podCIDR || this.#o.podCIDR || "";
    if (cidr === "" || cidr === this.#podCidr) return;
    await this.#o.cri.runtime.updateRuntimeConfig({ runtimeConfig: { networkConfig: { podCidr: cidr } } });
    this.#podCidr = cidr;
  }

  #announce(status: coreV1.NodeStatus): void {
    const ready = status.conditions?.find((c) => c.type === "Ready")?.status === "True";
    const reason = ready ? "NodeReady" : "NodeNotReady";
    if (reason === this.#announced || (!ready && this.#announced === "")) return;
    this.#announced = reason;
    this.#event(reason, `Node ${this.#o.name} status is now: ${reason}`);
  }

  #event(reason: string, message: string): void {
    this.#o.events.event(
      { kind: "Node", name: this.#o.name, uid: this.#node?.metadata.uid ?? this.#o.name, apiVersion: "v1" },
      "Normal",
      reason,
      message,
    );
  }

  async #lease(): Promise<void> {
    const { transport, name } = this.#o;
    const target = { ...leases, namespace: leaseNamespace, name };
    const renewTime = microTimestamp(Date.now());
    try {
      await transport.patch(target, "merge", { spec: { holderIdentity: name, leaseDurationSeconds: leaseSeconds, renewTime } });
    } catch (error) {
      if (!isNotFound(error)) return this.#leaseTrouble(error);
      const uid = this.#node?.metadata.uid;
      const lease: coordinationV1.Lease = {
        apiVersion: "coordination.k8s.io/v1",
        kind: "Lease",
        metadata: {
          name,
          namespace: leaseNamespace,
          ...(uid ? { ownerReferences: [{ apiVersion: "v1", kind: "Node", name, uid }] } : {}),
        },
        spec: { holderIdentity: name, leaseDurationSeconds: leaseSeconds, renewTime },
      };
      try {
        await transport.create({ ...leases, namespace: leaseNamespace }, lease);
      } catch (again) {
        // The namespace may come a moment after us.
        if (isNotFound(again)) this.#timers.push(setTimeout(() => void this.#lease(), 200));
        else this.#leaseTrouble(again);
      }
    }
  }

  #leaseTrouble(error: unknown): void {
    if (this.#stop.signal.aborted || isConflict(error)) return;
    this.#o.log.warn("Failed to ensure lease exists, will retry", { err: error });
  }
}
