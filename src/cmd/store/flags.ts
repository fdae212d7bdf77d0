// The flags of `kubun store`: etcd's names and defaults.
import { DEFAULT_ELECTION, DEFAULT_HEARTBEAT, DEFAULT_PEER_URL, DEFAULT_TOKEN } from "../../store/membership/options.ts";
import {
  bool,
  choice,
  duration,
  type Flag,
  type FlagTable,
  type FlagValues,
  integer,
  list,
  optionalText,
  text,
  verbosity,
} from "../flags.ts";
import { unusedFlags } from "./unused.ts";

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
export const DEFAULT_CLIENT_URL = "http://localhost:2379";

const used = {
  name: text("NAME", "default", "the member's name"),
  "data-dir": optionalText("DIR", "where the data is kept (default NAME.etcd)"),
  "wal-dir": optionalText("DIR", "where the write-ahead log is kept (default in --data-dir)"),
  "config-file": optionalText("FILE", "YAML with the names of these flags as keys; flags and ETCD_… variables count no more"),
  "listen-client-urls": list("URLS", [DEFAULT_CLIENT_URL], "where to serve clients: http://, https:// or unix://"),
  "advertise-client-urls": list("URLS", [], `URLs that clients are told (default ${DEFAULT_CLIENT_URL}, or those it listens on)`),
  "listen-client-http-urls": list("URLS", [], "where to serve /health, /metrics and /version alone, beside the client URLs"),
  "listen-metrics-urls": list("URLS", [], "the same; https:// takes the certificate of the client URLs"),
  "cert-file": optionalText("FILE", "the certificate shown to clients"),
  "key-file": optionalText("FILE", "its key"),
  "trusted-ca-file": optionalText("FILE", "authorities whose client certificates are accepted"),
  "client-cert-auth": bool(false, "refuse clients without a certificate of --trusted-ca-file"),
  "auto-tls": bool(false, "serve https:// client URLs with a certificate made at the first start"),
  "cipher-suites": list("NAMES", [], "cipher suites of TLS 1.2, by their IANA names (default: BoringSSL's)"),
  "tls-min-version": choice(["", "TLS1.2", "TLS1.3"], "TLS1.2", "the oldest version of TLS"),
  "tls-max-version": choice(["", "TLS1.2", "TLS1.3"], "", "the newest version of TLS (default TLS1.3)"),
  "quota-backend-bytes": integer("BYTES", 0, "bytes after which no more is stored; 0 is 2 GiB", [-1, Number.MAX_SAFE_INTEGER]),
  "snapshot-count": integer("N", 10_000, "log entries between two snapshots, at least", [1, Number.MAX_SAFE_INTEGER]),
  "snapshot-catchup-entries": integer("N", 5000, "log entries kept for members that are behind", [1, 1_000_000]),
  "max-request-bytes": integer("BYTES", 1.5 * MIB, "most bytes of a request", [1, 1024 * MIB]),
  "max-txn-ops": integer("N", 128, "most operations in a transaction", [1, 1_000_000]),
  cors: list("ORIGINS", ["*"], "origins whose pages may call over gRPC-Web, Connect and JSON; * for all"),
  "enable-grpc-gateway": bool(true, "answer JSON at /v3/…"),
  "max-concurrent-streams": integer("N", 0xffffffff, "most streams of one client connection", [1, 0xffffffff]),
  "grpc-keepalive-min-time": duration(5000, "how often a client may ping at most"),
  "grpc-keepalive-interval": duration(7_200_000, "how long a client may be silent until it is asked; 0 for ever"),
  "grpc-keepalive-timeout": duration(20_000, "how long it has to answer"),
  "auto-compaction-mode": choice(["periodic", "revision"], "periodic", "what --auto-compaction-retention counts"),
  "auto-compaction-retention": retention,
  "watch-progress-notify-interval": duration(600_000, "how often idle watches that ask for it are told the revision"),
  "warning-apply-duration": duration(100, "an apply that takes longer counts as slow"),
  "auth-token": text("TYPE", "simple", "tokens: simple, or jwt,sign-method=M[,pub-key=FILE][,priv-key=FILE][,ttl=5m]"),
  "auth-token-ttl": integer("SECONDS", 300, "how long a simple token lasts unused", [1, 1_000_000_000]),
  "bcrypt-cost": integer("N", 10, "the cost of hashing passwords", [4, 31]),
  "initial-advertise-peer-urls": list("URLS", [DEFAULT_PEER_URL], "where other members reach this one"),
  "listen-peer-urls": list("URLS", [DEFAULT_PEER_URL], "where to serve other members"),
  "initial-cluster": optionalText("NAME=URL,…", "all members of a new cluster, or of the one to join (default this one alone)"),
  "initial-cluster-state": choice(["new", "existing"], "new", "whether to begin a cluster, or join one that has added this member"),
  "initial-cluster-token": text("TOKEN", DEFAULT_TOKEN, "keeps clusters with the same URLs apart"),
  "strict-reconfig-check": bool(true, "refuse changes of the members that could cost the quorum"),
  "force-new-cluster": bool(false, "begin a cluster of this member alone with the data that it has"),
  "peer-cert-file": optionalText("FILE", "the certificate shown to other members"),
  "peer-key-file": optionalText("FILE", "its key"),
  "peer-client-cert-file": optionalText("FILE", "the certificate shown to members that are called (default --peer-cert-file)"),
  "peer-client-key-file": optionalText("FILE", "its key"),
  "peer-trusted-ca-file": optionalText("FILE", "authorities whose members are accepted"),
  "peer-client-cert-auth": bool(false, "refuse members without a certificate of --peer-trusted-ca-file"),
  "peer-cert-allowed-cn": list("NAMES", [], "common names, of which a member's certificate has to have one"),
  "peer-cert-allowed-hostname": list("NAMES", [], "host names, of which a member's certificate has to have one"),
  "peer-auto-tls": bool(false, "serve https:// peer URLs with a certificate made at the first start, and trust any"),
  "self-signed-cert-validity": integer("YEARS", 1, "how long the certificates of --auto-tls and --peer-auto-tls are good", [1, 100]),
  "heartbeat-interval": integer("MS", DEFAULT_HEARTBEAT, "milliseconds between two heartbeats", [-1_000_000, 1_000_000]),
  "election-timeout": integer("MS", DEFAULT_ELECTION, "milliseconds until a silent leader is given up", [-1_000_000, 1_000_000]),
  "lease-reads": bool(false, "answer linearizable reads without asking a majority for each, as long as it promised to elect nobody else"),
  "corrupt-check-time": duration(0, "how often the leader compares the members' data; 0 is never"),
  "max-learners": integer("N", 1, "most members without a vote", [1, 1000]),
  metrics: choice(["basic", "extensive"], "basic", "extensive also measures how long calls take"),
  "feature-gates": optionalText("GATE=BOOL,…", "InitialCorruptCheck compares with the other members' data before serving"),
  "log-level": choice(["debug", "info", "warn", "error", "dpanic", "panic", "fatal"], "info", "the least that is logged"),
  "log-outputs": list("TARGETS", ["default"], "where to log: stderr, stdout, or files"),
  version: bool(false, "print the version"),
  v: verbosity,
};

/** Older names, and what they are called now. */
export const RENAMED = {
  "experimental-watch-progress-notify-interval": "watch-progress-notify-interval",
  "experimental-warning-apply-duration": "warning-apply-duration",
  "experimental-corrupt-check-time": "corrupt-check-time",
  "experimental-max-learners": "max-learners",
  "experimental-snapshot-catchup-entries": "snapshot-catchup-entries",
} as const satisfies Record<string, keyof typeof used>;

const renamed = Object.fromEntries(
  Object.entries(RENAMED).map(([old, now]) => [old, { ...used[now], hidden: true } as Flag<unknown>]),
) satisfies FlagTable;

/** Became a feature gate. */
const hidden = {
  "experimental-initial-corrupt-check": { ...bool(false, "compare with the other members' data before serving"), hidden: true },
  debug: { ...bool(false, "as --log-level=debug"), hidden: true },
};

export const flags = { ...used, ...hidden };
/** All that the command takes. */
export const table: FlagTable = { ...unusedFlags, ...renamed, ...flags };
export type Values = FlagValues<typeof flags>;
