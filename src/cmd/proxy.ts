// `kubun proxy`: kube-proxy in its nftables mode, with upstream's flags.
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { HttpTransport } from "../client/http.ts";
import { defaultConfig } from "../client/kubeconfig.ts";
import { setVerbosity } from "../platform/log.ts";
import { parseCidr } from "./cluster/cidr.ts";
import { bool, choice, command, duration, type Flag, list, text, UsageError, verbosity } from "./flags.ts";
import { serveHealth } from "./health-server.ts";
import { runComponent } from "./run-component.ts";

/** "IP:PORT", or "" for none. */
const address = (fallback: string, help: string): Flag<string> => ({
  ...text("IP:PORT", fallback, help),
  parse: (s) => {
    if (s !== "" && !(Number(/^.*:(\d+)$/.exec(s)?.[1]) <= 65535)) throw new Error('must be an address such as "127.0.0.1:10249"');
    return s;
  },
});
const split = (s: string) => ({ host: s.slice(0, Math.max(0, s.lastIndexOf(":"))), port: Number(s.slice(s.lastIndexOf(":") + 1)) });

function setSysctl(key: string, value: string): void {
  const file = `/proc/sys/${key}`;
  if (existsSync(file) && readFileSync(file, "utf8").trim() !== value) writeFileSync(file, value);
}

export default command({
  name: "proxy",
  summary: "Runs kube-proxy, which makes services reachable on this node",
  flags: {
    kubeconfig: text("FILE", "", "how to reach the apiserver; without it $KUBECONFIG, the pod's account, or ~/.kube/config"),
    master: text("URL", "", "address of the apiserver, instead of the kubeconfig's"),
    "hostname-override": text("NAME", "", "name of this node, instead of the host's"),
    "cluster-cidr": list("CIDR", [], "where pods have their addresses; what comes from elsewhere or leaves it is masqueraded"),
    "proxy-mode": choice(["nftables"], "nftables", "how services are made"),
    "nftables-sync-period": duration(30_000, "how often to look whether the table was changed by others"),
    "nftables-min-sync-period": duration(100, "shortest time between two changes of the table"),
    "nftables-table": text("NAME", "kube-proxy", "name of the table"),
    "localhost-nodeports": bool(true, "serve NodePorts on 127.0.0.1 too; sets net.ipv4.conf.all.route_localnet"),
    "metrics-bind-address": address("127.0.0.1:10249", "address of /metrics"),
    "healthz-bind-address": address("0.0.0.0:10256", "address of /healthz and /livez"),
    cleanup: bool(false, "remove the table and exit"),
    v: verbosity,
  },
  async run(o) {
    setVerbosity(o.v);
    if (process.getuid?.() !== 0) throw new UsageError("kube-proxy changes the kernel's tables: run it as root");
    const { cleanup, Proxy: KubeProxy } = await import("../proxy/mod.ts");
    if (o.cleanup) {
      await cleanup(o["nftables-table"]);
      return 0;
    }
    for (const cidr of o["cluster-cidr"]) {
      try {
        parseCidr(cidr);
      } catch (e) {
        throw new UsageError(`invalid value ${JSON.stringify(cidr)} for flag --cluster-cidr: ${(e as Error).message}`);
      }
    }
    const config = await defaultConfig(o.kubeconfig || undefined, o.master ? { server: o.master } : {});
    const proxy = new KubeProxy({
      transport: new HttpTransport(config, { userAgent: "kube-proxy/v1.35.0" }),
      nodeName: o["hostname-override"] || hostname().toLowerCase(),
      tableName: o["nftables-table"],
      podCidrs: o["cluster-cidr"],
      syncPeriod: o["nftables-sync-period"],
      minSyncPeriod: o["nftables-min-sync-period"],
      ...(o["localhost-nodeports"] ? { setSysctl } : {}),
    });
    const notReady = () => proxy.notReady();
    const at = (flag: "metrics-bind-address" | "healthz-bind-address") => ({ flag, ...split(o[flag]) });
    const served = [
      serveHealth({ ...at("metrics-bind-address"), notReady, metrics: () => proxy.metrics.text() }),
      serveHealth({ ...at("healthz-bind-address"), notReady }),
    ];
    try {
      return await runComponent(proxy);
    } finally {
      await Promise.all(served.map((s) => s.stop()));
    }
  },
});
