// The status of a pod from its containers: phase, conditions and addresses
// (upstream's generateAPIPodStatus and getPhase).
import type * as coreV1 from "../../api/gen/core/v1.ts";
import { hasInitialized, isSidecar, restartsAfter, type Verdicts } from "./actions.ts";
import { type ContainerView, containerStatuses, timestamp } from "./container-status.ts";
import { isStaticPod } from "./labels.ts";
import { qosClass } from "./resources.ts";
import type { RuntimePod } from "./runtime-pod.ts";

export interface StatusInput extends ContainerView {
  verdicts: Verdicts;
  /** Milliseconds since the epoch. */
  now: number;
  hostIPs: string[];
  /** Nothing runs any more and nothing will be started. */
  terminal: boolean;
  /** Why the kubelet ended the pod: DeadlineExceeded, Evicted, … */
  ended?: { reason: string; message: string; rejected?: boolean };
}

type Counts = { pendingInit: number; pendingSidecars: number; failedInit: number };

function initCounts(pod: coreV1.Pod, statuses: coreV1.ContainerStatus[]): Counts {
  const counts: Counts = { pendingInit: 0, pendingSidecars: 0, failedInit: 0 };
  for (const c of pod.spec.initContainers ?? []) {
    const s = statuses.find((x) => x.name === c.name);
    if (isSidecar(c)) {
      if (s?.state?.running && !s.started) counts.pendingSidecars++;
      else if (s?.state?.waiting && !s.lastState?.terminated) counts.pendingSidecars++;
      continue;
    }
    const end = s?.state?.terminated ?? (s?.state?.waiting ? s.lastState?.terminated : undefined);
    if (!end) counts.pendingInit++;
    else if (end.exitCode !== 0 && !restartsAfter(c, pod.spec, end.exitCode)) counts.failedInit++;
    else if (end.exitCode !== 0) counts.pendingInit++;
  }
  return counts;
}

/** The phase that container statuses amount to. */
export function podPhase(
  pod: coreV1.Pod,
  init: coreV1.ContainerStatus[],
  regular: coreV1.ContainerStatus[],
  terminal: boolean,
  initialized: boolean,
): coreV1.PodPhase {
  const counts = initCounts(pod, init);
  let [unknown, running, waiting, stopped, final, succeeded] = [0, 0, 0, 0, 0, 0];
  for (const c of (pod.spec.initContainers ?? []).filter(isSidecar)) {
    const s = init.find((x) => x.name === c.name);
    if (!s) unknown++;
    else if (s.state?.running) running++;
    else if (s.state?.waiting && !s.lastState?.terminated) waiting++;
  }
  for (const c of pod.spec.containers) {
    const s = regular.find((x) => x.name === c.name);
    const end = s?.state?.terminated ?? (s?.state?.waiting ? s.lastState?.terminated : undefined);
    if (s?.state?.running) running++;
    else if (end) {
      stopped++;
      if (!restartsAfter(c, pod.spec, end.exitCode)) final++;
      if (s?.state?.terminated && end.exitCode === 0) succeeded++;
    } else if (s?.state?.waiting) waiting++;
    else unknown++;
  }
  if (counts.failedInit > 0) return "Failed";
  if (terminal && running === 0 && !isStaticPod(pod)) {
    return stopped > 0 && stopped === succeeded && waiting === 0 && unknown === 0 && counts.pendingInit === 0 ? "Succeeded" : "Failed";
  }
  if (counts.pendingInit > 0 || (counts.pendingSidecars > 0 && !initialized) || waiting > 0) return "Pending";
  if (running > 0 && unknown === 0) return "Running";
  if (running === 0 && stopped > 0 && unknown === 0) {
    if (stopped !== final) return "Running";
    return stopped === succeeded ? "Succeeded" : "Failed";
  }
  return "Pending";
}

type Draft = Pick<coreV1.PodCondition, "type" | "status" | "reason" | "message">;

const ok = (type: string): Draft => ({ type, status: "True" });
const no = (type: string, reason: string, message?: string): Draft => ({ type, status: "False", reason, ...(message ? { message } : {}) });

function initializedCondition(pod: coreV1.Pod, init: coreV1.ContainerStatus[], regular: coreV1.ContainerStatus[], phase: string): Draft {
  const specs = pod.spec.initContainers ?? [];
  if (phase === "Succeeded") return { ...ok("Initialized"), reason: "PodCompleted" };
  const incomplete = specs.filter((c) => {
    const s = init.find((x) => x.name === c.name);
    return isSidecar(c) ? !s?.started : !s?.ready;
  });
  // Sidecars that restart later don't take it back.
  const begun = regular.some((s) => s.state?.running || s.state?.terminated || s.lastState?.terminated);
  if (incomplete.length === 0 || (begun && incomplete.every(isSidecar))) return ok("Initialized");
  return no("Initialized", "ContainersNotInitialized", `containers with incomplete status: [${incomplete.map((c) => c.name).join(" ")}]`);
}

