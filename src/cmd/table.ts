// Every command of kubun. Each is loaded when it is called, so that none pays
// for the others at start.
import type { AnyCommand } from "./flags.ts";

interface Row {
  readonly name: string;
  readonly summary: string;
  load(): Promise<AnyCommand>;
}

export const commands: readonly Row[] = [
  { name: "up", summary: "Starts a cluster on this machine", load: async () => (await import("./up.ts")).default },
  { name: "down", summary: "Stops a cluster and undoes what it did to the machine", load: async () => (await import("./down.ts")).default },
  { name: "status", summary: "Tells what of a cluster runs and how it is", load: async () => (await import("./status.ts")).default },
  {
    name: "image",
    summary: "Builds, imports, lists and removes images of the node",
    load: async () => (await import("./image.ts")).default,
  },
  {
    name: "store",
    summary: "Runs the store: etcd's API over a log and a state machine",
    load: async () => (await import("./store.ts")).default,
  },
  {
    name: "store snapshot save",
    summary: "Takes a snapshot of a running store or etcd into a file",
    load: async () => (await import("./snapshot/save.ts")).default,
  },
  {
    name: "store snapshot status",
    summary: "Tells what a snapshot's file holds",
    load: async () => (await import("./snapshot/status.ts")).default,
  },
  {
    name: "store snapshot restore",
    summary: "Makes a store's data directory from a snapshot, one of etcd's too",
    load: async () => (await import("./snapshot/restore.ts")).default,
  },
  {
    name: "apiserver",
    summary: "Runs kube-apiserver: the Kubernetes API over a store that speaks etcd's protocol",
    load: async () => (await import("./apiserver.ts")).default,
  },
  {
    name: "scheduler",
    summary: "Runs kube-scheduler, which gives pods their nodes",
    load: async () => (await import("./scheduler.ts")).default,
  },
  {
    name: "controller-manager",
    summary: "Runs kube-controller-manager: the loops that bring the cluster to what its objects say",
    load: async () => (await import("./controller-manager.ts")).default,
  },
  {
    name: "proxy",
    summary: "Runs kube-proxy, which makes services reachable on this node",
    load: async () => (await import("./proxy.ts")).default,
  },
  {
    name: "kubelet",
    summary: "Runs the kubelet, which brings the pods of a node to life through a CRI runtime",
    load: async () => (await import("./kubelet.ts")).default,
  },
  {
    name: "cri",
    summary: "Runs the embedded container runtime, which kubelets reach by CRI",
    load: async () => (await import("./cri.ts")).default,
  },
  {
    name: "node",
    summary: "Runs one further node of a cluster (used by up --nodes)",
    load: async () => (await import("./node.ts")).default,
  },
  {
    name: "balancer",
    summary: "Runs the address in front of several control planes (used by up --control-planes)",
    load: async () => (await import("./balancer.ts")).default,
  },
  {
    name: "control-plane",
    summary: "Runs one of several control planes (used by up --control-planes)",
    load: async () => (await import("./control-plane.ts")).default,
  },
  { name: "dns", summary: "Runs the cluster's name server", load: async () => (await import("./dns.ts")).default },
];
