// The apiserver: the parts put together, their start and their end.
import { decodeJson } from "../api/codec/json.ts";
import { builtinMessage, decodeProtobuf } from "../api/codec/protobuf-decode.ts";
import { encodeProtobuf } from "../api/codec/protobuf-encode.ts";
import type { ServedResource } from "../api/discovery.ts";
import type { KubeObject } from "../api/object.ts";
import type { StoreClient } from "../client/etcd.ts";
import type { ApiTransport } from "../client/transport.ts";
import type { Component } from "../platform/component.ts";
import type { TlsClientOptions } from "../rpc/types.ts";
import { Admission } from "./admission/mod.ts";
import { Api, type Authorizer } from "./api.ts";
import { Authenticator, type StaticToken } from "./auth/authenticator.ts";
import { escalationGuards } from "./auth/escalation.ts";
import { RbacAuthorizer } from "./auth/rbac.ts";
import { ServiceAccountTokens } from "./auth/service-account-tokens.ts";
import { bootstrap } from "./bootstrap.ts";
import { components } from "./components.ts";
import { DirectTransport } from "./direct.ts";
import type { App } from "./http/app.ts";
import { Documents } from "./http/documents.ts";
import type { Check, HealthChecks } from "./http/health.ts";
import type { Listener } from "./http/listener.ts";
import type { Hook, Registry } from "./registry/registry.ts";
import { Resources, virtualKinds } from "./registry/resources.ts";
import type { UserInfo } from "./request.ts";
import { reviews } from "./reviews.ts";
import { EndpointLeases } from "./services/endpoint-leases.ts";
import { type Network, parseNetwork } from "./services/ip.ts";
import { ensureKubernetesService } from "./services/kubernetes.ts";
import { ServiceAllocation } from "./services/services.ts";
import { admissionSource, rbacSource, storedRole, tokenLookup } from "./sources.ts";
import type { ProtobufForm, StorageMediaType } from "./storage/codec.ts";
import { Compactor } from "./storage/compactor.ts";
import { StorageSizes } from "./storage/sizes.ts";
import { Storage } from "./storage/storage.ts";
import { Storages } from "./storage/storages.ts";
import { token } from "./subresources/token.ts";

export interface ApiServerOptions {
  store: StoreClient;
  /** Stores of resources that lie elsewhere, by "group/resource"; not of Services and their addresses. */
  storeOverrides?: ReadonlyMap<string, StoreClient>;
  /** Where objects begin in the store; "/registry". */
  storePrefix?: string;
  /** How new objects are stored; JSON, which the start is fastest with. */
  storageMediaType?: StorageMediaType;
  /** Seconds for which objects that expire share a lease of the store; 60. */
  leaseReuse?: number;
  /** Milliseconds between compactions of the store; 0 for none. 5 minutes. */
  compactionInterval?: number;
  /** Milliseconds between questions for the size of the store; 0 for none. 30 seconds. */
  sizeInterval?: number;
  /** Whether /metrics counts the objects of each resource; true. */
  countObjects?: boolean;
  /** Milliseconds that the store may take to answer /livez and /readyz; 2 000. */
  healthcheckTimeout?: number;
  readycheckTimeout?: number;
  /** Port 0 takes a free one. */
  listen: { host: string; port: number }[];
  /** PEM. */
  tls: { cert: string; key: string; clientCa: string };
  /** Where other machines reach it: an endpoint of the service "kubernetes". */
  advertiseAddress?: string;
  /** Who keeps those endpoints; by default the apiservers that hold a lease in the store. */
  endpointReconciler?: "lease" | "none";
  serviceAccount: {
    issuer: string;
    signingKeyPem?: string;
    publicKeysPem: string[];
    /** By default the issuer alone. */
    apiAudiences?: string[];
  };
  serviceCidr: string;
  /** Inclusive; 30000 to 32767. */
  nodePorts?: { from: number; to: number };
  tokens?: StaticToken[];
  /** The apiserver's certificate and what it trusts, towards kubelets. */
  kubeletClient?: TlsClientOptions;
  /** Whether a proxy may lead to an address of a pod; to those that are global unicast, as upstream's. */
  mayReach?: (ip: string) => boolean;
  /** Whether requests without credentials are anonymous rather than refused; true. */
  anonymous?: boolean;
  /** Whether every authenticated request may do anything, as --authorization-mode=AlwaysAllow. */
  alwaysAllow?: boolean;
  /** Requests in flight that do not change anything; 400. */
  maxRequestsInFlight?: number;
  /** Requests in flight that do; 200. */
  maxMutatingRequestsInFlight?: number;
  /** Requests that a connection of HTTP/2 may have open; 100. */
  maxStreams?: number;
  /** Share of the requests of HTTP/2 after which their client is asked to connect anew; 0. */
  goawayChance?: number;
  /** Milliseconds for a request other than a watch, a log or a stream; 60 000. */
  requestTimeout?: number;
  /** Milliseconds for which a server that is told to end goes on, while /readyz says that it will; 0. */
  shutdownDelay?: number;
  now?: () => number;
}