function containersReady(pod: coreV1.Pod, statuses: coreV1.ContainerStatus[], phase: string): Draft {
  const type = "ContainersReady";
  if (phase === "Succeeded") return no(type, "PodCompleted");
  if (phase === "Failed") return no(type, "PodFailed");
  const specs = [...(pod.spec.initContainers ?? []).filter(isSidecar), ...pod.spec.containers];
  const unknown = specs.filter((c) => !statuses.some((s) => s.name === c.name)).map((c) => c.name);
  const unready = specs.filter((c) => statuses.some((s) => s.name === c.name && !s.ready)).map((c) => c.name);
  const texts: string[] = [];
  if (unknown.length > 0) texts.push(`containers with unknown status: [${unknown.join(" ")}]`);
  if (unready.length > 0) texts.push(`containers with unready status: [${unready.join(" ")}]`);
  return texts.length === 0 ? ok(type) : no(type, "ContainersNotReady", texts.join(", "));
}

function readyCondition(pod: coreV1.Pod, containers: Draft): Draft {
  if (containers.status !== "True") return { ...containers, type: "Ready" };
  const texts: string[] = [];
  for (const gate of pod.spec.readinessGates ?? []) {
    const condition = pod.status?.conditions?.find((c) => c.type === gate.conditionType);
    if (!condition) texts.push(`corresponding condition of pod readiness gate "${gate.conditionType}" does not exist.`);
    else if (condition.status !== "True")
      texts.push(`the status of pod readiness gate "${gate.conditionType}" is not "True", but ${condition.status}`);
  }
  return texts.length === 0 ? ok("Ready") : no("Ready", "ReadinessGatesNotReady", texts.join(", "));
}

/** The condition types that a kubelet writes; the others belong to someone else. */
export const ownedConditions: ReadonlySet<string> = new Set([
  "PodReadyToStartContainers",
  "Initialized",
  "ContainersReady",
  "Ready",
  "PodScheduled",
]);

function dated(draft: Draft, before: coreV1.PodCondition | undefined, pod: coreV1.Pod, now: number): coreV1.PodCondition {
  return {
    type: draft.type,
    ...(pod.metadata.generation ? { observedGeneration: pod.metadata.generation } : {}),
    status: draft.status,
    lastTransitionTime: before?.status === draft.status && before.lastTransitionTime ? before.lastTransitionTime : timestamp(now),
    ...(draft.reason ? { reason: draft.reason } : {}),
    ...(draft.message ? { message: draft.message } : {}),
  };
}

/** The whole status of a pod. `pod.status` is the last one known. */
export function podStatus(pod: coreV1.Pod, rt: RuntimePod, input: StatusInput): coreV1.PodStatus {
  const old = pod.status ?? {};
  const over = input.terminal || input.ended !== undefined || Boolean(pod.metadata.deletionTimestamp);
  const statuses = containerStatuses(pod, rt, input, over);
  const initialized = hasInitialized(pod, rt, input.verdicts);
  let phase = podPhase(pod, statuses.init, statuses.regular, input.terminal, initialized);
  // A pod that has ended stays ended.
  if (old.phase === "Failed" || old.phase === "Succeeded") phase = old.phase;
  if (input.ended) phase = "Failed";

  const sandbox = rt.sandboxes[0];
  const sandboxUp = sandbox?.ready === true && (sandbox.hostNetwork || sandbox.ips.length > 0);
  const ready = containersReady(pod, [...statuses.init, ...statuses.regular], phase);
  const drafts: Draft[] = [
    sandboxUp ? ok("PodReadyToStartContainers") : { type: "PodReadyToStartContainers", status: "False" },
    initializedCondition(pod, statuses.init, statuses.regular, phase),
    readyCondition(pod, ready),
    ready,
    ok("PodScheduled"),
  ];
  const before = old.conditions ?? [];
  const conditions = [
    ...drafts.map((d) =>
      dated(
        d,
        before.find((c) => c.type === d.type),
        pod,
        input.now,
      ),
    ),
    ...before.filter((c) => !ownedConditions.has(c.type)),
  ];

  const hostIP = input.hostIPs[0];
  const ips = pod.spec.hostNetwork
    ? rt.sandboxes.length > 0
      ? input.hostIPs
      : []
    : sandboxUp
      ? sandbox.ips
      : (old.podIPs ?? []).map((p) => p.ip);
  const ended = input.ended ?? (old.phase === "Failed" && old.reason ? { reason: old.reason, message: old.message ?? "" } : undefined);
  // A pod that the node refused never had containers.
  const rejected = input.ended?.rejected ?? (old.phase === "Failed" && old.reason !== undefined && !old.containerStatuses);
  return {
    ...(pod.metadata.generation ? { observedGeneration: pod.metadata.generation } : {}),
    phase,
    conditions,
    ...(ended?.message ? { message: ended.message } : {}),
    ...(ended ? { reason: ended.reason } : {}),
    ...(hostIP ? { hostIP, hostIPs: input.hostIPs.map((ip) => ({ ip })) } : {}),
    ...(ips.length > 0 ? { podIP: ips[0]!, podIPs: ips.map((ip) => ({ ip })) } : {}),
    startTime: old.startTime ?? timestamp(input.now),
    ...(statuses.init.length > 0 && !rejected ? { initContainerStatuses: statuses.init } : {}),
    ...(rejected ? {} : { containerStatuses: statuses.regular }),
    ...(statuses.ephemeral.length > 0 ? { ephemeralContainerStatuses: statuses.ephemeral } : {}),
    qosClass: old.qosClass ?? qosClass(pod.spec),
  };
}
