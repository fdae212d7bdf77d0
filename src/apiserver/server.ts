// The apiserver: the parts put together, their start and their end.
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
import type { Registry } from "./registry/registry.ts";
import { Resources } from "./registry/resources.ts";
import type { UserInfo } from "./request.ts";
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
      virtual: new Map(),
      subresources: new Map(),
    });
  }

  async start(): Promise<void> {
    await this.#storage.start();
    await bootstrap(this.#storage, this.#registry.resources, this.#registry.now());
    this.#problem = undefined;
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
  }
}

function decodeStored(): never {
  throw new Error("objects in protobuf form can't be read yet");
}
