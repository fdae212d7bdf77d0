// Every controller: its name, what it was called before 1.28, and how it is
// made. Each is loaded only where it runs.
import type { Controller, ControllerContext } from "./framework/context.ts";

/** What the flags of kube-controller-manager set; upstream's defaults where absent. */
export interface ManagerSettings {
  /** PEM of what signs the apiserver's certificate; no kube-root-ca.crt is published without. */
  rootCaPem?: string;
  /** CIDRs that pods get addresses from, an IPv4 and an IPv6 one at most. */
  clusterCidr?: string;
  /** Prefix length of what a node gets of it; 24, or 64 for IPv6. */
  nodeCidrMaskSize?: number;
  /** Keeps node ranges out of the Services'. */
  serviceClusterIpRange?: string;
  /** Milliseconds that a node may be silent before it counts as lost. Default 50 s. */
  nodeMonitorGracePeriod?: number;
  /** Milliseconds that a new node may be silent. Default 60 s. */
  nodeStartupGracePeriod?: number;
  /** Milliseconds between looks at the nodes. Default 5 s. */
  nodeMonitorPeriod?: number;
  /** Nodes a second whose pods are evicted in a healthy zone. Default 0.1. */
  nodeEvictionRate?: number;
  /** Finished pods to keep; 0 keeps all. Default 12500. */
  terminatedPodGcThreshold?: number;
  /** Objects of one kind worked on at the same time, by controller. */
  concurrency?: Record<string, number>;
}

export interface Row {
  /** Names that --controllers also takes. */
  readonly aliases?: readonly string[];
  /** Runs only when named. */
  readonly offByDefault?: boolean;
  /** Undefined when the settings give it nothing to do. */
  make(ctx: ControllerContext, settings: ManagerSettings): Promise<Controller | undefined>;
}

const workers = (settings: ManagerSettings, name: string, fallback = 5) => settings.concurrency?.[name] ?? fallback;

export const table: Record<string, Row> = {
  "deployment-controller": {
    aliases: ["deployment"],
    make: async (ctx, s) => (await import("./deployment/controller.ts")).deploymentController(ctx, workers(s, "deployment")),
  },
  "replicaset-controller": {
    aliases: ["replicaset"],
    make: async (ctx, s) => (await import("./replicaset/controller.ts")).replicaSetController(ctx, workers(s, "replicaset")),
  },
  "replicationcontroller-controller": {
    aliases: ["replicationcontroller"],
    make: async (ctx, s) => (await import("./replicaset/controller.ts")).replicationController(ctx, workers(s, "rc")),
  },
  "daemonset-controller": {
    aliases: ["daemonset"],
    make: async (ctx, s) => (await import("./daemonset/controller.ts")).daemonSetController(ctx, workers(s, "daemonset", 2)),
  },
  "statefulset-controller": {
    aliases: ["statefulset"],
    make: async (ctx, s) => (await import("./statefulset/controller.ts")).statefulSetController(ctx, workers(s, "statefulset")),
  },
  "job-controller": {
    aliases: ["job"],
    make: async (ctx, s) => (await import("./job/controller.ts")).jobController(ctx, workers(s, "job")),
  },
  "cronjob-controller": {
    aliases: ["cronjob"],
    make: async (ctx, s) => (await import("./cronjob/controller.ts")).cronJobController(ctx, workers(s, "cronjob")),
  },
  "disruption-controller": {
    aliases: ["disruption"],
    make: async (ctx) => (await import("./disruption/controller.ts")).disruptionController(ctx, 4),
  },
  "ttl-after-finished-controller": {
    aliases: ["ttl-after-finished"],
    make: async (ctx, s) =>
      (await import("./ttlafterfinished/controller.ts")).ttlAfterFinishedController(ctx, workers(s, "ttl-after-finished")),
  },
  "endpointslice-controller": {
    aliases: ["endpointslice"],
    make: async (ctx, s) => (await import("./endpointslice/controller.ts")).endpointSliceController(ctx, workers(s, "service-endpoint")),
  },
  "endpoints-controller": {
    aliases: ["endpoint"],
    make: async (ctx, s) => (await import("./endpoints/controller.ts")).endpointsController(ctx, workers(s, "endpoint")),
  },
  "namespace-controller": {
    aliases: ["namespace"],
    make: async (ctx, s) => (await import("./namespace/controller.ts")).namespaceController(ctx, workers(s, "namespace", 10)),
  },
  "serviceaccount-controller": {
    aliases: ["serviceaccount"],
    make: async (ctx) => (await import("./serviceaccount/controller.ts")).serviceAccountController(ctx),
  },
  "root-ca-certificate-publisher-controller": {
    aliases: ["root-ca-cert-publisher"],
    make: async (ctx, s) => (s.rootCaPem ? (await import("./rootca/controller.ts")).rootCaPublisher(ctx, s.rootCaPem) : undefined),
  },
  "node-ipam-controller": {
    aliases: ["nodeipam"],
    make: async (ctx, s) => (s.clusterCidr ? (await import("./nodeipam/controller.ts")).nodeIpamController(ctx, s) : undefined),
  },
  "node-lifecycle-controller": {
    aliases: ["nodelifecycle"],
    make: async (ctx, s) => (await import("./nodelifecycle/controller.ts")).nodeLifecycleController(ctx, s),
  },
  "taint-eviction-controller": {
    aliases: ["taint-eviction"],
    make: async (ctx) => (await import("./nodelifecycle/eviction.ts")).taintEvictionController(ctx),
  },
  "pod-garbage-collector-controller": {
    aliases: ["podgc"],
    make: async (ctx, s) => (await import("./podgc/controller.ts")).podGcController(ctx, s.terminatedPodGcThreshold ?? 12_500),
  },
  "garbage-collector-controller": {
    aliases: ["garbagecollector"],
    make: async (ctx, s) => (await import("./garbagecollector/controller.ts")).garbageCollector(ctx, workers(s, "gc", 20)),
  },
};

/** The controllers that a --controllers list turns on. Throws a RangeError naming one that does not exist. */
export function enabled(list: readonly string[]): string[] {
  const names = new Map(Object.entries(table).flatMap(([name, row]) => [name, ...(row.aliases ?? [])].map((n) => [n, name] as const)));
  const resolve = (name: string) => {
    const found = names.get(name);
    if (!found) throw new RangeError(`${JSON.stringify(name)} is not in the list of known controllers: ${Object.keys(table).join(", ")}`);
    return found;
  };
  const on = new Set(list.filter((n) => n !== "*" && !n.startsWith("-")).map(resolve));
  const off = new Set(list.filter((n) => n.startsWith("-")).map((n) => resolve(n.slice(1))));
  const all = list.includes("*");
  return Object.keys(table).filter((name) => on.has(name) || (all && !off.has(name) && !table[name]!.offByDefault));
}
