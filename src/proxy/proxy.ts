// The shell of the proxy: informers say what changed, and in bounded intervals
// the table in the kernel follows. A resync finds what others did to it.
import { networkInterfaces } from "node:os";
import type * as coreV1 from "../api/gen/core/v1.ts";
import type * as discoveryV1 from "../api/gen/discovery/v1.ts";
import { type Clock, realClock, type Timer } from "../client/clock.ts";
import { InformerFactory } from "../client/informer.ts";
import { endpointSlices, keyOf, services } from "../client/resources.ts";
import type { ApiTransport } from "../client/transport.ts";
import type { Component } from "../platform/component.ts";
import { type Logger, logger } from "../platform/log.ts";
import { Conntrack } from "./conntrack.ts";
import { udpFrontends } from "./frontends.ts";
import { Maglev } from "./maglev.ts";
import { Metrics } from "./metrics.ts";
import { Nft } from "./nft.ts";
import { servicePiece } from "./rules.ts";
import { type ServicePort, servicePorts } from "./service-ports.ts";
import { Table } from "./table.ts";

export interface ProxyOptions {
  transport: ApiTransport;
  /** Shared with other systems of the process; its owner starts and stops it. */
  informers?: InformerFactory;
  nodeName: string;
  /** Name of the nftables table, of family ip. */
  tableName: string;
  /** Where pods have their addresses; traffic that leaves it, or comes from elsewhere, is masqueraded. */
  podCidrs: readonly string[];
  /** Networks of service addresses; what no service has of them is refused instead of routed. */
  serviceCidrs?: readonly string[];
  /**
   * Sets a kernel setting ("net/ipv4/conf/all/route_localnet") so that the caller
   * can put it back. With it, NodePorts are served on 127.0.0.1 as well.
   */
  setSysctl?: (key: string, value: string) => void;
  /** Milliseconds between two syncs when changes keep coming; the first few go at once. Default 100. */
  minSyncPeriod?: number;
  /** Milliseconds between looks at what the kernel has. Default 30 s. */
  syncPeriod?: number;
  /** Put before nft and conntrack: ["ip", "netns", "exec", NAME]. */
  commandPrefix?: readonly string[];
  clock?: Clock;
  log?: Logger;
}

/** Milliseconds in which changes that belong together come. */
const debounce = 3;
/** Syncs that may follow each other without the least interval. */
const burst = 2;
const maxRetry = 30_000;
const listDelay = 2_000;

const serviceOf = (slice: discoveryV1.EndpointSlice) => {
  const name = slice.metadata.labels?.["kubernetes.io/service-name"];
  return name ? `${slice.metadata.namespace}/${name}` : undefined;
};
const triggerTime = "endpoints.kubernetes.io/last-change-trigger-time";

export class KubeProxy implements Component {
  readonly name = "kube-proxy";
  readonly metrics = new Metrics();
  readonly #options: ProxyOptions;
  readonly #informers: InformerFactory;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #nft: Nft;
  readonly #conntrack: Conntrack;
  readonly #table: Table;
  readonly #maglev = new Maglev();
  readonly #ports = new Map<string, ServicePort[]>();
  readonly #dirty = new Set<string>();
  readonly #undo: (() => void)[] = [];
  #udpChanged = true;
  #changedAt: number[] = [];
  #tokens = burst;
  #tokensAt = 0;
  #timer: Timer | undefined;
  #resync: Timer | undefined;
  #busy: Promise<void> | undefined;
  /** How many there were. */
  #syncs = 0;
  #trouble: string | undefined = "waiting for the first list of services and endpoints";
  #failures = 0;
  /** The kernel's words for the table, soon after the last sync. */
  #listing: string | undefined;
  #listLater: Timer | undefined;
  #started = false;
  #stopped = false;

