// `kubun store`: a store of its own, with etcd's flags.
import { readFileSync } from "node:fs";
import { logger } from "../platform/log.ts";
import type { Address, TlsServerOptions } from "../rpc/types.ts";
import type { TokenOptions } from "../store/auth/options.ts";
import { checkInitialCluster, checkTimeouts, parseInitialCluster } from "../store/membership/bootstrap.ts";
import { type ClusterOptions, DEFAULT_ELECTION, DEFAULT_HEARTBEAT, DEFAULT_PEER_URL, DEFAULT_TOKEN } from "../store/membership/options.ts";
import { bool, choice, command, duration, type Flag, integer, list, optionalText, text, UsageError, verbosity } from "./flags.ts";

/** etcd's --auto-compaction-retention: a number of hours or a duration, or of revisions. */
const retention: Flag<string> = {
  ...text("N", "0", "how much to keep: a duration or hours (periodic), or revisions; 0 turns compaction off"),
  parse: (s) => {
    if (/^\d+$/.test(s)) return s;
    duration(0, "").parse(s);
    return s;
  },
};

const MIB = 1024 * 1024;

const flags = {
  name: text("NAME", "default", "the member's name"),
  "data-dir": optionalText("DIR", "where the data is kept (default NAME.etcd)"),
  "listen-client-urls": list("URLS", [], "where to serve clients: http://, https:// or unix:// (default http://127.0.0.1:2379)"),
  "advertise-client-urls": list("URLS", [], "URLs that clients are told (default those it listens on)"),
  "listen-metrics-urls": list("URLS", [], "where to serve /health, /metrics and /version over plain HTTP"),
  "cert-file": optionalText("FILE", "the certificate shown to clients"),
  "key-file": optionalText("FILE", "its key"),
  "trusted-ca-file": optionalText("FILE", "authorities whose client certificates are accepted"),
  "client-cert-auth": bool(false, "refuse clients without a certificate of --trusted-ca-file"),
  "quota-backend-bytes": integer("BYTES", 0, "bytes after which no more is stored; 0 is 2 GiB"),
  "snapshot-count": integer("N", 10_000, "log entries between two snapshots, at least", [1, Number.MAX_SAFE_INTEGER]),
  "max-request-bytes": integer("BYTES", 1.5 * MIB, "most bytes of a request", [1, 1024 * MIB]),
  "max-txn-ops": integer("N", 128, "most operations in a transaction", [1, 1_000_000]),
  cors: list("ORIGINS", ["*"], "origins whose pages may call over gRPC-Web and Connect; * for all"),
  "max-concurrent-streams": integer("N", 0xffffffff, "most streams of one client connection", [1, 0xffffffff]),
  "grpc-keepalive-min-time": duration(5000, "how often a client may ping at most"),
  "grpc-keepalive-interval": duration(7_200_000, "how long a client may be silent until it is asked; 0 for ever"),
  "grpc-keepalive-timeout": duration(20_000, "how long it has to answer"),
  "auto-compaction-mode": choice(["periodic", "revision"], "periodic", "what --auto-compaction-retention counts"),
  "auto-compaction-retention": retention,
  "experimental-watch-progress-notify-interval": duration(600_000, "how often idle watches that ask for it are told the revision"),
  "auth-token": text("TYPE", "simple", "tokens: simple, or jwt,sign-method=M[,pub-key=FILE][,priv-key=FILE][,ttl=5m]"),
  "auth-token-ttl": integer("SECONDS", 300, "how long a simple token lasts unused", [1, 1_000_000_000]),
  "bcrypt-cost": integer("N", 10, "the cost of hashing passwords", [4, 31]),
  "initial-advertise-peer-urls": list("URLS", [DEFAULT_PEER_URL], "where other members reach this one"),
  "listen-peer-urls": list("URLS", [], "where to serve other members (default http://localhost:2380, if there are others)"),
  "initial-cluster": optionalText("NAME=URL,…", "all members of a new cluster, or of the one to join (default this one alone)"),
  "initial-cluster-state": choice(["new", "existing"], "new", "whether to begin a cluster, or join one that has added this member"),
  "initial-cluster-token": text("TOKEN", DEFAULT_TOKEN, "keeps clusters with the same URLs apart"),
  "force-new-cluster": bool(false, "begin a cluster of this member alone with the data that it has"),
  "peer-cert-file": optionalText("FILE", "the certificate shown to other members"),
  "peer-key-file": optionalText("FILE", "its key"),
  "peer-trusted-ca-file": optionalText("FILE", "authorities whose members are accepted"),
  "peer-client-cert-auth": bool(false, "refuse members without a certificate of --peer-trusted-ca-file"),
  "heartbeat-interval": integer("MS", DEFAULT_HEARTBEAT, "milliseconds between two heartbeats", [-1_000_000, 1_000_000]),
  "election-timeout": integer("MS", DEFAULT_ELECTION, "milliseconds until a silent leader is given up", [-1_000_000, 1_000_000]),
  "experimental-initial-corrupt-check": bool(false, "compare with the other members' data before serving"),
  "experimental-corrupt-check-time": duration(0, "how often the leader compares the members' data; 0 is never"),
  "experimental-max-learners": integer("N", 1, "most members without a vote", [1, 1000]),
  v: verbosity,
};

