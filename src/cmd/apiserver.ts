// `kubun apiserver`: kube-apiserver with upstream's flags.
import { readFileSync } from "node:fs";
import { networkInterfaces } from "node:os";
import type { ApiServerOptions } from "../apiserver/mod.ts";
import { setVerbosity } from "../platform/log.ts";
import { bool, choice, command, duration, type Flag, integer, list, optionalText, text, UsageError, verbosity } from "./flags.ts";
import { servingCertificate } from "./health-server.ts";
import { runComponent, untilSignal } from "./run-component.ts";
import { openOverrides, serversOverrides } from "./servers-overrides.ts";
import { storageMediaType } from "./storage-media-type.ts";
import { checkEndpoints, storeThere } from "./store-client.ts";

const portRange: Flag<{ from: number; to: number }> = {
  placeholder: "FROM-TO",
  fallback: { from: 30_000, to: 32_767 },
  help: "ports of the nodes that Services may have (default 30000-32767)",
  parse: (s) => {
    const m = /^(\d+)([-+])(\d+)$/.exec(s);
    const from = Number(m?.[1]);
    const to = m?.[2] === "+" ? from + Number(m[3]) : Number(m?.[3]);
    if (!m || from < 1 || to > 65_535 || to < from) throw new Error('must be a range of ports such as "30000-32767"');
    return { from, to };
  },
};

const modes = ["RBAC", "Node", "AlwaysAllow"];
const authorizationModes: Flag<readonly string[]> = {
  ...list("MODES", ["Node", "RBAC"], `who decides what a user may do: ${modes.join(", ")}`),
  parse: (s) => {
    const given = s.split(",").filter((x) => x !== "");
    for (const mode of given) if (!modes.includes(mode)) throw new Error(`${JSON.stringify(mode)} must be one of ${modes.join(", ")}`);
    return given;
  },
};

/** Containers may always be privileged here. */
const allowPrivileged: Flag<boolean> = {
  ...bool(true, "let containers be privileged; can't be turned off"),
  parse: (s) => {
    if (bool(true, "").parse(s) !== true)
      throw new Error("privileged containers can't be forbidden by this flag; use a validating admission policy");
    return true;
  },
};

const storageBackend: Flag<string> = {
  ...text("NAME", "", 'kind of store; only "etcd3", which is also the default'),
  parse: (s) => {
    if (s !== "" && s !== "etcd3") throw new Error("allowed values: etcd3. If not specified, it will default to 'etcd3'");
    return s;
  },
};

const goawayChance: Flag<number> = {
  placeholder: "SHARE",
  fallback: 0,
  help: "share of HTTP/2 requests, up to 0.02, after which the client is asked to connect anew; 0 without a load balancer",
  parse: (s) => {
    const n = Number(s);
    if (s.trim() === "" || !(n >= 0 && n <= 0.02)) throw new Error("must be a number from 0 to 0.02");
    return n;
  },
};

