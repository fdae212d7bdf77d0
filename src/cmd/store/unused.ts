// Flags of etcd that have nothing to do here. One that only tunes what is not
// there is passed over with a line in the log; one that somebody relies on, for
// safety or to find a cluster, is refused.
import type { Flag } from "../flags.ts";

interface Unused {
  /** Of these, and of its default, nothing is said. */
  readonly silent: readonly string[];
  readonly boolean?: true;
  /** Ends the program where another value is given. */
  readonly refused?: true;
  readonly why: string;
}

const tunes = (why: string, ...silent: string[]): Unused => ({ silent, why });
const toggles = (why: string, ...silent: ("true" | "false")[]): Unused => ({ silent, boolean: true, why });
const refuses = (why: string, ...silent: string[]): Unused => ({ silent: ["", ...silent], refused: true, why });
const refusesOn = (why: string): Unused => ({ silent: ["false"], boolean: true, refused: true, why });

const NO_BBOLT = "the data lies in memory and in the log, not in bbolt";
const RELEASED = "what a newer snapshot covers is released at once";
const NO_DISCOVERY = "there is no discovery here; name the members with --initial-cluster";
const NO_V2 = "there is no v2 API";
const NO_TRACING = "requests are not traced";
const SLICES = "compactions are done in slices, between requests";
const LEASES = "leases begin their time anew under a new leader";
const OWN_FORMAT = "lines are in klog's format";

const TRACING = ["", "experimental-"].flatMap((prefix) => [
  [`${prefix}enable-distributed-tracing`, toggles(NO_TRACING, "false")] as const,
  ...["address", "service-name", "instance-id", "sampling-rate"].map(
    (name) => [`${prefix}distributed-tracing-${name}`, tunes(NO_TRACING)] as const,
  ),
]);

export const UNUSED: Readonly<Record<string, Unused>> = {
  "initial-election-tick-advance": toggles("a member that is alone leads at once", "true"),
  "max-snapshots": tunes(RELEASED),
  "max-wals": tunes(RELEASED),
  "backend-batch-interval": tunes(NO_BBOLT),
  "backend-batch-limit": tunes(NO_BBOLT),
  "backend-bbolt-freelist-type": tunes(NO_BBOLT),
  "experimental-backend-bbolt-freelist-type": tunes(NO_BBOLT),
  "socket-reuse-port": toggles("a port has one owner", "false"),
  "socket-reuse-address": toggles("listeners have SO_REUSEADDR", "false", "true"),
  "raft-read-timeout": tunes("--election-timeout says when a silent connection is given up"),
  "raft-write-timeout": tunes("--election-timeout says when a silent connection is given up"),
  discovery: refuses(NO_DISCOVERY),
  "discovery-fallback": tunes(NO_DISCOVERY, "exit", "proxy"),
  "discovery-proxy": refuses(NO_DISCOVERY),
  "discovery-srv": refuses(NO_DISCOVERY),
  "discovery-srv-name": refuses(NO_DISCOVERY),
  "discovery-endpoints": refuses(NO_DISCOVERY),
  "discovery-token": refuses(NO_DISCOVERY),
  "pre-vote": toggles("there is always a pre-vote", "true"),
  "enable-v2": refusesOn(NO_V2),
  "experimental-enable-v2v3": refuses(NO_V2),
  "v2-deprecation": tunes(NO_V2, "not-yet", "write-only", "write-only-drop-data", "gone"),
  "client-cert-file": tunes("the member does not call itself"),
  "client-key-file": tunes("the member does not call itself"),
  "client-crl-file": refuses("revocation lists are not read"),
  "peer-crl-file": refuses("revocation lists are not read"),
  "client-cert-allowed-hostname": refuses("clients' certificates are checked against --trusted-ca-file alone"),
  "experimental-peer-skip-client-san-verification": toggles("a member's address is not compared with its certificate", "true", "false"),
  "peer-skip-client-san-verification": toggles("a member's address is not compared with its certificate", "true", "false"),
  "host-whitelist": refuses("the Host header is not looked at; listen on addresses that pages can't reach", "*"),
  "enable-pprof": toggles("there is no Go runtime to profile", "false"),
  logger: tunes(OWN_FORMAT),
  "log-format": tunes(OWN_FORMAT),
  "log-package-levels": tunes("--log-level is for the whole program", ""),
  "enable-log-rotation": toggles("files are appended to; rotate them with copytruncate", "false"),
  "log-rotation-config-json": tunes("files are appended to; rotate them with copytruncate"),
  "disable-log-sampling": toggles("no line is left out", "true", "false"),
  proxy: refuses("it is no proxy", "off"),
  "proxy-failure-wait": tunes("it is no proxy"),
  "proxy-refresh-interval": tunes("it is no proxy"),
  "proxy-dial-timeout": tunes("it is no proxy"),
  "proxy-write-timeout": tunes("it is no proxy"),
  "proxy-read-timeout": tunes("it is no proxy"),
  "compact-hash-check-time": tunes("--corrupt-check-time compares all of the data"),
  "experimental-compact-hash-check-enabled": toggles("--corrupt-check-time compares all of the data", "false"),
  "experimental-compact-hash-check-time": tunes("--corrupt-check-time compares all of the data"),
  "experimental-enable-lease-checkpoint": toggles(LEASES, "false"),
  "experimental-enable-lease-checkpoint-persist": toggles(LEASES, "false"),
  "compaction-batch-limit": tunes(SLICES),
  "compaction-sleep-interval": tunes(SLICES),
  "experimental-compaction-batch-limit": tunes(SLICES),
  "experimental-compaction-sleep-interval": tunes(SLICES),
  "warning-unary-request-duration": tunes("slow requests are not logged one by one"),
  "experimental-warning-unary-request-duration": tunes("slow requests are not logged one by one"),
  "downgrade-check-time": tunes("a downgrade is not done by itself"),
  "experimental-downgrade-check-time": tunes("a downgrade is not done by itself"),
  "memory-mlock": toggles("memory is not locked", "false"),
  "experimental-memory-mlock": toggles("memory is not locked", "false"),
  "experimental-txn-mode-write-with-shared-buffer": toggles(NO_BBOLT, "true", "false"),
  "bootstrap-defrag-threshold-megabytes": tunes(NO_BBOLT, "0"),
  "experimental-bootstrap-defrag-threshold-megabytes": tunes(NO_BBOLT, "0"),
  "experimental-stop-grpc-service-on-defrag": toggles("requests are answered during a defragmentation", "false"),
  "unsafe-no-fsync": toggles("every write is synced", "false"),
  ...Object.fromEntries(TRACING),
};
/** Takes whatever is given; checkUnused says what comes of it. */
export const unusedFlags: Record<string, Flag<string | undefined>> = Object.fromEntries(
  Object.entries(UNUSED).map(([name, { why, boolean }]) => [
    name,
    {
      help: why,
      hidden: true,
      fallback: undefined,
      parse: (s: string) => (boolean ? String(/^(true|t|1)$/i.test(s)) : s),
      ...(boolean ? { boolean } : { placeholder: "VALUE" }),
    },
  ]),
);