export class ApiServer implements Component {
  readonly name = "kube-apiserver";
  readonly #options: ApiServerOptions;
  readonly #storages: Storages;
  readonly #registry: Registry;
  readonly #api: Api;
  readonly #authenticator: Authenticator;
  readonly #documents: Documents;
  readonly #services: ServiceAllocation;
  readonly #networks: readonly Network[];
  readonly #compactors: readonly Compactor[];
  readonly #sizes: StorageSizes;
  readonly #endpoints: EndpointLeases | undefined;
  #app: Promise<App> | undefined;
  #listeners: Listener[] = [];
  #problem: string | undefined = "not started";
  #address: string | undefined;

  constructor(options: ApiServerOptions) {
    this.#options = options;
    const { storePrefix = "/registry", storageMediaType: mediaType, leaseReuse } = options;
    const open = (client: StoreClient) => new Storage(client, storePrefix, protobufForm, { mediaType, leaseReuse });
    const storages = new Storages(options.store, options.storeOverrides ?? new Map(), open);
    const storage = storages.main;
    const resources = new Resources(storages);
    const authorizer = new RbacAuthorizer(rbacSource(resources));
    const effective: Authorizer = options.alwaysAllow ? { authorize: () => ({ allowed: true, reason: "" }) } : authorizer;
    const hooks = new Map<string, Hook>();
    this.#storages = storages;
    const clients = storages.all.map((s) => s.client);
    this.#compactors = clients.map((client) => new Compactor(client));
    this.#sizes = new StorageSizes(clients);
    this.#registry = {
      storage,
      resources,
      admission: new Admission(admissionSource(resources)),
      hooks,
      guards: escalationGuards({
        allowed: (attributes) => effective.authorize(attributes).allowed,
        held: (user, namespace) => authorizer.held(user, namespace),
        role: storedRole(resources),
      }),
      now: options.now ?? Date.now,
    };
    const { issuer, signingKeyPem, publicKeysPem, apiAudiences } = options.serviceAccount;
    const serviceAccounts = new ServiceAccountTokens({
      issuer,
      signingKeyPem,
      publicKeysPem,
      audiences: apiAudiences,
      lookup: tokenLookup(resources),
    });
    const networks = options.serviceCidr.split(",").map(parseNetwork);
    this.#networks = networks;
    const nodePorts = options.nodePorts ?? { from: 30_000, to: 32_767 };
    this.#services = new ServiceAllocation({ storage, resources, networks, nodePorts, now: this.#registry.now });
    hooks.set("/services", this.#services);
    const { advertiseAddress: address, endpointReconciler = "lease" } = options;
    if (address && endpointReconciler === "lease") this.#endpoints = new EndpointLeases({ registry: this.#registry, address });
    this.#authenticator = new Authenticator({ tokens: options.tokens, serviceAccounts });
    this.#api = new Api({
      registry: this.#registry,
      authorizer: effective,
      virtual: new Map([...reviews({ authorizer, authenticator: this.#authenticator }), ...components(this.#registry, options.store)]),
      subresources: new Map([["/serviceaccounts/token", token(serviceAccounts)]]),
    });
    this.#documents = new Documents({
      resources: () => served(resources),
      serverAddress: () => this.#reachable,
      issuer,
      publicKeysPem,
    });
  }

