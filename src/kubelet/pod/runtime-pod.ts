// What a runtime holds of one pod, in the kubelet's own words.

export type RuntimeContainerState = "created" | "running" | "exited" | "unknown";

export interface RuntimeContainer {
  id: string;
  sandboxId: string;
  name: string;
  state: RuntimeContainerState;
  /** Milliseconds since the epoch; 0 when it has not happened. */
  createdAt: number;
  startedAt: number;
  finishedAt: number;
  exitCode: number;
  reason: string;
  message: string;
  image: string;
  imageId: string;
  hash: string;
  restartCount: number;
  logPath: string;
  user?: { uid: number; gid: number; supplementalGroups: number[] };
}

export interface RuntimeSandbox {
  id: string;
  attempt: number;
  ready: boolean;
  createdAt: number;
  /** The pod's addresses, the primary one first; none on the host's network. */
  ips: string[];
  hostNetwork: boolean;
  runtimeHandler: string;
}

export interface RuntimePod {
  uid: string;
  name: string;
  namespace: string;
  /** The root directory of the kubelet that made it. */
  owner?: string;
  /** Newest first. */
  sandboxes: RuntimeSandbox[];
  /** Newest first, over all sandboxes. */
  containers: RuntimeContainer[];
}

export const emptyRuntimePod = (uid: string, name = "", namespace = ""): RuntimePod => ({
  uid,
  name,
  namespace,
  sandboxes: [],
  containers: [],
});

/** The newest container of a name. */
export const findContainer = (rt: RuntimePod, name: string): RuntimeContainer | undefined => rt.containers.find((c) => c.name === name);

export const isLive = (c: RuntimeContainer): boolean => c.state === "running" || c.state === "unknown";