export default command({
  name: "store",
  summary: "Runs the store: etcd's API over a log and a state machine",
  flags,
  async run(values) {
    const listen = parseUrls(
      "listen-client-urls",
      values["listen-client-urls"].length ? values["listen-client-urls"] : ["http://127.0.0.1:2379"],
    );
    parseUrls("advertise-client-urls", values["advertise-client-urls"]);
    const cluster = clusterOf(values);
    const metrics = parseUrls("listen-metrics-urls", values["listen-metrics-urls"]);
    const tls = tlsOf(values);
    const token = await tokenOf(values["auth-token"]);
    for (const { url, secure } of listen) {
      if (secure && !tls) throw new UsageError(`--listen-client-urls ${url}: https needs --cert-file and --key-file`);
      if (!secure && tls && listen.some((l) => l.secure)) throw new UsageError(`--listen-client-urls ${url}: not together with https URLs`);
    }
    const { setVerbosity } = await import("../platform/log.ts");
    setVerbosity(values.v);
    const { Store } = await import("../store/mod.ts");
    const { serveHttp } = await import("../store/server/http.ts");
    const store = new Store({
      ...cluster,
      dataDir: values["data-dir"] ?? `${values.name}.etcd`,
      listen: listen.map((l) => l.address),
      tls: listen.some((l) => l.secure) ? tls : undefined,
      advertiseClientUrls: values["advertise-client-urls"],
      quotaBackendBytes: values["quota-backend-bytes"],
      snapshotCount: values["snapshot-count"],
      maxRequestBytes: values["max-request-bytes"],
      maxTxnOps: values["max-txn-ops"],
      connections: {
        cors: values.cors,
        maxConcurrentStreams: values["max-concurrent-streams"],
        minPingInterval: values["grpc-keepalive-min-time"],
        keepaliveInterval: values["grpc-keepalive-interval"] || Number.POSITIVE_INFINITY,
        keepaliveTimeout: values["grpc-keepalive-timeout"],
      },
      autoCompaction: compactionOf(values["auto-compaction-mode"], values["auto-compaction-retention"]),
      auth: {
        token,
        tokenTtl: values["auth-token-ttl"] * 1000,
        bcryptCost: values["bcrypt-cost"],
        certificateUsers: values["client-cert-auth"],
      },
      progressInterval: values["experimental-watch-progress-notify-interval"],
    });
    try {
      await store.start();
    } catch (error) {
      throw explain(error, listen.map((l) => l.url).join(","));
    }
    const health = metrics.map((m) => serveHttp(store, m.address));
    logger("etcd").info("Ready to serve client requests", { name: values.name, urls: store.urls.join(",") });
    await new Promise<void>((resolve) => {
      for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => resolve());
      // It is no member any more.
      store.member.onRemoved = resolve;
    });
    for (const h of health) await h.stop(true);
    await store.stop();
  },
});

type Values = Parameters<Parameters<typeof command<typeof flags>>[0]["run"]>[0];

