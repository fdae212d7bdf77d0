// Pods and what a runtime holds of them, for tests of the pure cores.
import type * as coreV1 from "../../api/gen/core/v1.ts";
import type { Verdicts } from "../pod/actions.ts";
import { containerHash } from "../pod/labels.ts";
import type { RuntimeContainer, RuntimePod, RuntimeSandbox } from "../pod/runtime-pod.ts";

export function makePod(spec: Partial<coreV1.PodSpec> = {}, metadata: Partial<coreV1.Pod["metadata"]> = {}): coreV1.Pod {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: "p", namespace: "ns", uid: "u1", ...metadata },
    spec: { restartPolicy: "Always", nodeName: "n1", containers: [{ name: "a", image: "img:1" }], ...spec },
  };
}

export const sandbox = (overrides: Partial<RuntimeSandbox> = {}): RuntimeSandbox => ({
  id: "s0",
  attempt: 0,
  ready: true,
  createdAt: 1000,
  ips: ["10.0.0.2"],
  hostNetwork: false,
  runtimeHandler: "",
  ...overrides,
});

export const container = (name: string, overrides: Partial<RuntimeContainer> = {}): RuntimeContainer => ({
  id: `${name}-0`,
  sandboxId: "s0",
  name,
  state: "running",
  createdAt: 2000,
  startedAt: 2000,
  finishedAt: 0,
  exitCode: 0,
  reason: "",
  message: "",
  image: "img:1",
  imageId: "sha256:1",
  hash: containerHash({ name, image: "img:1" }),
  restartCount: 0,
  logPath: "",
  ...overrides,
});

export const exited = (name: string, exitCode: number, overrides: Partial<RuntimeContainer> = {}): RuntimeContainer =>
  container(name, { state: "exited", exitCode, finishedAt: 3000, ...overrides });

export const runtimePod = (sandboxes: RuntimeSandbox[], containers: RuntimeContainer[]): RuntimePod => ({
  uid: "u1",
  name: "p",
  namespace: "ns",
  sandboxes,
  containers,
});

export const verdicts = (overrides: Partial<Verdicts> = {}): Verdicts => ({
  livenessFailed: () => false,
  startupFailed: () => false,
  started: () => true,
  ...overrides,
});