export default command({
  name: "apiserver",
  summary: "Runs kube-apiserver: the Kubernetes API over a store that speaks etcd's protocol",
  flags: {
    "etcd-servers": list("URLS", [], "the store: http://, https:// or unix:// URLs"),
    "etcd-cafile": optionalText("FILE", "authority of the store's certificate"),
    "etcd-certfile": optionalText("FILE", "certificate to show the store"),
    "etcd-keyfile": optionalText("FILE", "its key"),
    "etcd-prefix": text("PREFIX", "/registry", "where objects begin in the store"),
    "etcd-servers-overrides": serversOverrides,
    "etcd-compaction-interval": duration(300_000, "how often the store's history is compacted; 0 for never by this server"),
    "etcd-healthcheck-timeout": duration(2_000, "how long the store may take to answer /livez and /healthz"),
    "etcd-readycheck-timeout": duration(2_000, "how long it may take to answer /readyz"),
    "etcd-count-metric-poll-period": duration(60_000, "how old counts of objects in /metrics may be; 0 for no counts"),
    "etcd-db-metric-poll-interval": duration(30_000, "how often the store is asked for its size; 0 for never"),
    "storage-backend": storageBackend,
    "storage-media-type": storageMediaType,
    "lease-reuse-duration-seconds": integer("N", 60, "for how long objects that expire share a lease of the store", [0, 86_400]),
    "bind-address": text("IP", "0.0.0.0", "address to serve at"),
    "secure-port": integer("N", 6443, "port to serve at; 0 picks one", [0, 65_535]),
    "advertise-address": optionalText("IP", "address that pods reach this server at; without it the one of the default interface"),
    "endpoint-reconciler-type": choice(
      ["lease", "none"],
      "lease",
      "who keeps the endpoints of the service kubernetes: the apiservers that hold a lease, or nobody",
    ),
    "tls-cert-file": text("FILE", "", "certificate to serve with; without it a self-signed one is made"),
    "tls-private-key-file": text("FILE", "", "its key"),
    "client-ca-file": optionalText("FILE", "authority of client certificates"),
    "service-account-key-file": list("FILES", [], "public keys of service account tokens"),
    "service-account-signing-key-file": optionalText("FILE", "key to sign service account tokens with"),
    "service-account-issuer": list("URLS", [], "issuer of service account tokens; the first one signs"),
    "api-audiences": list("NAMES", [], "what tokens have to be meant for; by default the issuer"),
    "service-cluster-ip-range": text("CIDRS", "10.0.0.0/24", "network of the Services' addresses; one of each family at most"),
    "service-node-port-range": portRange,
    "kubelet-certificate-authority": optionalText("FILE", "authority of the kubelets' certificates"),
    "kubelet-client-certificate": optionalText("FILE", "certificate to show kubelets"),
    "kubelet-client-key": optionalText("FILE", "its key"),
    "token-auth-file": optionalText("FILE", 'bearer tokens: token,user,uid,"group1,group2" a line'),
    "anonymous-auth": bool(true, "serve requests without credentials as system:anonymous"),
    "authorization-mode": authorizationModes,
    "max-requests-inflight": integer("N", 400, "reading requests worked on at once", [1, 1_000_000]),
    "max-mutating-requests-inflight": integer("N", 200, "writing requests worked on at once", [1, 1_000_000]),
    "http2-max-streams-per-connection": integer("N", 0, "requests that an HTTP/2 connection may have open; 0 for 100", [0, 1_000_000]),
    "goaway-chance": goawayChance,
    "request-timeout": duration(60_000, "how long a request other than a watch, a log or a stream may take"),
    "shutdown-delay-duration": duration(0, "how long to go on after a signal to end, while /readyz fails and all else is served"),
    "allow-privileged": allowPrivileged,
    v: verbosity,
  },
  async run(o) {
    setVerbosity(o.v);
    if (o["etcd-servers"].length === 0) throw new UsageError("--etcd-servers must be specified");
    checkEndpoints(o["etcd-servers"]);
    const issuer = o["service-account-issuer"][0];
    if (!issuer) throw new UsageError("--service-account-issuer is a required flag");
    if (!o["service-account-signing-key-file"]) throw new UsageError("--service-account-signing-key-file is a required flag");
    pair("etcd-certfile", o["etcd-certfile"], "etcd-keyfile", o["etcd-keyfile"]);
    pair("kubelet-client-certificate", o["kubelet-client-certificate"], "kubelet-client-key", o["kubelet-client-key"]);
    const file = (flag: keyof typeof o & string): string | undefined => {
      const path = o[flag] as string | undefined;
      return path ? read(flag, path) : undefined;
    };
    const signingKeyPem = file("service-account-signing-key-file")!;
    const bind = o["bind-address"];
    const [{ ApiServer, checkNetworks, parseTokenFile, publicKeyOf }, { EtcdClient }, tls] = await Promise.all([
      import("../apiserver/mod.ts"),
      import("../client/etcd-grpc.ts"),
      servingCertificate(o["tls-cert-file"], o["tls-private-key-file"], bind),
    ]);
    const wrong = checkNetworks(o["service-cluster-ip-range"]);
    if (wrong) throw new UsageError(`--service-cluster-ip-range: ${wrong}`);
    const keyFiles = o["service-account-key-file"];
    const etcdTls = { ca: file("etcd-cafile"), cert: file("etcd-certfile"), key: file("etcd-keyfile") };
    const store = new EtcdClient({ endpoints: o["etcd-servers"], tls: etcdTls });
    const overrides = openOverrides(o["etcd-servers-overrides"], (endpoints) => new EtcdClient({ endpoints, tls: etcdTls }));
    const options: ApiServerOptions = {
      store,
      storeOverrides: overrides,
      storePrefix: o["etcd-prefix"],
      storageMediaType: o["storage-media-type"],
      leaseReuse: o["lease-reuse-duration-seconds"],
      compactionInterval: o["etcd-compaction-interval"],
      sizeInterval: o["etcd-db-metric-poll-interval"],
      countObjects: o["etcd-count-metric-poll-period"] > 0,
      healthcheckTimeout: o["etcd-healthcheck-timeout"],
      readycheckTimeout: o["etcd-readycheck-timeout"],
      listen: [{ host: bind, port: o["secure-port"] }],
      advertiseAddress: o["advertise-address"] ?? addressOf(bind),
      endpointReconciler: o["endpoint-reconciler-type"],
      tls: { ...tls, clientCa: file("client-ca-file") ?? "" },
      serviceAccount: {
        issuer,
        signingKeyPem,
        publicKeysPem: keyFiles.length ? keyFiles.map((path) => read("service-account-key-file", path)) : [publicKeyOf(signingKeyPem)],
        apiAudiences: [...o["api-audiences"]],
      },
      serviceCidr: o["service-cluster-ip-range"],
      nodePorts: o["service-node-port-range"],
      kubeletClient: {
        ca: file("kubelet-certificate-authority"),
        cert: file("kubelet-client-certificate"),
        key: file("kubelet-client-key"),
      },
      tokens: parse("token-auth-file", file("token-auth-file"), parseTokenFile),
      anonymous: o["anonymous-auth"],
      alwaysAllow: o["authorization-mode"].includes("AlwaysAllow"),
      maxRequestsInFlight: o["max-requests-inflight"],
      maxMutatingRequestsInFlight: o["max-mutating-requests-inflight"],
      maxStreams: o["http2-max-streams-per-connection"] || undefined,
      goawayChance: o["goaway-chance"],
      requestTimeout: o["request-timeout"] || 60_000,
      shutdownDelay: o["shutdown-delay-duration"],
    };
    try {
      const ended = untilSignal();
      for (const each of [store, ...new Set(overrides.values())]) if (!(await storeThere(each, ended))) return 0;
      return await runComponent(new ApiServer(options));
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      if (code === "EADDRINUSE") throw new UsageError(`--secure-port ${o["secure-port"]}: address already in use`);
      if (code === "EADDRNOTAVAIL" || code === "EACCES") throw new UsageError(`--bind-address ${bind}: ${message}`);
      throw error;
    } finally {
      for (const each of [store, ...new Set(overrides.values())]) await each.close();
    }
  },
});

function read(flag: string, path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    throw new UsageError(`invalid value ${JSON.stringify(path)} for flag --${flag}: ${(error as Error).message}`);
  }
}

function parse<T>(flag: string, content: string | undefined, reader: (content: string) => T): T | undefined {
  if (content === undefined) return undefined;
  try {
    return reader(content);
  } catch (error) {
    throw new UsageError(`--${flag}: ${(error as Error).message}`);
  }
}

function pair(a: string, first: string | undefined, b: string, second: string | undefined): void {
  if (!first !== !second) throw new UsageError(`--${a} and --${b} go together`);
}

/** The address that others reach: the one it binds to, or the first of an interface that is no loopback. */
function addressOf(bind: string): string | undefined {
  if (bind !== "0.0.0.0" && bind !== "::") return bind.startsWith("127.") || bind === "::1" ? undefined : bind;
  for (const list of Object.values(networkInterfaces()))
    for (const a of list ?? []) if (!a.internal && a.family === "IPv4") return a.address;
  return undefined;
}
