// `kubun dns`: the cluster's name server by itself, where clusters run CoreDNS.
import { HttpTransport } from "../client/http.ts";
import { defaultConfig } from "../client/kubeconfig.ts";
import { setVerbosity } from "../platform/log.ts";
import { choice, command, type Flag, integer, list, text, UsageError, verbosity } from "./flags.ts";
import { serveHealth } from "./health-server.ts";
import { runComponent } from "./run-component.ts";

interface Address {
  host: string;
  port: number;
}

function address(s: string): Address {
  const match = /^(?:\[(.+)\]|([^:]+))(?::(\d+))?$/.exec(s);
  const port = Number(match?.[3] ?? 53);
  if (!match || port > 65535) throw new Error('must be an address such as "127.0.0.1:5353" or "[::1]:5353"');
  return { host: (match[1] ?? match[2])!, port };
}

const addresses = (fallback: readonly string[], help: string): Flag<readonly string[]> => ({
  ...list("IP:PORT", fallback, help),
  parse: (s) => {
    const each = s.split(",").filter((x) => x !== "");
    for (const one of each) address(one);
    return each;
  },
});

export default command({
  name: "dns",
  summary: "Runs the cluster's name server",
  flags: {
    kubeconfig: text("FILE", "", "how to reach the apiserver; without it $KUBECONFIG, the pod's account, or ~/.kube/config"),
    master: text("URL", "", "address of the apiserver, instead of the kubeconfig's"),
    "cluster-domain": text("DOMAIN", "cluster.local", "the cluster's domain"),
    listen: addresses(["0.0.0.0:53"], "addresses to answer on, over UDP and TCP"),
    upstream: list("IP[:PORT]", [], "resolvers for all other names, instead of those of --resolv-conf"),
    "resolv-conf": text("FILE", "/etc/resolv.conf", "the file that lists the node's resolvers"),
    ttl: integer("SECONDS", 5, "how long the cluster's records hold", [0, 3600]),
    "cache-ttl": integer("SECONDS", 30, "how long answers of resolvers are kept at most", [0, 86_400]),
    pods: choice(["insecure", "verified"], "insecure", "whether a pod's name is answered for any address or for those of pods alone"),
    "metrics-port": integer("N", 9153, "port of /metrics, /healthz and /readyz; 0 for none", [0, 65535]),
    "metrics-host": text("IP", "127.0.0.1", "its address"),
    v: verbosity,
  },
  async run(o) {
    setVerbosity(o.v);
    if (!/^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/.test(o["cluster-domain"]))
      throw new UsageError(
        `invalid value ${JSON.stringify(o["cluster-domain"])} for flag --cluster-domain: must be a domain such as "cluster.local"`,
      );
    const { DnsServer, parseUpstream } = await import("../dns/mod.ts");
    const upstreams = o.upstream.map((u) => {
      try {
        return parseUpstream(u);
      } catch (e) {
        throw new UsageError(`invalid value for flag --upstream: ${(e as Error).message}`);
      }
    });
    const config = await defaultConfig(o.kubeconfig || undefined, o.master ? { server: o.master } : {});
    const dns = new DnsServer({
      transport: new HttpTransport(config, { userAgent: "kubun-dns" }),
      domain: o["cluster-domain"],
      listen: o.listen.map(address),
      ...(upstreams.length > 0 ? { upstreams } : { resolvConf: o["resolv-conf"] }),
      ttl: o.ttl,
      pods: o.pods,
      cache: { maxTtl: o["cache-ttl"], maxNegativeTtl: o["cache-ttl"] },
    });
    const health = serveHealth({
      flag: "metrics-port",
      host: o["metrics-host"],
      port: o["metrics-port"],
      notReady: () => dns.notReady(),
      metrics: () => dns.metrics.text(),
    });
    try {
      return await runComponent(dns);
    } finally {
      await health.stop();
    }
  },
});