  constructor(options: ProxyOptions) {
    this.#options = options;
    this.#clock = options.clock ?? realClock;
    this.#log = options.log ?? logger("proxy");
    this.#informers = options.informers ?? new InformerFactory(options.transport, { clock: this.#clock, log: this.#log });
    this.#nft = new Nft(options.commandPrefix);
    this.#conntrack = new Conntrack(options.commandPrefix, this.#log);
    this.#table = new Table({
      name: options.tableName,
      podCidrs: options.podCidrs,
      serviceCidrs: options.serviceCidrs ?? [],
      localhostNodePorts: options.setSysctl !== undefined,
    });
  }

  async start(): Promise<void> {
    const serviceInformer = this.#informers.for(services);
    const sliceInformer = this.#informers.for(endpointSlices).addIndex("service", (s) => {
      const key = serviceOf(s);
      return key ? [key] : [];
    });
    this.#undo.push(
      serviceInformer.on({
        add: (s) => this.#serviceChanged(s),
        update: (_, s) => this.#serviceChanged(s),
        delete: (s) => this.#serviceChanged(s),
      }),
      sliceInformer.on({
        add: (s) => this.#sliceChanged(s),
        update: (before, s) => this.#sliceChanged(s, before),
        delete: (s) => this.#sliceChanged(s),
      }),
    );
    if (this.#options.informers === undefined) this.#informers.start();
    await Promise.all([serviceInformer.synced, sliceInformer.synced]);
    if (this.#stopped) return;
    this.#started = true;
    await this.#run();
    if (this.#trouble) throw new Error(this.#trouble);
    // After the table, which holds the guard against what this lets in.
    this.#options.setSysctl?.("net/ipv4/conf/all/route_localnet", "1");
    this.#scheduleResync();
  }

  notReady(): string | undefined {
    return this.#stopped ? "stopped" : (this.#trouble ?? this.#informers.trouble);
  }

  /** Ends it; what the kernel does for services goes on until cleanup(). */
  async stop(): Promise<void> {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#timer?.cancel();
    this.#resync?.cancel();
    this.#listLater?.cancel();
    for (const undo of this.#undo) undo();
    if (this.#options.informers === undefined) await this.#informers.stop();
    await this.#busy;
  }

  #serviceChanged(service: coreV1.Service): void {
    this.metrics.serviceChanged();
    this.#mark(keyOf(service));
  }

  #sliceChanged(slice: discoveryV1.EndpointSlice, before?: discoveryV1.EndpointSlice): void {
    this.metrics.endpointsChanged();
    const time = Date.parse(slice.metadata.annotations?.[triggerTime] ?? "");
    if (!Number.isNaN(time) && this.#started) this.#changedAt.push(time);
    for (const key of new Set([serviceOf(slice), before && serviceOf(before)])) if (key) this.#mark(key);
  }

  #mark(service: string): void {
    this.#dirty.add(service);
    this.metrics.queued(this.#clock.now());
    if (this.#started) this.#schedule();
  }

  /** Soon when it was quiet, else when the interval is over. */
  #schedule(): void {
    if (this.#timer || this.#busy || this.#stopped) return;
    const period = this.#options.minSyncPeriod ?? 100;
    const now = this.#clock.now();
    this.#tokens = Math.min(burst, this.#tokens + (now - this.#tokensAt) / period);
    this.#tokensAt = now;
    const backoff = this.#failures === 0 ? 0 : Math.min(maxRetry, 100 * 2 ** this.#failures);
    const delay = Math.max(backoff, this.#tokens >= 1 ? debounce : (1 - this.#tokens) * period);
    this.#timer = this.#clock.after(delay, () => {
      this.#timer = undefined;
      // The end of the one that runs now schedules the next.
      if (this.#busy) return;
      void this.#run();
    });
  }

  /** One sync at a time; what came meanwhile has the next. */
  async #run(): Promise<void> {
    this.#tokens--;
    this.#syncs++;
    this.#busy = this.#syncAndTell();
    await this.#busy;
    this.#busy = undefined;
    if (this.#dirty.size > 0 || this.#failures > 0) this.#schedule();
  }

  async #syncAndTell(): Promise<void> {
    try {
      await this.#sync();
      this.#failures = 0;
      this.#trouble = undefined;
    } catch (error) {
      this.#failures++;
      this.#table.distrust();
      this.metrics.failed();
      this.#trouble = `sync of the nftables table failed: ${error instanceof Error ? error.message : String(error)}`;
      this.#log.error("Sync of the nftables table failed, making it anew", error, { table: this.#options.tableName });
    }
  }

  async #sync(): Promise<void> {
    const began = this.#clock.now();
    const changed = this.#changedAt.splice(0);
    this.#compile();
    const script = this.#table.script();
    if (script) {
      await this.#nft.apply(script.text);
      script.commit();
      this.#noteListingLater();
    }
    const now = this.#clock.now();
    this.metrics.synced(now - began, now, changed);
    if (script) this.#log.info("Synced", { lines: script.text.split("\n").length - 1, ms: now - began }, 3);
    if (!this.#udpChanged) return;
    this.#udpChanged = false;
    this.metrics.conntrackDeleted(await this.#conntrack.clean(udpFrontends(this.#ports.values()), localAddress()));
  }

  /** The rules of what is dirty. */
  #compile(): void {
    const { nodeName, podCidrs } = this.#options;
    const context = { podCidrs, maglev: this.#maglev };
    const serviceLister = this.#informers.for(services).lister;
    const sliceLister = this.#informers.for(endpointSlices).lister;
    for (const key of this.#dirty) {
      const service = serviceLister.get(key);
      const ports = service ? servicePorts(service, sliceLister.byIndex("service", key), nodeName) : [];
      const before = this.#ports.get(key) ?? [];
      if (JSON.stringify(before) === JSON.stringify(ports)) continue;
      if ([...before, ...ports].some((p) => p.protocol === "udp")) this.#udpChanged = true;
      if (ports.length > 0) this.#ports.set(key, ports);
      else this.#ports.delete(key);
      this.#table.set(key, ports.length > 0 ? servicePiece(ports, context) : undefined);
    }
    this.#dirty.clear();
  }

  /** When changes have stopped coming: a list of a big table takes its time. */
  #noteListingLater(): void {
    this.#listing = undefined;
    this.#listLater?.cancel();
    this.#listLater = this.#clock.after(listDelay, () => void this.resync());
  }

  #scheduleResync(): void {
    if (this.#stopped) return;
    this.#resync = this.#clock.after(this.#options.syncPeriod ?? 30_000, () => {
      void this.resync().finally(() => this.#scheduleResync());
    });
  }

  /** Compares what the kernel has with what it had after the last sync, and makes the table anew where they differ. The first time it only takes note. */
  async resync(): Promise<void> {
    await this.#busy;
    const before = this.#syncs;
    try {
      const found = await this.#nft.list(this.#options.tableName);
      if (this.#stopped) return;
      // It may be from before the sync, or from within it.
      if (this.#syncs !== before) return await this.#busy;
      if (found !== undefined && this.#listing === undefined) this.#listing = found;
      if (found === this.#listing && found !== undefined) return;
    } catch (error) {
      this.#log.error("Can't look at the nftables table", error, { table: this.#options.tableName });
      return;
    }
    this.#log.warn("The nftables table was changed by another program, making it anew", { table: this.#options.tableName });
    this.metrics.repaired();
    this.#table.distrust();
    await this.#run();
  }
}

function localAddress(): (ip: string) => boolean {
  const own = new Set(Object.values(networkInterfaces()).flatMap((list) => (list ?? []).map((a) => a.address)));
  return (ip) => own.has(ip);
}

/** Removes a proxy's table and with it all that it did. Does nothing where there is none. */
export async function cleanup(tableName: string, commandPrefix: readonly string[] = []): Promise<void> {
  await new Nft(commandPrefix).delete(tableName);
}
