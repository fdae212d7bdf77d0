// Starts what a pod asks for: its sandbox and one container after the other.
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type * as coreV1 from "../../api/gen/core/v1.ts";
import { rpcMessage } from "../cri/client.ts";
import { type DockerConfig, dockerConfig } from "../images/credentials.ts";
import { goDuration, type ImageFound, WaitError } from "../images/manager.ts";
import { containerMounts } from "../volumes/mount-list.ts";
import { containerConfig, containerLogPath, podLogDirectory, type SandboxConfig, sandboxConfig } from "./config.ts";
import { type PodContext, podTitle, recorder } from "./context.ts";
import { podDns } from "./dns.ts";
import { ConfigError, environment } from "./env.ts";
import { hostsFile } from "./hosts-file.ts";
import { killContainer } from "./killer.ts";
import { containerHash } from "./labels.ts";
import { HookError, runHook } from "./lifecycle-hooks.ts";
import { findContainer, type RuntimePod } from "./runtime-pod.ts";
import { serviceEnv } from "./service-env.ts";
import { unlessAborted } from "./unless-aborted.ts";

export interface Sandbox {
  id: string;
  config: SandboxConfig;
  ips: string[];
}

export const backoffKey = (pod: coreV1.Pod, container: coreV1.Container) =>
  `${podTitle(pod)}_${container.name}_${containerHash(container)}`;

/** The handler of a pod's RuntimeClass; "" for the runtime's own. */
export async function runtimeHandler(ctx: PodContext, pod: coreV1.Pod): Promise<string> {
  if (!pod.spec.runtimeClassName) return "";
  return (await ctx.runtimeClass(pod.spec.runtimeClassName)).handler;
}

export const makeSandboxConfig = (ctx: PodContext, pod: coreV1.Pod, attempt: number): SandboxConfig =>
  sandboxConfig(pod, attempt, podDns(pod, ctx.dns()), ctx.node);

/** Runs a sandbox; answers with its id. Throws with the event written. */
export async function createSandbox(ctx: PodContext, pod: coreV1.Pod, config: SandboxConfig): Promise<string> {
  const record = recorder(ctx, pod);
  try {
    const [handler] = await Promise.all([runtimeHandler(ctx, pod), mkdir(config.logDirectory!, { recursive: true })]);
    ctx.cgroups.create(pod);
    const { podSandboxId } = await ctx.cri.runtime.runPodSandbox({ config, runtimeHandler: handler });
    return podSandboxId;
  } catch (error) {
    record("Warning", "FailedCreatePodSandBox", `Failed to create pod sandbox: ${rpcMessage(error)}`);
    throw error;
  }
}

export const hostsPath = (ctx: PodContext, pod: coreV1.Pod) => join(ctx.volumes.podDir(pod.metadata.uid!), "etc-hosts");

/** Writes the hosts file that the pod's containers share. */
export async function writeHosts(ctx: PodContext, pod: coreV1.Pod, ips: readonly string[]): Promise<void> {
  const { readFile } = await import("node:fs/promises");
  const nodeHosts = pod.spec.hostNetwork ? await readFile("/etc/hosts", "utf8").catch(() => "127.0.0.1\tlocalhost\n") : "";
  await mkdir(ctx.volumes.podDir(pod.metadata.uid!), { recursive: true });
  await writeFile(hostsPath(ctx, pod), hostsFile(pod, ips, ctx.node.clusterDomain, nodeHosts));
}

/** Throws WaitError CrashLoopBackOff while a container must not be started again. */
export function checkCrashLoop(ctx: PodContext, pod: coreV1.Pod, container: coreV1.Container, rt: RuntimePod, now: number): void {
  const last = findContainer(rt, container.name);
  if (last?.state !== "exited") return;
  const key = backoffKey(pod, container);
  const left = ctx.backoff.remaining(key, last.finishedAt, now);
  if (left > 0) {
    recorder(ctx, pod, container)("Warning", "BackOff", `Back-off restarting failed container ${container.name} in pod ${podTitle(pod)}`);
    const message = `back-off ${goDuration(ctx.backoff.get(key))} restarting failed container=${container.name} pod=${podTitle(pod)}`;
    throw new WaitError("CrashLoopBackOff", message, { retryAfter: left });
  }
  ctx.backoff.next(key, now);
}

/** The image of a container, pulled if need be. */
export async function ensureImage(
  ctx: PodContext,
  pod: coreV1.Pod,
  container: coreV1.Container,
  sandbox: SandboxConfig,
  signal: AbortSignal,
): Promise<ImageFound> {
  return ctx.images.ensure({
    pod,
    container,
    sandbox,
    runtimeHandler: await runtimeHandler(ctx, pod),
    credentials: () => pullSecrets(ctx, pod),
    record: recorder(ctx, pod, container),
    signal,
  });
}

async function pullSecrets(ctx: PodContext, pod: coreV1.Pod): Promise<DockerConfig[]> {
  const configs: DockerConfig[] = [];
  const missing: string[] = [];
  for (const { name } of pod.spec.imagePullSecrets ?? []) {
    if (!name) continue;
    try {
      const config = dockerConfig(await ctx.secret(pod, name));
      if (config) configs.push(config);
    } catch {
      missing.push(name);
    }
  }
  if (missing.length > 0) {
    recorder(ctx, pod)(
      "Warning",
      "FailedToRetrieveImagePullSecret",
      `Unable to retrieve some image pull secrets (${missing.join(", ")}); attempting to pull the image may not succeed.`,
    );
  }
  return configs;
}