/** What the flags say of other members. */
function clusterOf(v: Values): ClusterOptions {
  const peerUrls = v["initial-advertise-peer-urls"];
  const { name } = v;
  const own = peerUrls.map((url) => `${name}=${url}`).join(",");
  const initialCluster = v["initial-cluster"] ?? own;
  parseUrls("initial-advertise-peer-urls", peerUrls);
  try {
    checkTimeouts(v["heartbeat-interval"], v["election-timeout"]);
    checkInitialCluster(name, peerUrls, parseInitialCluster(initialCluster));
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
  const alone = initialCluster === own && v["initial-cluster-state"] === "new";
  const listen = v["listen-peer-urls"].length > 0 || alone ? v["listen-peer-urls"] : [DEFAULT_PEER_URL];
  const urls = parseUrls("listen-peer-urls", listen);
  const tls = tlsOf(v, "peer-");
  for (const { url, secure } of urls) {
    if (secure && !tls) throw new UsageError(`--listen-peer-urls ${url}: https needs --peer-cert-file and --peer-key-file`);
  }
  return {
    name,
    peerUrls,
    initialCluster,
    initialClusterState: v["initial-cluster-state"],
    initialClusterToken: v["initial-cluster-token"],
    forceNewCluster: v["force-new-cluster"],
    heartbeatInterval: v["heartbeat-interval"],
    electionTimeout: v["election-timeout"],
    initialCorruptCheck: v["experimental-initial-corrupt-check"],
    corruptCheckTime: v["experimental-corrupt-check-time"],
    maxLearners: v["experimental-max-learners"],
    peer: {
      listen: urls.map((u) => u.address),
      tls: urls.some((u) => u.secure) ? tls : undefined,
      clientTls: tls && { cert: tls.cert, key: tls.key, ca: tls.clientCa },
    },
  };
}

interface ListenUrl {
  url: string;
  address: Address;
  secure: boolean;
}

function parseUrls(flag: string, urls: readonly string[]): ListenUrl[] {
  return urls.map((url) => {
    const bad = (why: string) => new UsageError(`invalid value ${JSON.stringify(url)} for flag --${flag}: ${why}`);
    const unix = /^unixs?:\/\/(.+)$/.exec(url);
    if (unix) {
      if (Buffer.byteLength(unix[1]!) > 107) throw bad("the path of a socket may have 107 bytes");
      return { url, address: { unix: unix[1]! }, secure: url.startsWith("unixs:") };
    }
    const parsed = URL.canParse(url) ? new URL(url) : undefined;
    if (!parsed || !["http:", "https:"].includes(parsed.protocol)) throw bad("must be an http://, https:// or unix:// URL");
    if (parsed.pathname !== "/" || parsed.search || parsed.username) throw bad("must be scheme, host and port alone");
    // URL leaves out a scheme's own port.
    const port = parsed.port ? Number(parsed.port) : /:(80|443)\/?$/.test(url) ? Number(/:(\d+)\/?$/.exec(url)![1]) : undefined;
    if (port === undefined) throw bad("must name a port");
    return { url, address: { host: parsed.hostname.replace(/^\[|\]$/g, ""), port }, secure: parsed.protocol === "https:" };
  });
}

function tlsOf(v: Values, prefix: "" | "peer-" = ""): TlsServerOptions | undefined {
  const cert = v[`${prefix}cert-file`];
  const key = v[`${prefix}key-file`];
  const ca = v[`${prefix}trusted-ca-file`];
  const requireClientCert = v[`${prefix}client-cert-auth`];
  if (!cert !== !key) throw new UsageError(`--${prefix}cert-file and --${prefix}key-file go together`);
  if (requireClientCert && !ca) throw new UsageError(`--${prefix}client-cert-auth needs --${prefix}trusted-ca-file`);
  if (!cert || !key) return undefined;
  return {
    cert: readPem(`${prefix}cert-file`, cert),
    key: readPem(`${prefix}key-file`, key),
    clientCa: ca ? readPem(`${prefix}trusted-ca-file`, ca) : undefined,
    requireClientCert,
  };
}

async function tokenOf(text: string): Promise<TokenOptions> {
  const { parseTokenOptions } = await import("../store/auth/options.ts");
  const bad = (error: unknown) =>
    new UsageError(`invalid value ${JSON.stringify(text)} for flag --auth-token: ${(error as Error).message}`);
  try {
    const options = parseTokenOptions(text);
    if (options.kind === "simple") return options;
    const { JwtTokens } = await import("../store/auth/jwt.ts");
    await JwtTokens.open(options);
    return options;
  } catch (error) {
    throw bad(error);
  }
}

function readPem(flag: string, path: string): string {
  let pem: string;
  try {
    pem = readFileSync(path, "utf8");
  } catch (error) {
    throw new UsageError(`invalid value ${JSON.stringify(path)} for flag --${flag}: ${(error as Error).message}`);
  }
  if (!pem.includes("-----BEGIN ")) throw new UsageError(`invalid value ${JSON.stringify(path)} for flag --${flag}: not a PEM file`);
  return pem;
}

function compactionOf(mode: "periodic" | "revision", text: string) {
  const bare = /^\d+$/.test(text);
  if (mode === "revision" && !bare)
    throw new UsageError(`invalid value ${JSON.stringify(text)} for flag --auto-compaction-retention: must be a number of revisions`);
  const amount = bare ? Number(text) * (mode === "periodic" ? 3_600_000 : 1) : (duration(0, "").parse(text) as number);
  return amount > 0 ? { mode, retention: amount } : undefined;
}

/** What keeps it from starting, as a wrong flag where it is one. */
function explain(error: unknown, urls: string): unknown {
  const { code, message, name } = error as { code?: string; message: string; name: string };
  if (code === "EADDRINUSE") return new UsageError(`--listen-client-urls ${urls}: address already in use`);
  if (code === "EADDRNOTAVAIL" || code === "EACCES") return new UsageError(`--listen-client-urls ${urls}: ${message}`);
  if (name === "BootstrapError") return new Error(message);
  if (name === "DirectoryLocked") return new UsageError(`--data-dir: ${message}`);
  return error;
}
