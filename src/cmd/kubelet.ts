// `kubun kubelet`: kubelet with upstream's flags.
import { readFileSync } from "node:fs";
import { hostname } from "node:os";
import type * as coreV1 from "../api/gen/core/v1.ts";
import { HttpTransport } from "../client/http.ts";
import { defaultConfig } from "../client/kubeconfig.ts";
import { setVerbosity } from "../platform/log.ts";
import { bool, choice, command, type Flag, integer, list, optionalText, text, UsageError, verbosity } from "./flags.ts";
import { serveHealth, servingCertificate } from "./health-server.ts";
import { runComponent } from "./run-component.ts";

const labels: Flag<Record<string, string>> = {
  placeholder: "KEY=VALUE,…",
  fallback: {},
  help: "labels that the node registers with",
  parse: (s) =>
    Object.fromEntries(
      s
        .split(",")
        .filter((x) => x !== "")
        .map((pair) => {
          const [key, ...value] = pair.split("=");
          if (!key || value.length === 0) throw new Error("must be key=value pairs, with commas between them");
          return [key, value.join("=")];
        }),
    ),
  merge: (before, next) => ({ ...before, ...next }),
};

const effects = ["NoSchedule", "PreferNoSchedule", "NoExecute"];

const taints: Flag<coreV1.Taint[]> = {
  placeholder: "KEY=VALUE:EFFECT,…",
  fallback: [],
  help: "taints that the node registers with",
  parse: (s) =>
    s
      .split(",")
      .filter((x) => x !== "")
      .map((part) => {
        const match = /^([^=:]+)(?:=([^:]*))?:(\w+)$/.exec(part);
        if (!match || !effects.includes(match[3]!))
          throw new Error(`must be key=value:effect, where effect is one of ${effects.join(", ")}`);
        return { key: match[1]!, ...(match[2] ? { value: match[2] } : {}), effect: match[3] as coreV1.TaintEffect };
      }),
  merge: (before, next) => [...before, ...next],
};

const readPem = (flag: string, file: string): string => {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    throw new UsageError(`--${flag}: ${(error as Error).message}`);
  }
};

export default command({
  name: "kubelet",
  summary: "Runs the kubelet, which brings the pods of a node to life through a CRI runtime",
  flags: {
    kubeconfig: text("FILE", "", "how to reach the apiserver; without it $KUBECONFIG or ~/.kube/config"),
    "hostname-override": text("NAME", "", "the node's name, instead of the machine's"),
    "node-ip": optionalText("IP", "the address that the node reports; without it the one of the default route"),
    "node-labels": labels,
    "register-node": bool(true, "create the Node object"),
    "register-with-taints": taints,
    "container-runtime-endpoint": text("ENDPOINT", "unix:///run/containerd/containerd.sock", "unix socket of the CRI runtime"),
    "root-dir": text("DIR", "/var/lib/kubelet", "where the pods' folders stand"),
    "pod-logs-dir": text("DIR", "/var/log/pods", "where the containers' logs stand"),
    "cluster-dns": list("IP,…", [], "name servers of pods with the policy ClusterFirst"),
    "cluster-domain": text("DOMAIN", "cluster.local", "the cluster's DNS domain"),
    "resolv-conf": text("FILE", "/etc/resolv.conf", "the node's resolver configuration"),
    address: text("IP", "0.0.0.0", "address of the kubelet's API"),
    port: integer("N", 10250, "port of the kubelet's API", [1, 65535]),
    "tls-cert-file": text("FILE", "", "certificate of the kubelet's API; without it a self-signed one is made"),
    "tls-private-key-file": text("FILE", "", "its key"),
    "client-ca-file": text("FILE", "", "authority of the clients of the kubelet's API"),
    "healthz-bind-address": text("IP", "127.0.0.1", "address of /healthz without credentials"),
    "healthz-port": integer("N", 10248, "its port; 0 for none", [0, 65535]),
    "max-pods": integer("N", 110, "pods that the node takes", [1, 10_000]),
    "cgroup-root": text("PATH", "/", "cgroup below which the pods' cgroups stand"),
    "cgroup-driver": choice(["cgroupfs"], "cgroupfs", "how cgroups are made"),
    "pod-cidr": optionalText("CIDR", "the node's pod network, where no controller gives it one"),
    "pod-manifest-path": optionalText("PATH", "folder or file of static pods"),
    "container-log-max-size": text("SIZE", "10Mi", "size at which a container's log is rotated"),
    "container-log-max-files": integer("N", 5, "log files kept of a container", [2, 1000]),
    v: verbosity,
  },
  async run(o) {
    setVerbosity(o.v);
    if (process.getuid?.() !== 0) throw new UsageError("the kubelet needs root: it mounts volumes and makes cgroups");
    const [{ Kubelet }, { toBytes }, tls] = await Promise.all([
      import("../kubelet/mod.ts"),
      import("../api/quantity.ts"),
      servingCertificate(o["tls-cert-file"], o["tls-private-key-file"], o["hostname-override"] || hostname()),
    ]);
    let logSize: number;
    try {
      logSize = toBytes(o["container-log-max-size"]);
    } catch (error) {
      throw new UsageError(
        `invalid value ${JSON.stringify(o["container-log-max-size"])} for flag --container-log-max-size: ${(error as Error).message}`,
      );
    }
    const transport = new HttpTransport(await defaultConfig(o.kubeconfig || undefined), { userAgent: "kubelet/v1.35.0" });
    const kubelet = new Kubelet({
      transport,
      nodeName: (o["hostname-override"] || hostname()).toLowerCase(),
      nodeIP: o["node-ip"],
      nodeLabels: o["node-labels"],
      taints: o["register-with-taints"],
      registerNode: o["register-node"],
      podCIDR: o["pod-cidr"],
      runtimeEndpoint: o["container-runtime-endpoint"],
      rootDir: o["root-dir"],
      podLogsDir: o["pod-logs-dir"],
      serving: {
        host: o.address,
        port: o.port,
        tls: { ...tls, ...(o["client-ca-file"] ? { clientCa: readPem("client-ca-file", o["client-ca-file"]) } : {}) },
      },
      clusterDns: o["cluster-dns"],
      clusterDomain: o["cluster-domain"],
      resolvConf: o["resolv-conf"],
      maxPods: o["max-pods"],
      cgroupRoot: o["cgroup-root"],
      cgroupDriver: o["cgroup-driver"],
      podManifestPath: o["pod-manifest-path"],
      containerLogMaxSize: logSize,
      containerLogMaxFiles: o["container-log-max-files"],
    });
    const health = serveHealth({
      flag: "healthz-port",
      host: o["healthz-bind-address"],
      port: o["healthz-port"],
      notReady: () => kubelet.notReady(),
    });
    try {
      return await runComponent(kubelet);
    } finally {
      await health.stop();
      transport.close();
    }
  },
});