/** How often a container that the runtime has forgotten was restarted, going by the pod's last status. */
function restartsBefore(pod: coreV1.Pod, name: string): number {
  const all = [...(pod.status?.containerStatuses ?? []), ...(pod.status?.initContainerStatuses ?? [])];
  const old = all.find((s) => s.name === name);
  if (!old) return 0;
  return old.containerID || old.lastState?.terminated ? old.restartCount + 1 : old.restartCount;
}

export interface StartInput {
  pod: coreV1.Pod;
  container: coreV1.Container;
  sandbox: Sandbox;
  image: ImageFound;
  rt: RuntimePod;
  /** Ends the wait for the postStart hook. */
  signal: AbortSignal;
}

/** Creates and starts a container and runs its postStart hook. Throws WaitError with the reason to show. */
export async function startContainer(ctx: PodContext, input: StartInput): Promise<void> {
  const { pod, container, sandbox, image, rt } = input;
  const record = recorder(ctx, pod, container);
  const last = findContainer(rt, container.name);
  const restartCount = last ? last.restartCount + 1 : restartsBefore(pod, container.name);
  const target = (container as coreV1.EphemeralContainer).targetContainerName;

  let id: string;
  try {
    const [config] = await Promise.all([
      buildConfig(ctx, input, image, restartCount, target ? findContainer(rt, target)?.id : undefined),
      mkdir(join(podLogDirectory(ctx.node.podLogsDir, pod), containerLogPath(container.name, 0), ".."), { recursive: true }),
    ]);
    id = await create(ctx, sandbox, config).catch((error: unknown) => {
      throw new WaitError("CreateContainerError", rpcMessage(error), { cause: error });
    });
  } catch (error) {
    const failed =
      error instanceof WaitError
        ? error
        : new WaitError("CreateContainerConfigError", error instanceof Error ? error.message : String(error), { cause: error });
    record("Warning", "Failed", `Error: ${failed.message}`);
    throw failed;
  }
  record("Normal", "Created", "Container created");
  try {
    await ctx.cri.runtime.startContainer({ containerId: id });
  } catch (error) {
    record("Warning", "Failed", `Error: ${rpcMessage(error)}`);
    throw new WaitError("RunContainerError", rpcMessage(error), { cause: error });
  }
  record("Normal", "Started", "Container started");
  if (container.lifecycle?.postStart) await postStart(ctx, input, id);
}

async function create(ctx: PodContext, sandbox: Sandbox, config: ReturnType<typeof containerConfig>): Promise<string> {
  const { containerId } = await ctx.cri.runtime.createContainer({ podSandboxId: sandbox.id, config, sandboxConfig: sandbox.config });
  return containerId;
}

async function buildConfig(ctx: PodContext, input: StartInput, image: ImageFound, restartCount: number, targetId: string | undefined) {
  const { pod, container, sandbox } = input;
  const podIPs = pod.spec.hostNetwork ? ctx.hostIPs : sandbox.ips;
  const env = await environment(pod, container, {
    configMap: (name) => ctx.objects.configMap(pod, name),
    secret: (name) => ctx.objects.secret(pod, name),
    addresses: { podIPs, hostIPs: ctx.hostIPs },
    allocatable: ctx.allocatable(),
    services: serviceEnv(await ctx.services(pod), pod.metadata.namespace ?? "", pod.spec.enableServiceLinks ?? true),
  });
  const mounts = await containerMounts({
    pod,
    container,
    env,
    volumePath: (v) => ctx.volumes.path(pod, v),
    podDir: ctx.volumes.podDir(pod.metadata.uid!),
    hostsFile: hostsPath(ctx, pod),
  }).catch((error: unknown) => {
    throw error instanceof ConfigError ? error : new ConfigError(error instanceof Error ? error.message : String(error), { cause: error });
  });
  const parts = { imageRef: image.ref, imageUser: image.user, restartCount, env, mounts, ...(targetId ? { targetId } : {}) };
  return containerConfig(pod, container, parts, ctx.node);
}

async function postStart(ctx: PodContext, input: StartInput, id: string): Promise<void> {
  const { pod, container, sandbox } = input;
  const podIP = sandbox.ips[0] ?? ctx.hostIPs[0] ?? "";
  try {
    const hook = runHook(container.lifecycle!.postStart!, { cri: ctx.cri, container, containerId: id, podIP, timeout: 0 });
    await unlessAborted(hook, input.signal);
  } catch (error) {
    if (!(error instanceof HookError)) throw error;
    recorder(ctx, pod, container)("Warning", "FailedPostStartHook", "PostStartHook failed");
    const rt = await ctx.pleg.refresh(pod.metadata.uid!);
    const running = rt.containers.find((c) => c.id === id);
    if (running) {
      await killContainer(ctx, pod, running, {
        grace: pod.spec.terminationGracePeriodSeconds ?? 30,
        message: `FailedPostStartHook`,
      });
    }
    throw new WaitError("PostStartHookError", error.message, { cause: error });
  }
}
