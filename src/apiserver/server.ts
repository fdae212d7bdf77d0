// The apiserver: the parts put together, their start and their end.
import type { ServedResource } from "../api/discovery.ts";
import type { StoreClient } from "../client/etcd.ts";
import type { ApiTransport } from "../client/transport.ts";
import type { Component } from "../platform/component.ts";
import type { TlsClientOptions } from "../rpc/types.ts";
import { Admission } from "./admission/mod.ts";
import { Api } from "./api.ts";
import { Authenticator, type StaticToken } from "./auth/authenticator.ts";
import { RbacAuthorizer } from "./auth/rbac.ts";
import { ServiceAccountTokens } from "./auth/service-account-tokens.ts";
import { bootstrap } from "./bootstrap.ts";
import { DirectTransport } from "./direct.ts";
import { Documents } from "./http/documents.ts";
import type { Check, HealthChecks } from "./http/health.ts";
import type { Listener } from "./http/listener.ts";
import type { Registry } from "./registry/registry.ts";
import { Resources } from "./registry/resources.ts";
import type { UserInfo } from "./request.ts";
import { reviews } from "./reviews.ts";
import { admissionSource, rbacSource, tokenLookup } from "./sources.ts";
import { Storage } from "./storage/storage.ts";

export interface ApiServerOptions {
  store: StoreClient;
  /** Where objects begin in the store; "/registry". */
  storePrefix?: string;
  /** Port 0 takes a free one. */
  listen: { host: string; port: number }[];
  /** PEM. */
  tls: { cert: string; key: string; clientCa: string };
  /** Where other machines reach it: the endpoint of the service "kubernetes". */
  advertiseAddress?: string;
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
  /** Whether requests without credentials are anonymous rather than refused; true. */
  anonymous?: boolean;
  /** Whether every authenticated request may do anything, as --authorization-mode=AlwaysAllow. */
  alwaysAllow?: boolean;
  /** Requests in flight that do not change anything; 400. */
  maxRequestsInFlight?: number;
  /** Requests in flight that do; 200. */
  maxMutatingRequestsInFlight?: number;
  now?: () => number;
}

export class ApiServer implements Component {
  readonly name = "kube-apiserver";
  readonly #options: ApiServerOptions;
  readonly #storage: Storage;
  readonly #registry: Registry;
  readonly #api: Api;
  readonly #authenticator: Authenticator;
  readonly #documents: Documents;
  #listeners: Listener[] = [];
  #problem: string | undefined = "not started";
  #address: string | undefined;

  constructor(options: ApiServerOptions) {
    this.#options = options;
    const storage = new Storage(options.store, options.storePrefix ?? "/registry", decodeStored);
    const resources = new Resources(storage);
    const authorizer = new RbacAuthorizer(rbacSource(resources));
    this.#storage = storage;
    this.#registry = {
      storage,
      resources,
      admission: new Admission(admissionSource(storage, resources)),
      hooks: new Map(),
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
    this.#authenticator = new Authenticator({ tokens: options.tokens, serviceAccounts });
    this.#api = new Api({
      registry: this.#registry,
      authorizer: options.alwaysAllow ? { authorize: () => ({ allowed: true, reason: "" }) } : authorizer,
      virtual: reviews({ authorizer, authenticator: this.#authenticator }),
      subresources: new Map(),
    });
    this.#documents = new Documents({
      resources: () => served(resources),
      serverAddress: () => this.#reachable,
      issuer,
      publicKeysPem,
    });
  }

  async start(): Promise<void> {
    const { listen, tls } = this.#options;
    // The sockets' code loads while the cache does.
    const http = listen.length ? import("./http/mod.ts") : undefined;
    await this.#storage.start();
    await bootstrap(this.#storage, this.#registry.resources, this.#registry.now());
    this.#problem = undefined;
    if (!http) return;
    const { App, Connect, InFlight, KubeletClient, Listener } = await http;
    const app = new App({
      api: this.#api,
      authenticator: this.#authenticator,
      anonymous: this.#options.anonymous ?? true,
      inflight: new InFlight(this.#options.maxRequestsInFlight, this.#options.maxMutatingRequestsInFlight),
      health: this.#checks(),
      documents: this.#documents,
      connect: new Connect(this.#api, new KubeletClient({ tls: this.#options.kubeletClient ?? {} })),
    });
    for (const { host, port } of listen) {
      const listener = new Listener({
        host,
        port,
        tls,
        handler: (request) => app.fetch(request),
        upgrade: (request, socket, head) => void app.upgrade(request, socket, head),
      });
      this.#listeners.push(listener);
      const bound = await listener.listen();
      const local = host === "0.0.0.0" || host === "::" ? "127.0.0.1" : host;
      this.#address ??= `https://${local.includes(":") ? `[${local}]` : local}:${bound}`;
    }
  }

  get #reachable(): string {
    const { host, port } = new URL(this.#address ?? "https://127.0.0.1:6443");
    return this.#options.advertiseAddress ? `${this.#options.advertiseAddress}:${port}` : host;
  }

  #checks(): HealthChecks {
    const ping = () => undefined;
    const etcd = async () => {
      const { errors } = await this.#options.store.status();
      return errors[0];
    };
    const informers = () => (this.#storage.ready ? undefined : "the watch cache is loading");
    const live = new Map<string, Check>([
      ["ping", ping],
      ["log", ping],
      ["etcd", etcd],
    ]);
    return { live, ready: new Map([...live, ["informer-sync", informers], ["shutdown", () => this.#problem]]) };
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
      throw new Error(`no ${path}`);
    });
  }

  async stop(): Promise<void> {
    this.#problem = "stopped";
    this.#storage.stop();
    await Promise.all(this.#listeners.splice(0).map((l) => l.close()));
  }
}

const served = (resources: Resources): ServedResource[] => [...resources.all()].map(({ info }) => ({ info }));

function decodeStored(): never {
  throw new Error("objects in protobuf form can't be read yet");
}
