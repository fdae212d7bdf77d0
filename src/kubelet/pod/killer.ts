// Ends containers and sandboxes: preStop hook, stop signal, grace, then the
// runtime kills (Kubernetes documentation, "Pod Termination").
import type * as coreV1 from "../../api/gen/core/v1.ts";
import { isRpcNotFound } from "../cri/client.ts";
import { isSidecar } from "./actions.ts";
import { type PodContext, recorder } from "./context.ts";
import { HookError, runHook, withTimeout } from "./lifecycle-hooks.ts";
import { isLive, type RuntimeContainer, type RuntimePod } from "./runtime-pod.ts";

/** What is left for a container after its preStop hook at the least, in seconds. */
const minimumGrace = 2;
const defaultGrace = 30;

export interface KillOptions {
  /** Seconds. */
  grace: number;
  message?: string;
}

/** The seconds that a pod's containers get to end, as its deletion or its spec says. */
export function gracePeriod(pod: coreV1.Pod): number {
  const seconds = pod.metadata.deletionTimestamp
    ? (pod.metadata.deletionGracePeriodSeconds ?? pod.spec.terminationGracePeriodSeconds ?? defaultGrace)
    : (pod.spec.terminationGracePeriodSeconds ?? defaultGrace);
  return Math.max(seconds, pod.metadata.deletionTimestamp ? 1 : 0);
}

const findSpec = (pod: coreV1.Pod, name: string): coreV1.Container | undefined =>
  [...pod.spec.containers, ...(pod.spec.initContainers ?? []), ...((pod.spec.ephemeralContainers ?? []) as coreV1.Container[])].find(
    (c) => c.name === name,
  );

async function preStop(
  ctx: PodContext,
  pod: coreV1.Pod,
  spec: coreV1.Container,
  container: RuntimeContainer,
  grace: number,
): Promise<number> {
  const handler = spec.lifecycle?.preStop;
  if (!handler || grace <= 0 || container.state !== "running") return 0;
  const begun = performance.now();
  const podIP = ctx.pleg.get(pod.metadata.uid!).sandboxes[0]?.ips[0] ?? ctx.hostIPs[0] ?? "";
  try {
    const run = runHook(handler, { cri: ctx.cri, container: spec, containerId: container.id, podIP, timeout: grace * 1000 });
    await withTimeout(run, grace * 1000, "PreStop hook");
  } catch (error) {
    if (!(error instanceof HookError)) throw error;
    recorder(ctx, pod, spec)("Warning", "FailedPreStopHook", `PreStopHook failed`);
    ctx.log.warn("PreStop hook failed", { pod: `${pod.metadata.namespace}/${pod.metadata.name}`, container: spec.name, err: error });
  }
  return (performance.now() - begun) / 1000;
}

/** Stops one container and waits for its end. */
export async function killContainer(ctx: PodContext, pod: coreV1.Pod, container: RuntimeContainer, options: KillOptions): Promise<void> {
  const spec = findSpec(pod, container.name);
  const record = recorder(ctx, pod, spec ?? ({ name: container.name } as coreV1.Container));
  record("Normal", "Killing", options.message ?? `Stopping container ${container.name}`);
  let grace = options.grace;
  if (spec) {
    const used = await preStop(ctx, pod, spec, container, grace);
    if (used > 0) grace = Math.max(minimumGrace, Math.ceil(grace - used));
  }
  await stopContainer(ctx, container.id, grace);
}

export async function stopContainer(ctx: PodContext, containerId: string, seconds: number): Promise<void> {
  try {
    await ctx.cri.runtime.stopContainer({ containerId, timeout: BigInt(Math.ceil(seconds)) });
  } catch (error) {
    if (!isRpcNotFound(error)) throw error;
  }
}

/** Stops all of a pod's containers, sidecars last and in reverse, then its sandboxes. */
export async function killPod(ctx: PodContext, pod: coreV1.Pod, rt: RuntimePod, grace: number): Promise<void> {
  const sidecars = (pod.spec.initContainers ?? []).filter(isSidecar).map((c) => c.name);
  const live = rt.containers.filter(isLive);
  const begun = performance.now();
  const kill = (c: RuntimeContainer) =>
    killContainer(ctx, pod, c, { grace: Math.max(Math.min(minimumGrace, grace), grace - (performance.now() - begun) / 1000) });
  await Promise.all(live.filter((c) => !sidecars.includes(c.name)).map(kill));
  for (const name of [...sidecars].reverse()) await Promise.all(live.filter((c) => c.name === name).map(kill));
  await Promise.all(
    rt.sandboxes
      .filter((s) => s.ready || s === rt.sandboxes[0])
      .map(async (s) => {
        try {
          await ctx.cri.runtime.stopPodSandbox({ podSandboxId: s.id });
        } catch (error) {
          if (!isRpcNotFound(error)) throw error;
        }
      }),
  );
}

/** Deletes all that a runtime still holds of a pod that has ended. */
export async function removePod(ctx: Pick<PodContext, "cri">, rt: RuntimePod): Promise<void> {
  const { runtime } = ctx.cri;
  const ignore = (error: unknown) => {
    if (!isRpcNotFound(error)) throw error;
  };
  await Promise.all(rt.containers.map((c) => runtime.removeContainer({ containerId: c.id }).then(undefined, ignore)));
  await Promise.all(rt.sandboxes.map((s) => runtime.removePodSandbox({ podSandboxId: s.id }).then(undefined, ignore)));
}
