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
  /** What -v asks for. */
  verbosity: number;
}
