// `kubun controller-manager`: kube-controller-manager with upstream's flags.
import { readFileSync } from "node:fs";
import { HttpTransport } from "../client/http.ts";
import { defaultConfig } from "../client/kubeconfig.ts";
import { setVerbosity } from "../platform/log.ts";
import { bool, command, duration, type Flag, integer, list, optionalText, text, UsageError, verbosity } from "./flags.ts";
import { serveHealth, servingCertificate } from "./health-server.ts";
import { leaderFlags, runAsLeader } from "./lead.ts";
import { runComponent } from "./run-component.ts";

const number = (fallback: number, help: string): Flag<number> => ({
  placeholder: "N",
  fallback,
  help,
  parse: (s) => {
    const n = Number(s);
    if (s === "" || !Number.isFinite(n) || n < 0) throw new Error("must be a number of 0 or more");
    return n;
  },
});

/** --concurrent-…-syncs by the name that src/controllers/table.ts knows: upstream's flag, default. */
const concurrency = {
  "concurrent-deployment-syncs": ["deployment", 5],
  "concurrent-replicaset-syncs": ["replicaset", 5],
  "concurrent-rc-syncs": ["rc", 5],
  "concurrent-endpoint-syncs": ["endpoint", 5],
  "concurrent-service-endpoint-syncs": ["service-endpoint", 5],
  "concurrent-namespace-syncs": ["namespace", 10],
  "concurrent-gc-syncs": ["gc", 20],
  "concurrent-statefulset-syncs": ["statefulset", 5],
  "concurrent-daemonset-syncs": ["daemonset", 2],
  "concurrent-job-syncs": ["job", 5],
  "concurrent-cron-job-syncs": ["cronjob", 5],
  "concurrent-ttl-after-finished-syncs": ["ttl-after-finished", 5],
  "concurrent-resource-quota-syncs": ["resource-quota", 5],
} as const;
type ConcurrencyFlag = keyof typeof concurrency;
const concurrencyFlags = Object.fromEntries(
  Object.entries(concurrency).map(([flag, [what, n]]) => [
    flag,
    integer("N", n, `objects of ${what} worked on at the same time`, [1, 10_000]),
  ]),
) as Record<ConcurrencyFlag, Flag<number>>;

