import type * as coreV1 from "../api/gen/core/v1.ts";
import type { ApiTransport } from "../client/transport.ts";

export interface ServingTls {
  /** PEM. */
  cert: string;
  key: string;
  /** PEM of the authority whose client certificates may use the kubelet's API; without it only tokens do. */
  clientCa?: string;
}

export interface KubeletOptions {
  transport: ApiTransport;
  nodeName: string;
  /** The address that the node reports; by default the one of the default route's interface. */
  nodeIP?: string;
  nodeLabels?: Record<string, string>;
  /** Taints that the node registers with. */
  taints?: readonly coreV1.Taint[];
  /** Whether to create the Node object; by default true. */
  registerNode?: boolean;
  /** The pod network of this node, where nobody else assigns it. */
  podCIDR?: string;
  /** Path of the runtime's unix socket, with or without unix://. */
  runtimeEndpoint: string;
  rootDir: string;
  /** Folder of the containers' logs; by default <rootDir>/logs. */
  podLogsDir?: string;
  serving?: {
    host: string;
    /** 0 picks one. */
    port: number;
    tls: ServingTls;
    /** Take another port when this one is in use. */
    fallbackToFreePort?: boolean;
  };
  clusterDns?: readonly string[];
  clusterDomain?: string;
  /** The node's resolv.conf that pods inherit from. */
  resolvConf?: string;
  maxPods?: number;
  /** The cgroup below which the pods' cgroups stand, such as /kubun-0a1b2c3d. */
  cgroupRoot?: string;
  cgroupDriver?: "cgroupfs";
  /** A folder, or file, of static pods. */
  podManifestPath?: string;
  /** Bytes and number of a container's log files. */
  containerLogMaxSize?: number;
  containerLogMaxFiles?: number;
}
