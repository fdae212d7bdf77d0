// The runtime as the kubelet sees it: two typed clients on one channel, and
// what their answers mean in the kubelet's words.
import type * as pb from "../../rpc/gen/cri/runtime_pb.ts";
import { ContainerState, ImageService, NamespaceMode, PodSandboxState, RuntimeService } from "../../rpc/gen/cri/runtime_pb.ts";
import { type CallOptions, type Client, Code, RpcError } from "../../rpc/types.ts";
import { containerInfo, ownerAnnotation, podNameLabel, podNamespaceLabel, podUidLabel } from "../pod/labels.ts";
import type { RuntimeContainer, RuntimeContainerState, RuntimePod, RuntimeSandbox } from "../pod/runtime-pod.ts";

export interface Cri {
  runtime: Client<typeof RuntimeService>;
  image: Client<typeof ImageService>;
  close(): Promise<void> | void;
}

/** The path of a unix socket, from "unix:///run/x.sock", "/run/x.sock" or "unix:/run/x.sock". */
export function socketPath(endpoint: string): string {
  return endpoint.replace(/^unix:(\/\/)?/, "");
}

/** Milliseconds after which a call counts as lost, so that no worker waits for ever (upstream's runtime-request-timeout). */
const callTimeout = 120_000;
type TimeoutOf = (request: { timeout?: bigint }) => number | undefined;
const timeouts: Record<string, TimeoutOf> = {
  runPodSandbox: () => 2 * callTimeout,
  stopContainer: ({ timeout }) => callTimeout + Number(timeout ?? 0n) * 1000,
  execSync: ({ timeout }) => (timeout ? callTimeout + Number(timeout) * 1000 : undefined),
  pullImage: () => undefined,
  getContainerEvents: () => undefined,
};

/** Gives each call of a client a timeout, where it was called without. */
function timed<C extends object>(client: C): C {
  const calls = Object.entries(client as Record<string, (request: object, options?: CallOptions) => unknown>).map(([name, call]) => {
    const of = timeouts[name] ?? (() => callTimeout);
    return [name, (request: object, options?: CallOptions) => call(request, { timeout: of(request), ...options })] as const;
  });
  return Object.fromEntries(calls) as C;
}

/** Opens a channel to a runtime's socket. */
export async function dial(endpoint: string): Promise<Cri> {
  const { connect, createClient } = await import("../../rpc/client.ts");
  const channel = await connect({ unix: socketPath(endpoint) });
  const [runtime, image] = [timed(createClient(RuntimeService, channel)), timed(createClient(ImageService, channel))];
  return { runtime, image, close: () => channel.close() };
}

export const isUnimplemented = (error: unknown): boolean => error instanceof RpcError && error.code === Code.Unimplemented;
export const isRpcNotFound = (error: unknown): boolean => error instanceof RpcError && error.code === Code.NotFound;

/** The text that a runtime gave, with the status code as upstream prints it. */
export function rpcMessage(error: unknown): string {
  if (error instanceof RpcError) return `rpc error: code = ${Code[error.code]} desc = ${error.message}`;
  return error instanceof Error ? error.message : String(error);
}

const states: Record<ContainerState, RuntimeContainerState> = {
  [ContainerState.CONTAINER_CREATED]: "created",
  [ContainerState.CONTAINER_RUNNING]: "running",
  [ContainerState.CONTAINER_EXITED]: "exited",
  [ContainerState.CONTAINER_UNKNOWN]: "unknown",
};

/** Nanoseconds since the epoch as milliseconds. */
export const millis = (ns: bigint): number => Number(ns / 1_000_000n);

export function toContainer(status: pb.ContainerStatus, sandboxId: string): RuntimeContainer {
  const info = containerInfo(status.annotations);
  const user = status.user?.linux;
  return {
    id: status.id,
    sandboxId,
    name: status.metadata?.name ?? "",
    state: states[status.state],
    createdAt: millis(status.createdAt),
    startedAt: millis(status.startedAt),
    finishedAt: millis(status.finishedAt),
    exitCode: status.exitCode,
    reason: status.reason,
    message: status.message,
    image: status.image?.userSpecifiedImage || status.image?.image || "",
    imageId: status.imageRef || status.imageId,
    hash: info.hash,
    restartCount: info.restartCount,
    logPath: status.logPath,
    ...(user ? { user: { uid: Number(user.uid), gid: Number(user.gid), supplementalGroups: user.supplementalGroups.map(Number) } } : {}),
  };
}

export function toSandbox(status: pb.PodSandboxStatus): RuntimeSandbox {
  const network = status.network;
  return {
    id: status.id,
    attempt: status.metadata?.attempt ?? 0,
    ready: status.state === PodSandboxState.SANDBOX_READY,
    createdAt: millis(status.createdAt),
    ips: [network?.ip ?? "", ...(network?.additionalIps ?? []).map((a) => a.ip)].filter((ip) => ip !== ""),
    hostNetwork: status.linux?.namespaces?.options?.network === NamespaceMode.NODE,
    runtimeHandler: status.runtimeHandler,
  };
}

/** The pod that a sandbox or container belongs to, from its labels; undefined for foreign ones. */
export function podOf(
  labels: Record<string, string>,
  annotations: Record<string, string> = {},
): Pick<RuntimePod, "uid" | "name" | "namespace" | "owner"> | undefined {
  const uid = labels[podUidLabel];
  if (!uid) return undefined;
  return { uid, name: labels[podNameLabel] ?? "", namespace: labels[podNamespaceLabel] ?? "", owner: annotations[ownerAnnotation] };
}
