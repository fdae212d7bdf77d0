// What has to be done so that a runtime holds what a pod asks for. A pure
// function of the pod, the runtime's state and the probes' verdicts (upstream's
// computePodActions, pkg/kubelet/kuberuntime).
import type * as coreV1 from "../../api/gen/core/v1.ts";
import { containerHash } from "./labels.ts";
import { findContainer, isLive, type RuntimeContainer, type RuntimePod } from "./runtime-pod.ts";

export type KillReason = "LivenessProbe" | "StartupProbe" | "Changed" | "Unknown";

export interface Kill {
  container: RuntimeContainer;
  spec?: coreV1.Container;
  /** Of the Killing event. */
  message: string;
  reason: KillReason;
}

export interface PodActions {
  /** Stops every container and the sandbox first. */
  killPod: boolean;
  createSandbox: boolean;
  /** The attempt of the sandbox to create, from 0. */
  attempt: number;
  /** The sandbox to start containers in, if it stays. */
  sandboxId?: string;
  initContainers: coreV1.Container[];
  ephemeralContainers: coreV1.EphemeralContainer[];
  containers: coreV1.Container[];
  kill: Kill[];
}

export interface Verdicts {
  /** Whether the liveness probe of a container has failed. */
  livenessFailed(containerId: string): boolean;
  startupFailed(containerId: string): boolean;
  /** Whether a container counts as started: its startup probe passed, or it has none. */
  started(containerId: string): boolean;
}

export const isSidecar = (c: coreV1.Container): boolean => c.restartPolicy === "Always";

/** Whether the policies of a container and its pod restart it after an exit code. */
export function restartsAfter(container: coreV1.Container, spec: coreV1.PodSpec, exitCode: number): boolean {
  for (const rule of container.restartPolicyRules ?? []) {
    const values = rule.exitCodes?.values ?? [];
    const matches = rule.exitCodes?.operator === "NotIn" ? !values.includes(exitCode) : values.includes(exitCode);
    if (matches) return rule.action === "Restart";
  }
  const policy = container.restartPolicy ?? spec.restartPolicy ?? "Always";
  return policy === "Always" || (policy === "OnFailure" && exitCode !== 0);
}

/** Whether a regular container has to be started. */
function shouldStart(container: coreV1.Container, pod: coreV1.Pod, status: RuntimeContainer | undefined): boolean {
  if (pod.metadata.deletionTimestamp) return false;
  if (!status) return true;
  if (status.state === "running") return false;
  if (status.state === "unknown" || status.state === "created") return true;
  return restartsAfter(container, pod.spec, status.exitCode);
}

interface SandboxDecision {
  create: boolean;
  attempt: number;
  id?: string;
}

function sandboxDecision(pod: coreV1.Pod, rt: RuntimePod): SandboxDecision {
  const latest = rt.sandboxes[0];
  if (!latest) return { create: true, attempt: 0 };
  const ready = rt.sandboxes.filter((s) => s.ready).length;
  const again = { create: true, attempt: latest.attempt + 1, id: latest.id };
  if (ready !== 1 || !latest.ready) return again;
  if (latest.hostNetwork !== Boolean(pod.spec.hostNetwork)) return { ...again, id: undefined };
  if (!pod.spec.hostNetwork && latest.ips.length === 0) return again;
  return { create: false, attempt: latest.attempt, id: latest.id };
}

/** Whether every init container has run, seen from what the runtime holds. */
export function hasInitialized(pod: coreV1.Pod, rt: RuntimePod, verdicts: Verdicts): boolean {
  const inits = pod.spec.initContainers ?? [];
  // A regular container that exists proves it, when the init containers are long gone.
  if (pod.spec.containers.some((c) => findContainer(rt, c.name))) return true;
  for (const c of inits) {
    const status = findContainer(rt, c.name);
    if (!status) return false;
    if (isSidecar(c)) {
      if (status.state !== "running" || !verdicts.started(status.id)) return false;
    } else if (status.state !== "exited" || status.exitCode !== 0) return false;
  }
  return true;
}

function initActions(pod: coreV1.Pod, rt: RuntimePod, verdicts: Verdicts, actions: PodActions): boolean {
  const inits = pod.spec.initContainers ?? [];
  if (inits.length === 0) return true;
  const mainsExist = pod.spec.containers.some((c) => {
    const status = findContainer(rt, c.name);
    return status !== undefined && status.sandboxId === actions.sandboxId;
  });
  if (mainsExist) {
    for (const c of inits) if (isSidecar(c)) sidecarActions(c, pod, rt, verdicts, actions);
    return true;
  }
  // In order: each must be done (or, for a sidecar, started) before the next.
  for (const c of inits) {
    const found = findContainer(rt, c.name);
    const status = found?.sandboxId === actions.sandboxId ? found : undefined;
    if (isSidecar(c)) {
      if (!sidecarActions(c, pod, rt, verdicts, actions)) return false;
      continue;
    }
    if (!status || status.state === "created") {
      actions.initContainers.push(c);
      return false;
    }
    if (status.state === "running") return false;
    if (status.state === "unknown") {
      actions.kill.push({
        container: status,
        spec: c,
        message: `Init container is in "unknown" state, try killing it before restart`,
        reason: "Unknown",
      });
      actions.initContainers.push(c);
      return false;
    }
    if (status.exitCode === 0) continue;
    if (!restartsAfter(c, pod.spec, status.exitCode) || (!c.restartPolicy && pod.spec.restartPolicy === "Never")) {
      actions.killPod = true;
      return false;
    }
    actions.initContainers.push(c);
    return false;
  }
  return true;
}