export default command({
  name: "controller-manager",
  summary: "Runs kube-controller-manager: the loops that bring the cluster to what its objects say",
  flags: {
    kubeconfig: text("FILE", "", "how to reach the apiserver; without it $KUBECONFIG, the pod's account, or ~/.kube/config"),
    master: text("URL", "", "address of the apiserver, instead of the kubeconfig's"),
    controllers: list("NAMES", ["*"], "which run: '*' for all that are on by default, 'name', '-name'"),
    ...leaderFlags("kube-controller-manager"),
    "allocate-node-cidrs": bool(false, "give each node a part of --cluster-cidr for its pods"),
    "cluster-cidr": text("CIDR", "", "range of all pods; an IPv4 and an IPv6 one may be given, with a comma"),
    "service-cluster-ip-range": text("CIDR", "", "range of Services, which nodes get nothing of"),
    "node-cidr-mask-size": integer("N", 0, "prefix length of a node's part; 0 for 24, or 64 with IPv6", [0, 128]),
    "root-ca-file": optionalText("FILE", "what signs the apiserver's certificate; published in each namespace as kube-root-ca.crt"),
    "node-monitor-grace-period": duration(50_000, "how long a node may be silent before it counts as lost"),
    "node-startup-grace-period": duration(60_000, "how long a new node may be silent"),
    "node-monitor-period": duration(5_000, "how often the nodes are looked at"),
    "node-eviction-rate": number(0.1, "nodes a second whose pods are evicted while their zone is healthy"),
    "terminated-pod-gc-threshold": integer("N", 12_500, "finished pods to keep; 0 keeps all"),
    ...concurrencyFlags,
    "bind-address": text("IP", "0.0.0.0", "address for --secure-port"),
    "secure-port": integer("N", 10257, "port of /healthz, /readyz and /metrics over HTTPS; 0 for none", [0, 65535]),
    "tls-cert-file": text("FILE", "", "certificate for --secure-port; without it a self-signed one is made"),
    "tls-private-key-file": text("FILE", "", "its key"),
    v: verbosity,
  },
  async run(o) {
    setVerbosity(o.v);
    const rootCaPem = o["root-ca-file"] === undefined ? undefined : readPem(o["root-ca-file"]);
    if (o["allocate-node-cidrs"] && !o["cluster-cidr"]) throw new UsageError("--allocate-node-cidrs needs --cluster-cidr");
    const { enabled } = await import("../controllers/table.ts");
    try {
      enabled(o.controllers);
    } catch (error) {
      throw new UsageError(`invalid value for flag --controllers: ${(error as Error).message}`);
    }
    checkCidrs("cluster-cidr", o["cluster-cidr"], (await import("../controllers/nodeipam/cidr.ts")).parseCidr);
    checkCidrs("service-cluster-ip-range", o["service-cluster-ip-range"], (await import("../controllers/nodeipam/cidr.ts")).parseCidr);
    const transport = new HttpTransport(await defaultConfig(o.kubeconfig || undefined, o.master ? { server: o.master } : {}), {
      userAgent: "kube-controller-manager/v1.35.0",
    });
    const { ControllerManager } = await import("../controllers/mod.ts");
    const { QueueMeter } = await import("../controllers/metrics.ts");
    const metrics = new QueueMeter();
    const manager = new ControllerManager({
      transport,
      metrics,
      controllers: o.controllers,
      rootCaPem,
      clusterCidr: o["allocate-node-cidrs"] ? o["cluster-cidr"] : undefined,
      nodeCidrMaskSize: o["node-cidr-mask-size"] || undefined,
      serviceClusterIpRange: o["service-cluster-ip-range"] || undefined,
      nodeMonitorGracePeriod: o["node-monitor-grace-period"],
      nodeStartupGracePeriod: o["node-startup-grace-period"],
      nodeMonitorPeriod: o["node-monitor-period"],
      nodeEvictionRate: o["node-eviction-rate"],
      terminatedPodGcThreshold: o["terminated-pod-gc-threshold"],
      concurrency: Object.fromEntries(Object.entries(concurrency).map(([flag, [name]]) => [name, o[flag as ConcurrencyFlag]])),
    });
    const health = serveHealth({
      flag: "secure-port",
      host: o["bind-address"],
      port: o["secure-port"],
      // A candidate that waits to lead is as ready as the leader.
      notReady: () => (o["leader-elect"] ? undefined : manager.notReady()),
      metrics: () => metrics.text(),
      tls: o["secure-port"]
        ? await servingCertificate(o["tls-cert-file"], o["tls-private-key-file"], "kube-controller-manager")
        : undefined,
    });
    try {
      return o["leader-elect"] ? await runAsLeader(transport, manager, o) : await runComponent(manager);
    } finally {
      await health.stop();
      transport.close();
    }
  },
});

function readPem(file: string): string {
  let pem: string;
  try {
    pem = readFileSync(file, "utf8");
  } catch (error) {
    throw new UsageError(`--root-ca-file: ${(error as Error).message}`);
  }
  if (!pem.includes("-----BEGIN CERTIFICATE-----")) throw new UsageError(`--root-ca-file: ${file} holds no PEM certificate`);
  return pem;
}

function checkCidrs(flag: string, value: string, parse: (text: string) => unknown): void {
  if (value === "") return;
  for (const part of value.split(",")) {
    try {
      parse(part.trim());
    } catch (error) {
      throw new UsageError(`invalid value ${JSON.stringify(value)} for flag --${flag}: ${(error as Error).message}`);
    }
  }
}
