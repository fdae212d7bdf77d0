// Which apiservers pods can reach: each holds a lease in the store under its
// address, and all keep the endpoints of the service "kubernetes" to those that
// hold one (k8s.io/kubernetes/pkg/controlplane/reconcilers, the "lease" reconciler).
import type * as core from "../../api/gen/core/v1.ts";
import type { KubeObject } from "../../api/object.ts";
import { logger } from "../../platform/log.ts";
import type { Registry } from "../registry/registry.ts";
import type { Bucket } from "../storage/bucket.ts";
import { ensure, SERVICE } from "./kubernetes.ts";

const log = logger("kube-apiserver");
/** Seconds that a lease lasts, and milliseconds between two renewals (upstream's). */
const TTL = 15;
const INTERVAL = 10_000;
/** Milliseconds until a renewal that failed is tried again. */
const RETRY = 2000;
/** Milliseconds that giving the lease back may take: without a quorum it runs out. */
const RELEASE = 1000;

export interface EndpointLeasesOptions {
  registry: Registry;
  /** This server's address. */
  address: string;
}

type Leased = KubeObject & Pick<core.Endpoints, "subsets">;
const leaseOf = (address: string, generation: number): KubeObject =>
  ({ kind: "Endpoints", apiVersion: "v1", metadata: { generation }, subsets: [{ addresses: [{ ip: address }] }] }) as KubeObject;

export class EndpointLeases {
  readonly #options: EndpointLeasesOptions;
  readonly #bucket: Bucket;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #unlisten: (() => void) | undefined;
  #running: Promise<void> | undefined;
  #again = false;
  #stopped = false;
  #failing = false;
  #port = 0;

  /** Before the cache is loaded, of which the leases are a part. */
  constructor(options: EndpointLeasesOptions) {
    this.#options = options;
    this.#bucket = options.registry.storage.addBucket("masterleases");
  }

  /** Takes a lease; resolves once the endpoints have this server. All servers have the same port. */
  async start(port: number): Promise<void> {
    this.#port = port;
    // Both go to the disk together, as the endpoints are to have this server in any case.
    await Promise.all([this.#renew(), this.#publish()]);
    this.#plan(INTERVAL);
    this.#unlisten = this.#bucket.listen((change) => {
      // Somebody with the same address has gone, or an administrator deleted it.
      if (change.type === "DELETED" && change.entry.key === this.#options.address) this.#plan(0);
      if (change.type !== "MODIFIED") this.#soon();
    });
  }

  /** Gives the lease back, so that no pod comes here any more. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    // It never stood, or has gone.
    if (!this.#unlisten) return;
    this.#unlisten();
    this.#unlisten = undefined;
    const { registry, address } = this.#options;
    const leave = async () => {
      await this.#running;
      await registry.storage.update(this.#bucket, address, (current) => (current ? { delete: true } : { keep: true }));
      await this.#publish();
    };
    const left = leave().catch((error: unknown) =>
      log.warn("The lease of this server's endpoint runs out by itself", { err: error as Error }),
    );
    await Promise.race([left, Bun.sleep(RELEASE)]);
  }

  #plan(delay: number): void {
    clearTimeout(this.#timer);
    if (this.#stopped) return;
    this.#timer = setTimeout(() => void this.#tick(), delay);
    this.#timer.unref?.();
  }

  async #tick(): Promise<void> {
    try {
      await this.#renew();
      this.#failing = false;
      this.#plan(INTERVAL);
      this.#soon();
    } catch (error) {
      // Once for as long as the store is away.
      if (!this.#failing) log.warn("The lease of this server's endpoint could not be renewed", { err: error as Error });
      this.#failing = true;
      this.#plan(RETRY);
    }
  }

  async #renew(): Promise<void> {
    const { registry, address } = this.#options;
    await registry.storage.update(this.#bucket, address, (current) => ({
      put: leaseOf(address, (current?.object.metadata.generation ?? 0) + 1),
      ttl: TTL,
    }));
  }

  /** After what is under way, once. */
  #soon(): void {
    this.#again = true;
    this.#running ??= this.#catchUp().finally(() => {
      this.#running = undefined;
    });
  }

  async #catchUp(): Promise<void> {
    while (this.#again && !this.#stopped) {
      this.#again = false;
      await this.#publish().catch((error: unknown) =>
        log.warn("The endpoints of the apiservers could not be written", { err: error as Error }),
      );
    }
  }

  /** The addresses that hold a lease, and this one's while it runs, in order. */
  #addresses(): string[] {
    const held = this.#bucket.all().flatMap(({ object }) => (object as Leased).subsets?.[0]?.addresses?.[0]?.ip ?? []);
    const own = this.#stopped ? [] : [this.#options.address];
    return [...new Set([...held, ...own])].sort();
  }

  async #publish(): Promise<void> {
    const { registry } = this.#options;
    const addresses = this.#addresses();
    // Pods that wait for a server look where the last one was.
    if (addresses.length === 0) return;
    const ports = [{ name: "https", port: this.#port, protocol: "TCP" }];
    await Promise.all([
      ensure(
        registry,
        "",
        "endpoints",
        {
          kind: "Endpoints",
          apiVersion: "v1",
          metadata: { ...SERVICE, labels: { "endpointslice.kubernetes.io/skip-mirror": "true" } },
          subsets: [{ addresses: addresses.map((ip) => ({ ip })), ports }],
        },
        ["subsets"],
      ),
      ensure(
        registry,
        "discovery.k8s.io",
        "endpointslices",
        {
          kind: "EndpointSlice",
          apiVersion: "discovery.k8s.io/v1",
          metadata: { ...SERVICE, labels: { "kubernetes.io/service-name": SERVICE.name } },
          addressType: this.#options.address.includes(":") ? "IPv6" : "IPv4",
          endpoints: addresses.map((ip) => ({ addresses: [ip], conditions: { ready: true } })),
          ports,
        },
        ["endpoints", "ports"],
      ),
    ]);
  }
}