/** Keeps a sidecar running; true when it has started, so that the next may go on. */
function sidecarActions(c: coreV1.Container, pod: coreV1.Pod, rt: RuntimePod, verdicts: Verdicts, actions: PodActions): boolean {
  const found = findContainer(rt, c.name);
  const status = found?.sandboxId === actions.sandboxId ? found : undefined;
  if (!status || status.state === "created" || status.state === "exited") {
    if (!pod.metadata.deletionTimestamp) actions.initContainers.push(c);
    return false;
  }
  if (status.state === "unknown") {
    actions.kill.push({
      container: status,
      spec: c,
      message: `Init container is in "unknown" state, try killing it before restart`,
      reason: "Unknown",
    });
    actions.initContainers.push(c);
    return false;
  }
  const verdict = runningVerdict(c, status, verdicts, "Init container");
  if (verdict) {
    actions.kill.push({ container: status, spec: c, message: `${verdict.message}, will be restarted`, reason: verdict.reason });
    actions.initContainers.push(c);
    return false;
  }
  return verdicts.started(status.id);
}

function runningVerdict(
  c: coreV1.Container,
  status: RuntimeContainer,
  verdicts: Verdicts,
  kind: string,
): { message: string; reason: KillReason } | undefined {
  if (status.hash !== "" && status.hash !== containerHash(c)) return { message: `${kind} ${c.name} definition changed`, reason: "Changed" };
  if (verdicts.livenessFailed(status.id)) return { message: `${kind} ${c.name} failed liveness probe`, reason: "LivenessProbe" };
  if (verdicts.startupFailed(status.id)) return { message: `${kind} ${c.name} failed startup probe`, reason: "StartupProbe" };
  return undefined;
}

/** Tells what one sync of a pod has to do. */
export function computePodActions(pod: coreV1.Pod, rt: RuntimePod, verdicts: Verdicts): PodActions {
  const sandbox = sandboxDecision(pod, rt);
  const actions: PodActions = {
    killPod: sandbox.create,
    createSandbox: sandbox.create,
    attempt: sandbox.attempt,
    sandboxId: sandbox.id,
    initContainers: [],
    ephemeralContainers: [],
    containers: [],
    kill: [],
  };
  if (sandbox.create) {
    if (pod.spec.restartPolicy === "Never" && sandbox.attempt !== 0 && rt.containers.length > 0) {
      actions.createSandbox = false;
      return actions;
    }
    const start = pod.spec.containers.filter((c) => {
      const status = findContainer(rt, c.name);
      return !(status?.state === "exited" && !restartsAfter(c, pod.spec, status.exitCode));
    });
    if (start.length === 0) {
      actions.createSandbox = false;
      return actions;
    }
    const first = pod.spec.initContainers?.[0];
    if (first) actions.initContainers.push(first);
    else actions.containers = start;
    return actions;
  }

  for (const c of pod.spec.ephemeralContainers ?? []) if (!findContainer(rt, c.name)) actions.ephemeralContainers.push(c);

  if (!initActions(pod, rt, verdicts, actions) || actions.killPod) return actions;

  let keep = 0;
  for (const c of pod.spec.containers) {
    const status = findContainer(rt, c.name);
    if (status?.state !== "running") {
      if (!shouldStart(c, pod, status)) continue;
      actions.containers.push(c);
      if (status?.state === "unknown") {
        actions.kill.push({
          container: status,
          spec: c,
          message: `Container is in "Unknown" state, try killing it before restart`,
          reason: "Unknown",
        });
      }
      continue;
    }
    const verdict = runningVerdict(c, status, verdicts, "Container");
    if (!verdict) {
      keep++;
      continue;
    }
    const restart = verdict.reason === "Changed" || (c.restartPolicy ?? pod.spec.restartPolicy ?? "Always") !== "Never";
    if (restart) actions.containers.push(c);
    actions.kill.push({
      container: status,
      spec: c,
      message: restart ? `${verdict.message}, will be restarted` : verdict.message,
      reason: verdict.reason,
    });
  }
  const ephemeralRunning =
    (pod.spec.ephemeralContainers ?? []).length > 0 &&
    rt.containers.some((c) => isLive(c) && pod.spec.ephemeralContainers!.some((e) => e.name === c.name));
  if (keep === 0 && actions.containers.length === 0 && actions.kill.length === 0) {
    actions.killPod = true;
    // Sidecars end with the pod: none is started again.
    actions.initContainers = [];
    if (ephemeralRunning) actions.ephemeralContainers = [];
  }
  return actions;
}
