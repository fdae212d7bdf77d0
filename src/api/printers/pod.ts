// A pod's row, whose STATUS sums up what its containers do.
import type * as core from "../gen/core/v1.ts";
import { AGE, humanDuration, NAME, name, type Printer, since, text, wide } from "./column.ts";

interface Summary {
  reason: string;
  restarts: number;
  /** Milliseconds since the epoch of the last restart; 0 without one. */
  lastRestart: number;
  ready: number;
  total: number;
}

const endOf = (s: core.ContainerStatus): number =>
  s.lastState?.terminated?.finishedAt ? Date.parse(s.lastState.terminated.finishedAt) : 0;

function terminatedReason(t: core.ContainerStateTerminated): string {
  if (t.reason) return t.reason;
  return t.signal ? `Signal:${t.signal}` : `ExitCode:${t.exitCode}`;
}

const isSidecar = (pod: core.Pod, name: string) => pod.spec.initContainers?.find((c) => c.name === name)?.restartPolicy === "Always";

/** What an init container that holds the pod back is doing; undefined when none does. */
function initializing(pod: core.Pod, s: Summary): string | undefined {
  const statuses = pod.status?.initContainerStatuses ?? [];
  let blocked: string | undefined;
  statuses.forEach((c, i) => {
    s.restarts += c.restartCount;
    s.lastRestart = Math.max(s.lastRestart, endOf(c));
    const sidecar = isSidecar(pod, c.name);
    if (sidecar && c.ready) s.ready++;
    if (blocked !== undefined) return;
    const ended = c.state?.terminated;
    if (ended?.exitCode === 0 || (sidecar && c.started)) return;
    if (ended) blocked = `Init:${terminatedReason(ended)}`;
    else if (c.state?.waiting?.reason && c.state.waiting.reason !== "PodInitializing") blocked = `Init:${c.state.waiting.reason}`;
    else blocked = `Init:${i}/${pod.spec.initContainers?.length ?? 0}`;
  });
  return blocked;
}

function running(pod: core.Pod, s: Summary): void {
  let hasRunning = false;
  for (const c of [...(pod.status?.containerStatuses ?? [])].reverse()) {
    s.restarts += c.restartCount;
    s.lastRestart = Math.max(s.lastRestart, endOf(c));
    if (c.state?.waiting?.reason) s.reason = c.state.waiting.reason;
    else if (c.state?.terminated) s.reason = terminatedReason(c.state.terminated);
    else if (c.ready && c.state?.running) {
      hasRunning = true;
      s.ready++;
    }
  }
  if (s.reason === "Completed" && hasRunning) {
    const isReady = pod.status?.conditions?.some((c) => c.type === "Ready" && c.status === "True");
    s.reason = isReady ? "Running" : "NotReady";
  }
}

export function summary(pod: core.Pod): Summary {
  const status = pod.status ?? {};
  const sidecars = pod.spec.initContainers?.filter((c) => c.restartPolicy === "Always").length ?? 0;
  const s: Summary = {
    reason: status.reason || status.phase || "",
    restarts: 0,
    lastRestart: 0,
    ready: 0,
    total: (pod.spec.containers?.length ?? 0) + sidecars,
  };
  if (status.conditions?.some((c) => c.type === "PodScheduled" && c.reason === "SchedulingGated")) s.reason = "SchedulingGated";
  const blocked = initializing(pod, s);
  const initialized = status.conditions?.some((c) => c.type === "Initialized" && c.status === "True");
  if (blocked !== undefined) s.reason = blocked;
  if (blocked === undefined || initialized) {
    // Restarts of init containers count only while they hold the pod back, sidecars' always.
    if (blocked === undefined) {
      const side = (status.initContainerStatuses ?? []).filter((c) => isSidecar(pod, c.name));
      s.restarts = side.reduce((n, c) => n + c.restartCount, 0);
      s.lastRestart = Math.max(0, ...side.map(endOf));
    }
    running(pod, s);
  }
  if (pod.metadata.deletionTimestamp && status.reason === "NodeLost") s.reason = "Unknown";
  else if (pod.metadata.deletionTimestamp && status.phase !== "Succeeded" && status.phase !== "Failed") s.reason = "Terminating";
  return s;
}

function readinessGates(pod: core.Pod): string {
  const gates = pod.spec.readinessGates ?? [];
  if (gates.length === 0) return "<none>";
  const met = gates.filter((g) => pod.status?.conditions?.some((c) => c.type === g.conditionType && c.status === "True")).length;
  return `${met}/${gates.length}`;
}

const done: Record<string, string> = { Succeeded: "The pod has completed successfully.", Failed: "The pod failed." };

export const pod: Printer<core.Pod> = {
  columns: [
    NAME,
    text("Ready", "Containers that are ready, of all."),
    text("Status", "What the pod does."),
    text("Restarts", "Restarts of its containers, and when the last one was."),
    AGE,
    wide("IP"),
    wide("Node"),
    wide("Nominated Node"),
    wide("Readiness Gates"),
  ],
  cells(p) {
    const s = summary(p);
    const restarts =
      s.restarts > 0 && s.lastRestart > 0 ? `${s.restarts} (${humanDuration(Date.now() - s.lastRestart)} ago)` : String(s.restarts);
    return [
      name(p),
      `${s.ready}/${s.total}`,
      s.reason,
      restarts,
      since(p.metadata.creationTimestamp),
      p.status?.podIP || "<none>",
      p.spec.nodeName || "<none>",
      p.status?.nominatedNodeName || "<none>",
      readinessGates(p),
    ];
  },
  conditions(p) {
    const phase = p.status?.phase ?? "";
    return done[phase] ? [{ type: "Completed", status: "True", reason: phase, message: done[phase] }] : undefined;
  },
};
