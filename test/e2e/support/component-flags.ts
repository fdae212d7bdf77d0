// How each component of a cluster is started: upstream's flags, and what its
// ports answer once it works.
import { join } from "node:path";
import { connect, createClient } from "../../../src/rpc/client.ts";
import { RuntimeService } from "../../../src/rpc/gen/cri/runtime_pb.ts";
import type { ComponentSpec } from "./component-process.ts";
import { root } from "./tools.ts";

const PORTS_OF_CONTROL = ["etcd", "peer", "etcdMetrics", "api", "manager", "scheduler"] as const;
const PORTS_OF_NODE = ["kubelet", "kubeletHealth", "proxy", "proxyHealth", "dns", "dnsMetrics"] as const;
export const PORTS = [...PORTS_OF_CONTROL, ...PORTS_OF_NODE];

/** What the command lines of one cluster have in common. */
export interface Layout {
  id: string;
  dir: string;
  runDir: string;
  node: string;
  ip: string;
  table: string;
  cgroup: string;
  podCidr: string;
  serviceCidr: string;
  dnsIp: string;
  criSocket: string;
  ports: Record<(typeof PORTS)[number], number>;
  store: "kubun" | "etcd";
  /** Whether the kubelet serves with a certificate that the apiserver verifies, or with its own self-signed one. */
  kubeletCertificate: boolean;
  /** A client of the group system:monitoring. */
  monitoring: { cert: string; key: string };
  /** Path of a file of the certificate authority. */
  pki(file: string): string;
  kubeconfig(name: string): string;
}

/** `kubun COMPONENT --flags` */
export function kubun(component: string, flags: Record<string, string | number | boolean>): string[] {
  const given = Object.entries(flags).map(([name, value]) => `--${name}=${value}`);
  return [process.execPath, join(root, "src/main.ts"), component, ...given];
}

/** Short enough that the next one leads soon after a kill, long enough for a busy machine. */
const leader = {
  "leader-elect": true,
  "leader-elect-lease-duration": "6s",
  "leader-elect-renew-deadline": "5s",
  "leader-elect-retry-period": "500ms",
};

export const criFlags = (c: Layout) => ({ root: join(c.dir, "cri"), state: `${c.runDir}/cri`, id: c.id });

function store(c: Layout): ComponentSpec {
  const client = `http://127.0.0.1:${c.ports.etcd}`;
  const metrics = `http://127.0.0.1:${c.ports.etcdMetrics}`;
  const flags = {
    name: "default",
    "data-dir": join(c.dir, "etcd"),
    "listen-client-urls": client,
    "advertise-client-urls": client,
    "listen-metrics-urls": metrics,
  };
  const peer = `http://127.0.0.1:${c.ports.peer}`;
  const peers = { "listen-peer-urls": peer, "initial-advertise-peer-urls": peer, "initial-cluster": `default=${peer}` };
  const etcd = () => ["etcd", ...Object.entries({ ...flags, ...peers }).map(([k, v]) => `--${k}=${v}`)];
  return {
    name: "etcd",
    command: c.store === "etcd" ? etcd() : kubun("store", { ...flags, ...peers }),
    probes: [
      { url: `${metrics}/health`, holds: '"health":"true"' },
      { url: `${metrics}/metrics`, holds: "etcd_server_has_leader 1" },
    ],
  };
}

function apiserver(c: Layout): ComponentSpec {
  const at = `https://127.0.0.1:${c.ports.api}`;
  return {
    name: "kube-apiserver",
    command: kubun("apiserver", {
      "etcd-servers": `http://127.0.0.1:${c.ports.etcd}`,
      "secure-port": c.ports.api,
      "advertise-address": c.ip,
      "tls-cert-file": c.pki("apiserver.crt"),
      "tls-private-key-file": c.pki("apiserver.key"),
      "client-ca-file": c.pki("ca.crt"),
      "service-account-key-file": c.pki("sa.pub"),
      "service-account-signing-key-file": c.pki("sa.key"),
      "service-account-issuer": "https://kubernetes.default.svc.cluster.local",
      "service-cluster-ip-range": c.serviceCidr,
      "kubelet-client-certificate": c.pki("apiserver-kubelet-client.crt"),
      "kubelet-client-key": c.pki("apiserver-kubelet-client.key"),
      ...(c.kubeletCertificate ? { "kubelet-certificate-authority": c.pki("ca.crt") } : {}),
      "authorization-mode": "Node,RBAC",
    }),
    probes: [
      { url: `${at}/readyz`, holds: "ok" },
      { url: `${at}/livez`, holds: "ok" },
      { url: `${at}/healthz`, holds: "ok" },
      { url: `${at}/metrics`, holds: "apiserver_request_total{", client: c.monitoring },
    ],
  };
}

