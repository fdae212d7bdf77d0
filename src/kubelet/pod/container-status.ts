// Container statuses of the API from what the runtime reports (upstream's
// convertToAPIContainerStatuses).
import type * as coreV1 from "../../api/gen/core/v1.ts";
import { isSidecar, restartsAfter } from "./actions.ts";
import { findContainer, type RuntimeContainer, type RuntimePod } from "./runtime-pod.ts";

/** Why a container is not running, kept from the last try to start it. */
export interface WaitReason {
  reason: string;
  message: string;
}

export interface ContainerView {
  runtimeName: string;
  reasons: ReadonlyMap<string, WaitReason>;
  started(containerId: string): boolean;
  ready(containerId: string): boolean;
}

/** RFC 3339 in whole seconds, as metav1.Time. */
export const timestamp = (ms: number): string => new Date(ms).toISOString().replace(/\.\d+Z$/, "Z");

const id = (view: ContainerView, c: RuntimeContainer) => `${view.runtimeName}://${c.id}`;

function terminated(view: ContainerView, c: RuntimeContainer): coreV1.ContainerStateTerminated {
  return {
    exitCode: c.exitCode,
    reason: c.reason || (c.exitCode === 0 ? "Completed" : "Error"),
    ...(c.message ? { message: c.message } : {}),
    startedAt: timestamp(c.startedAt),
    finishedAt: timestamp(c.finishedAt),
    containerID: id(view, c),
  };
}

function stateOf(view: ContainerView, c: RuntimeContainer, waiting: WaitReason): coreV1.ContainerState {
  switch (c.state) {
    case "running":
      return { running: { startedAt: timestamp(c.startedAt) } };
    case "exited":
      return { terminated: terminated(view, c) };
    case "unknown":
      return {
        terminated: {
          reason: "ContainerStatusUnknown",
          message: "The container could not be located when the pod was terminated",
          exitCode: 137,
          startedAt: timestamp(c.startedAt || c.createdAt),
          finishedAt: timestamp(c.finishedAt || c.startedAt || c.createdAt),
          containerID: id(view, c),
        },
      };
    default:
      return { waiting: clean(waiting) };
  }
}

const clean = (w: WaitReason): coreV1.ContainerStateWaiting =>
  w.message ? { reason: w.reason, message: w.message } : { reason: w.reason };

function one(
  c: coreV1.Container,
  kind: "init" | "regular" | "ephemeral",
  pod: coreV1.Pod,
  rt: RuntimePod,
  old: coreV1.ContainerStatus | undefined,
  view: ContainerView,
  over: boolean,
): coreV1.ContainerStatus {
  const current = findContainer(rt, c.name);
  const previous = rt.containers.find((x) => x.name === c.name && x.id !== current?.id && x.state === "exited");
  const waitDefault: WaitReason = {
    reason: kind !== "ephemeral" && (pod.spec.initContainers?.length ?? 0) > 0 ? "PodInitializing" : "ContainerCreating",
    message: "",
  };
  const status: coreV1.ContainerStatus = {
    name: c.name,
    state: { waiting: clean(waitDefault) },
    lastState: {},
    ready: false,
    restartCount: old?.restartCount ?? 0,
    image: c.image ?? "",
    imageID: "",
  };
  if (current) {
    status.state = stateOf(view, current, waitDefault);
    status.restartCount = current.restartCount;
    status.image = current.image || (c.image ?? "");
    status.imageID = current.imageId;
    status.containerID = id(view, current);
    if (current.user) status.user = { linux: current.user };
    if (previous) status.lastState = { terminated: terminated(view, previous) };
    else if (old?.lastState?.terminated && old.restartCount === current.restartCount) status.lastState = old.lastState;
  } else if (old) {
    // Known before, gone from the runtime: what is known of it stays.
    if (old.state?.terminated) {
      status.state = old.state;
      status.lastState = old.lastState ?? {};
      status.imageID = old.imageID;
      status.image = old.image;
      if (old.containerID) status.containerID = old.containerID;
    } else if (old.lastState?.terminated) status.lastState = old.lastState;
    if (old.state?.running && over) {
      status.state = {
        terminated: {
          reason: "ContainerStatusUnknown",
          message: "The container could not be located when the pod was terminated",
          exitCode: 137,
          startedAt: old.state.running.startedAt,
          finishedAt: old.state.running.startedAt,
          ...(old.containerID ? { containerID: old.containerID } : {}),
        },
      };
    }
  }

  const reason = view.reasons.get(c.name);
  const dead = !current || current.state === "exited" || current.state === "created";
  if (reason && dead && !over && (!current || current.state === "created" || restartsAfter(c, pod.spec, current.exitCode))) {
    if (status.state?.terminated) status.lastState = { terminated: status.state.terminated };
    status.state = { waiting: clean(reason) };
  }

  const started = current?.state === "running" && view.started(current.id);
  if (kind === "regular" || (kind === "init" && isSidecar(c))) {
    status.started = started;
    status.ready = started && view.ready(current!.id);
  } else if (kind === "init") {
    status.started = current?.state === "running";
    status.ready = status.state?.terminated?.exitCode === 0;
  } else if (current?.state === "running") status.ready = false;
  const mounts = (c.volumeMounts ?? []).map((m) => ({
    name: m.name,
    mountPath: m.mountPath,
    ...(m.readOnly ? { readOnly: true, recursiveReadOnly: m.recursiveReadOnly ?? "Disabled" } : {}),
  }));
  if (mounts.length > 0 && kind !== "ephemeral") status.volumeMounts = mounts;
  if (current && c.resources && (c.resources.limits || c.resources.requests)) {
    status.resources = { ...c.resources };
    if (c.resources.requests) status.allocatedResources = c.resources.requests;
  } else if (current) status.resources = {};
  return status;
}

export interface ContainerStatuses {
  init: coreV1.ContainerStatus[];
  regular: coreV1.ContainerStatus[];
  ephemeral: coreV1.ContainerStatus[];
}

/** `over`: the pod has ended, so nothing waits to be started again. */
export function containerStatuses(pod: coreV1.Pod, rt: RuntimePod, view: ContainerView, over: boolean): ContainerStatuses {
  const old = pod.status;
  const find = (list: coreV1.ContainerStatus[] | undefined, name: string) => list?.find((s) => s.name === name);
  const initStarted = (pod.spec.initContainers ?? []).findIndex((c) => !findContainer(rt, c.name));
  const statuses: ContainerStatuses = {
    init: (pod.spec.initContainers ?? []).map((c) => one(c, "init", pod, rt, find(old?.initContainerStatuses, c.name), view, over)),
    regular: pod.spec.containers
      .map((c) => one(c, "regular", pod, rt, find(old?.containerStatuses, c.name), view, over))
      .sort((a, b) => (a.name < b.name ? -1 : 1)),
    ephemeral: (pod.spec.ephemeralContainers ?? [])
      .map((c) => one(c, "ephemeral", pod, rt, find(old?.ephemeralContainerStatuses, c.name), view, over))
      .sort((a, b) => (a.name < b.name ? -1 : 1)),
  };
  // Old ones that ran long ago and were collected stand for success once a later one exists.
  if (initStarted >= 0 && pod.spec.containers.some((c) => findContainer(rt, c.name))) {
    for (const s of statuses.init) {
      if (s.state?.waiting && !view.reasons.has(s.name)) s.state = { terminated: { exitCode: 0, reason: "Completed" } };
      if (s.state?.terminated?.exitCode === 0) s.ready = true;
    }
  }
  return statuses;
}
