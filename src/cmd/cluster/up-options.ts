import type { StorageMediaType } from "../storage-media-type.ts";

/** A store that is not the cluster's own. Files are absolute paths. */
export interface EtcdSettings {
  servers: string[];
  caFile?: string;
  certFile?: string;
  keyFile?: string;
  /** Where objects begin in it. */
  prefix: string;
}

/** What a user chose for `up`, after every flag was checked. */
export interface UpOptions {
  dataDir: string;
  kubeconfig: string;
  port: number;
  nodes: number;
  podCidr: string;
  serviceCidr: string;
  clusterDomain: string;
  runtime: "auto" | "containerd" | "embedded";
  containerRuntimeEndpoint: string;
  controlPlaneOnly: boolean;
  /** Each a process in a network namespace where there are several. */
  controlPlanes: number;
  /** Undefined for a store of the cluster's own. */
  etcd?: EtcdSettings;
  /** How this very `up` is started again, where nobody watches it. */
  restart?: { command: string[]; cwd: string };
  /** Undefined for what is best there. */
  storageMediaType?: StorageMediaType;
  /** What -v asks for. */
  verbosity: number;
}