  async start(): Promise<void> {
    const { listen } = this.#options;
    // The sockets' code loads while the cache does.
    const opened = listen.length ? this.#http() : undefined;
    opened?.catch(() => undefined);
    await this.#storages.start();
    // Whoever gets through has to find the roles: without them everybody would be refused.
    await bootstrap(this.#registry.resources, this.#registry.now());
    await opened;
    for (const at of listen) await this.#listen(at);
    await this.#services.start();
    const port = Number(new URL(this.#address ?? "https://127.0.0.1:6443").port || 443);
    await ensureKubernetesService(this.#registry, this.#networks, port);
    await this.#endpoints?.start(port);
    const { compactionInterval, sizeInterval = 30_000 } = this.#options;
    if (compactionInterval !== 0) for (const compactor of this.#compactors) compactor.start(compactionInterval);
    if (sizeInterval !== 0) this.#sizes.start(sizeInterval);
    this.#problem = undefined;
  }

  #http(): Promise<App> {
    this.#app ??= import("./http/mod.ts").then(
      ({ App, Connect, InFlight, KubeletClient }) =>
        new App({
          api: this.#api,
          authenticator: this.#authenticator,
          anonymous: this.#options.anonymous ?? true,
          inflight: new InFlight(this.#options.maxRequestsInFlight, this.#options.maxMutatingRequestsInFlight),
          health: this.#checks(),
          documents: this.#documents,
          metrics: { countObjects: this.#options.countObjects ?? true, sizes: this.#sizes },
          connect: new Connect(this.#api, new KubeletClient({ tls: this.#options.kubeletClient ?? {} }), this.#options.mayReach),
        }),
    );
    return this.#app;
  }

  async #listen({ host, port }: { host: string; port: number }): Promise<void> {
    const [app, { Listener }] = await Promise.all([this.#http(), import("./http/mod.ts")]);
    const listener = new Listener({
      host,
      port,
      tls: this.#options.tls,
      maxStreams: this.#options.maxStreams,
      goawayChance: this.#options.goawayChance,
      requestTimeout: this.#options.requestTimeout,
      handler: (request) => app.fetch(request),
      late: (request) => app.late(request),
      handshakeFailed: () => app.metrics.handshakeFailed(),
      upgrade: (request, socket, head) => void app.upgrade(request, socket, head),
    });
    const bound = await listener.listen();
    this.#listeners.push(listener);
    const local = host === "0.0.0.0" || host === "::" ? "127.0.0.1" : host;
    this.#address ??= `https://${local.includes(":") ? `[${local}]` : local}:${bound}`;
  }

  get #reachable(): string {
    const { host, port } = new URL(this.#address ?? "https://127.0.0.1:6443");
    return this.#options.advertiseAddress ? `${this.#options.advertiseAddress}:${port}` : host;
  }

  #checks(): HealthChecks {
    const ping = () => undefined;
    const { healthcheckTimeout = 2000, readycheckTimeout = 2000 } = this.#options;
    const [main, ...others] = this.#storages.all;
    const informers = () => (this.#storages.ready ? undefined : "the watch cache is loading");
    const live = new Map<string, Check>([
      ["ping", ping],
      ["log", ping],
      ["etcd", () => main!.check(healthcheckTimeout)],
      ...others.map((s, i): [string, Check] => [`etcd-override-${i}`, () => s.check(healthcheckTimeout)]),
    ]);
    return {
      live,
      ready: new Map<string, Check>([
        ...live,
        ["etcd-readiness", () => main!.check(readycheckTimeout)],
        ...others.map((s, i): [string, Check] => [`etcd-override-readiness-${i}`, () => s.check(readycheckTimeout)]),
        ["informer-sync", informers],
        ["shutdown", () => this.#problem],
      ]),
    };
  }

  notReady(): string | undefined {
    return this.#problem;
  }

  get address(): string | undefined {
    return this.#address;
  }

  /** The API as a user sees it, without sockets. */
  transport(user: UserInfo): ApiTransport {
    return new DirectTransport(this.#api, user, async (path) => {
      const [app, { Incoming, contentOf }] = await Promise.all([this.#http(), import("./http/mod.ts")]);
      return contentOf(await app.fetchAs(user, Incoming.local(path)));
    });
  }

  /** As upstream: /readyz first, clients with time to notice, watches, requests under way, and only then what they stand on. */
  async stop(): Promise<void> {
    const { shutdownDelay = 0, requestTimeout = 60_000 } = this.#options;
    const listeners = this.#listeners.splice(0);
    this.#problem = "process is shutting down";
    await this.#endpoints?.stop();
    if (shutdownDelay > 0 && listeners.length > 0) await Bun.sleep(shutdownDelay);
    // Requests that wait for a store that has gone would hold everybody up, and come to nothing.
    const stored = listeners.length === 0 || (await this.#storages.main.check(storeAnswers)) === undefined;
    await Promise.all(listeners.map((l) => l.close(stored ? requestTimeout : cutOff)));
    for (const compactor of this.#compactors) compactor.stop();
    this.#sizes.stop();
    this.#services.stop();
    this.#storages.stop();
  }
}

/** Milliseconds in which a store that works answers a server that ends. */
const storeAnswers = 1000;
/** Milliseconds that requests have where it does not. */
const cutOff = 200;

const served = (resources: Resources): ServedResource[] => [
  ...[...resources.all()].map(({ info }) => ({ info })),
  ...virtualKinds.map((info) => ({ info })),
];

/** Groups that upstream's own servers store as JSON. */
const jsonGroups = /^(apiextensions|apiregistration)\.k8s\.io\//;

/** Upstream's form of stored objects. */
const protobufForm: ProtobufForm = {
  decode: decodeStored,
  encode(object) {
    const { apiVersion = "", kind = "" } = object;
    const message = jsonGroups.test(apiVersion) ? undefined : builtinMessage({ apiVersion, kind });
    return message === undefined ? undefined : encodeProtobuf(message, object);
  },
};

function decodeStored(bytes: Uint8Array): KubeObject {
  const value = decodeProtobuf(bytes, builtinMessage) as unknown as KubeObject;
  const message = builtinMessage({ apiVersion: value.apiVersion ?? "", kind: value.kind ?? "" });
  return (message ? decodeJson(message, value).object : value) as unknown as KubeObject;
}
