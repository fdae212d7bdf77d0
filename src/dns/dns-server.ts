// The shell of the name server: informers feed the zone, sockets ask it.
import type * as coreV1 from "../api/gen/core/v1.ts";
import type * as discoveryV1 from "../api/gen/discovery/v1.ts";
import { InformerFactory } from "../client/informer.ts";
import { endpointSlices, keyOf, namespaces, pods, services } from "../client/resources.ts";
import type { ApiTransport } from "../client/transport.ts";
import type { Component } from "../platform/component.ts";
import { type Logger, logger } from "../platform/log.ts";
import { Answerer } from "./answerer.ts";
import type { CacheOptions } from "./cache.ts";
import { Forwarder } from "./forwarder.ts";
import { Metrics } from "./metrics.ts";
import { ResolvConf, type UpstreamAddress } from "./resolv-conf.ts";
import { Endpoint, type Listen } from "./sockets.ts";
import { Zone } from "./zone.ts";

export interface DnsServerOptions {
  transport: ApiTransport;
  /** Shared with other systems of the process; its owner starts and stops it. */
  informers?: InformerFactory;
  /** "cluster.local" */
  domain: string;
  listen: readonly Listen[];
  /** Resolvers for all other names; or the file that lists them, which is read again when it changes. */
  upstreams?: readonly UpstreamAddress[];
  resolvConf?: string;
  /** Seconds that the cluster's records hold; default 5. */
  ttl?: number;
  /** "verified" answers a pod's name only while there is such a pod, and so has to know all pods. */
  pods?: "insecure" | "verified";
  cache?: CacheOptions;
  /** Milliseconds for one try at one resolver; default 1500. */
  upstreamTimeout?: number;
  log?: Logger;
}

const serviceOf = (slice: discoveryV1.EndpointSlice) => {
  const name = slice.metadata.labels?.["kubernetes.io/service-name"];
  return name ? `${slice.metadata.namespace}/${name}` : undefined;
};

export class DnsServer implements Component {
  readonly name = "kube-dns";
  readonly metrics = new Metrics();
  readonly #options: DnsServerOptions;
  readonly #informers: InformerFactory;
  readonly #zone: Zone;
  readonly #endpoints: Endpoint[] = [];
  readonly #undo: (() => void)[] = [];
  readonly #log: Logger;
  readonly #answerer: Answerer;
  #ready = false;
  #stopped = false;

  constructor(options: DnsServerOptions) {
    this.#options = options;
    this.#log = options.log ?? logger("dns");
    this.#informers = options.informers ?? new InformerFactory(options.transport, { log: this.#log });
    this.#zone = new Zone({ domain: options.domain, ttl: options.ttl, pods: options.pods });
    const file = options.resolvConf === undefined ? undefined : new ResolvConf(options.resolvConf);
    const forwarder = new Forwarder({
      upstreams: (now) => options.upstreams ?? file?.servers(now) ?? [],
      cache: options.cache,
      timeout: options.upstreamTimeout,
      metrics: this.metrics,
      log: this.#log,
    });
    this.#answerer = new Answerer(this.#zone, forwarder);
  }

  /** "dns://10.0.0.1:53": the first address it listens on, once it does. */
  get address(): string {
    const { host } = this.#options.listen[0] ?? { host: "" };
    return `dns://${host.includes(":") ? `[${host}]` : host}:${this.#endpoints[0]?.port ?? 0}`;
  }

  async start(): Promise<void> {
    const serviceInformer = this.#informers.for(services);
    const sliceInformer = this.#informers.for(endpointSlices).addIndex("service", (s) => {
      const key = serviceOf(s);
      return key ? [key] : [];
    });
    const namespaceInformer = this.#informers.for(namespaces);
    const refresh = (key: string | undefined) => {
      if (key) this.#zone.setService(key, serviceInformer.lister.get(key), sliceInformer.lister.byIndex("service", key));
    };
    this.#undo.push(
      namespaceInformer.on({
        add: (n) => this.#zone.setNamespace(n.metadata.name!, true),
        delete: (n) => this.#zone.setNamespace(n.metadata.name!, false),
      }),
      serviceInformer.on({
        add: (s) => refresh(keyOf(s)),
        update: (_, s) => refresh(keyOf(s)),
        delete: (s) => refresh(keyOf(s)),
      }),
      sliceInformer.on({
        add: (s) => refresh(serviceOf(s)),
        update: (before, s) => {
          refresh(serviceOf(s));
          if (serviceOf(before) !== serviceOf(s)) refresh(serviceOf(before));
        },
        delete: (s) => refresh(serviceOf(s)),
      }),
    );
    const synced: Promise<void>[] = [namespaceInformer.synced, serviceInformer.synced, sliceInformer.synced];
    if (this.#options.pods === "verified") {
      const podInformer = this.#informers.for(pods);
      const count = (pod: coreV1.Pod, by: 1 | -1) => {
        for (const { ip } of pod.status?.podIPs ?? []) if (ip) this.#zone.countPod(pod.metadata.namespace!, ip, by);
      };
      this.#undo.push(
        podInformer.on({
          add: (p) => count(p, 1),
          update: (before, p) => {
            count(p, 1);
            count(before, -1);
          },
          delete: (p) => count(p, -1),
        }),
      );
      synced.push(podInformer.synced);
    }
    if (this.#options.informers === undefined) this.#informers.start();
    // An answer before all is known could say that a name is not there which is.
    await Promise.all(synced);
    if (this.#stopped) return;
    for (const listen of this.#options.listen) {
      const endpoint = new Endpoint(this.#answerer, this.#zone, this.metrics, this.#log);
      await endpoint.open(listen);
      this.#endpoints.push(endpoint);
    }
    this.#ready = true;
  }

  notReady(): string | undefined {
    if (this.#stopped) return "stopped";
    if (!this.#ready) return this.#informers.trouble ?? "waiting for the first list of services and endpoints";
    return undefined;
  }

  async stop(): Promise<void> {
    if (this.#stopped) return;
    this.#stopped = true;
    for (const endpoint of this.#endpoints) endpoint.close();
    for (const undo of this.#undo) undo();
    if (this.#options.informers === undefined) await this.#informers.stop();
  }
}
