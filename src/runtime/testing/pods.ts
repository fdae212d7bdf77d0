// Pods for tests, by way of the CRI.
import type { MessageInitShape } from "@bufbuild/protobuf";
import {
  type ContainerConfigSchema,
  ContainerState,
  type ContainerStatus,
  type PodSandboxConfigSchema,
} from "../../rpc/gen/cri/runtime_pb.ts";
import { BUSYBOX, type TestHost } from "./host.ts";

export type PodInit = MessageInitShape<typeof PodSandboxConfigSchema>;
export type ContainerInit = MessageInitShape<typeof ContainerConfigSchema>;

let counter = 0;

export function podConfig(host: TestHost, more: Partial<PodInit> = {}): PodInit {
  const n = counter++;
  return {
    metadata: { name: `pod-${n}`, namespace: "default", uid: `uid-${n}`, attempt: 0 },
    hostname: `pod-${n}`,
    logDirectory: `${host.dir}/logs/pod-${n}`,
    ...more,
  } as PodInit;
}

export async function runPod(host: TestHost, more: Partial<PodInit> = {}, handler = ""): Promise<{ id: string; config: PodInit }> {
  const config = podConfig(host, more);
  const { podSandboxId } = await host.runtime.runPodSandbox({ config, runtimeHandler: handler });
  return { id: podSandboxId, config };
}

/** Creates and starts a container that runs a line of shell, unless `more` says otherwise. */
export async function startContainer(
  host: TestHost,
  pod: { id: string; config: PodInit },
  shell: string,
  more: Partial<ContainerInit> = {},
): Promise<string> {
  const n = counter++;
  const config = {
    metadata: { name: `c-${n}`, attempt: 0 },
    image: { image: BUSYBOX },
    command: ["sh", "-c", shell],
    logPath: `c-${n}/0.log`,
    linux: {},
    ...more,
  } as ContainerInit;
  const { containerId } = await host.runtime.createContainer({ podSandboxId: pod.id, config, sandboxConfig: pod.config });
  await host.runtime.startContainer({ containerId });
  return containerId;
}

export async function statusOf(host: TestHost, containerId: string): Promise<ContainerStatus> {
  return (await host.runtime.containerStatus({ containerId })).status!;
}

/** Waits for a container's end. Rejects after 30 s. */
export async function ended(host: TestHost, containerId: string): Promise<ContainerStatus> {
  return await until(async () => {
    const status = await statusOf(host, containerId);
    return status.state === ContainerState.CONTAINER_EXITED ? status : undefined;
  });
}

/** Waits until a look gives something. Rejects after 30 s. */
export async function until<T>(look: () => Promise<T | undefined> | T | undefined): Promise<T> {
  const deadline = Date.now() + 30_000;
  for (;;) {
    const value = await look();
    if (value !== undefined) return value;
    if (Date.now() > deadline) throw new Error(`nothing after 30 s: ${look.toString().slice(0, 200)}`);
    await Bun.sleep(5);
  }
}

/** What a container has written, without the marks of the CRI log format. */
export async function logOf(host: TestHost, containerId: string): Promise<string> {
  const { logPath } = await statusOf(host, containerId);
  const text = await Bun.file(logPath).text();
  return text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => line.replace(/^\S+ std(out|err) [FP] /, ""))
    .join("\n");
}