function controllerManager(c: Layout): ComponentSpec {
  const at = `https://127.0.0.1:${c.ports.manager}`;
  return {
    name: "kube-controller-manager",
    command: kubun("controller-manager", {
      kubeconfig: c.kubeconfig("kube-controller-manager"),
      ...leader,
      "root-ca-file": c.pki("ca.crt"),
      "secure-port": c.ports.manager,
    }),
    probes: [
      { url: `${at}/readyz`, holds: "ok" },
      { url: `${at}/healthz`, holds: "ok" },
      { url: `${at}/metrics`, holds: "workqueue_" },
    ],
  };
}

function scheduler(c: Layout): ComponentSpec {
  const at = `https://127.0.0.1:${c.ports.scheduler}`;
  return {
    name: "kube-scheduler",
    command: kubun("scheduler", {
      kubeconfig: c.kubeconfig("kube-scheduler"),
      ...leader,
      "secure-port": c.ports.scheduler,
    }),
    probes: [
      { url: `${at}/readyz`, holds: "ok" },
      { url: `${at}/healthz`, holds: "ok" },
      { url: `${at}/metrics`, holds: "scheduler_" },
    ],
  };
}

function runtime(c: Layout): ComponentSpec {
  return {
    name: "cri-runtime",
    command: kubun("cri", { ...criFlags(c), address: c.criSocket, "cni-conf-dir": join(c.dir, "net.d") }),
    probes: [],
    ready: async () => {
      const channel = connect({ unix: c.criSocket });
      try {
        const { status } = await createClient(RuntimeService, channel).status({}, { timeout: 2000 });
        return status?.conditions.every((c) => c.status) ?? false;
      } finally {
        await channel.close();
      }
    },
  };
}

function kubelet(c: Layout): ComponentSpec {
  const at = `https://${c.ip}:${c.ports.kubelet}`;
  const { kubeletCertificate } = c;
  return {
    name: "kubelet",
    command: kubun("kubelet", {
      kubeconfig: c.kubeconfig("kubelet"),
      "hostname-override": c.node,
      "node-ip": c.ip,
      "container-runtime-endpoint": `unix://${c.criSocket}`,
      "root-dir": join(c.dir, "kubelet"),
      "pod-logs-dir": join(c.dir, "pod-logs"),
      "cluster-dns": c.dnsIp,
      port: c.ports.kubelet,
      "healthz-port": c.ports.kubeletHealth,
      "client-ca-file": c.pki("ca.crt"),
      "cgroup-root": c.cgroup,
      "pod-cidr": c.podCidr,
      ...(kubeletCertificate ? { "tls-cert-file": c.pki("kubelet-serving.crt") } : {}),
      ...(kubeletCertificate ? { "tls-private-key-file": c.pki("kubelet-serving.key") } : {}),
    }),
    probes: [
      { url: `http://127.0.0.1:${c.ports.kubeletHealth}/healthz`, holds: "ok" },
      { url: `${at}/healthz`, holds: "ok" },
    ],
  };
}

function proxy(c: Layout): ComponentSpec {
  const [health, metrics] = [`127.0.0.1:${c.ports.proxyHealth}`, `127.0.0.1:${c.ports.proxy}`];
  return {
    name: "kube-proxy",
    command: kubun("proxy", {
      kubeconfig: c.kubeconfig("kube-proxy"),
      "hostname-override": c.node,
      "cluster-cidr": c.podCidr,
      "nftables-table": c.table,
      "healthz-bind-address": health,
      "metrics-bind-address": metrics,
    }),
    probes: [
      { url: `http://${health}/healthz`, holds: "ok" },
      { url: `http://${health}/livez`, holds: "ok" },
      { url: `http://${metrics}/metrics`, holds: "kubeproxy_" },
    ],
  };
}

function dns(c: Layout): ComponentSpec {
  const at = `http://127.0.0.1:${c.ports.dnsMetrics}`;
  return {
    name: "dns",
    command: kubun("dns", {
      kubeconfig: c.kubeconfig("coredns"),
      listen: `${c.ip}:${c.ports.dns}`,
      "metrics-port": c.ports.dnsMetrics,
    }),
    probes: [
      { url: `${at}/readyz`, holds: "ok" },
      { url: `${at}/healthz`, holds: "ok" },
      { url: `${at}/metrics`, holds: "coredns_" },
    ],
  };
}

/** All of them, in the order in which they depend on each other. */
export const componentSpecs = (c: Layout): ComponentSpec[] =>
  [store, apiserver, controllerManager, scheduler, runtime, kubelet, proxy, dns].map((spec) => spec(c));
