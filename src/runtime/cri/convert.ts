// Records as CRI messages.
import type { MessageInitShape } from "@bufbuild/protobuf";
import {
  type ContainerFilter,
  type ContainerSchema,
  ContainerState,
  type ContainerStatusSchema,
  type ImageSchema,
  NamespaceMode,
  type PodSandboxFilter,
  type PodSandboxSchema,
  PodSandboxState,
  type PodSandboxStatusSchema,
} from "../../rpc/gen/cri/runtime_pb.ts";
import { type ContainerRecord, stateOf } from "../container/record.ts";
import { criSignal } from "../container/signals.ts";
import type { ImageConfig } from "../images/oci.ts";
import type { ImageRecord } from "../images/store.ts";
import type { SandboxRecord } from "../sandbox/record.ts";

const labelsMatch = (labels: Record<string, string>, selector: Record<string, string> | undefined) =>
  Object.entries(selector ?? {}).every(([k, v]) => labels[k] === v);

const sandboxState = (record: SandboxRecord) => (record.ready ? PodSandboxState.SANDBOX_READY : PodSandboxState.SANDBOX_NOTREADY);

export function matchesSandbox(record: SandboxRecord, filter: PodSandboxFilter | undefined): boolean {
  if (filter === undefined) return true;
  return (
    record.id.startsWith(filter.id) &&
    (filter.state === undefined || filter.state.state === sandboxState(record)) &&
    labelsMatch(record.config.labels, filter.labelSelector)
  );
}

export function matchesContainer(
  record: ContainerRecord,
  filter: (Pick<ContainerFilter, "id" | "podSandboxId" | "labelSelector"> & { state?: ContainerFilter["state"] }) | undefined,
): boolean {
  if (filter === undefined) return true;
  return (
    record.id.startsWith(filter.id) &&
    record.sandboxId.startsWith(filter.podSandboxId) &&
    (filter.state === undefined || filter.state.state === stateOf(record)) &&
    labelsMatch(record.config.labels, filter.labelSelector)
  );
}

export function sandboxItem(record: SandboxRecord): MessageInitShape<typeof PodSandboxSchema> {
  const { metadata, labels, annotations } = record.config;
  return {
    id: record.id,
    metadata,
    state: sandboxState(record),
    createdAt: record.createdAt,
    labels,
    annotations,
    runtimeHandler: record.handler,
  };
}

export function sandboxStatus(record: SandboxRecord): MessageInitShape<typeof PodSandboxStatusSchema> {
  const options = record.config.linux?.securityContext?.namespaceOptions;
  const [ip = "", ...additional] = record.ready ? record.ips : [];
  return {
    ...(sandboxItem(record) as object),
    network: { ip, additionalIps: additional.map((a) => ({ ip: a })) },
    linux: {
      namespaces: {
        options: {
          network: options?.network ?? NamespaceMode.POD,
          pid: options?.pid ?? NamespaceMode.POD,
          ipc: options?.ipc ?? NamespaceMode.POD,
          targetId: options?.targetId ?? "",
        },
      },
    },
  };
}

export function containerItem(record: ContainerRecord): MessageInitShape<typeof ContainerSchema> {
  const { metadata, labels, annotations, image } = record.config;
  return {
    id: record.id,
    podSandboxId: record.sandboxId,
    metadata,
    image,
    imageRef: record.imageRef,
    imageId: record.imageId,
    state: stateOf(record),
    createdAt: record.createdAt,
    labels,
    annotations,
  };
}

export function containerStatus(record: ContainerRecord): MessageInitShape<typeof ContainerStatusSchema> {
  const { metadata, labels, annotations, image, mounts, linux } = record.config;
  const state = stateOf(record);
  return {
    id: record.id,
    metadata,
    state,
    createdAt: record.createdAt,
    startedAt: record.startedAt ?? 0n,
    finishedAt: record.exit?.at ?? 0n,
    exitCode: record.exit?.code ?? 0,
    image: {
      image: image?.userSpecifiedImage || image?.image || record.imageId,
      annotations: image?.annotations,
      userSpecifiedImage: image?.userSpecifiedImage,
      runtimeHandler: image?.runtimeHandler,
    },
    imageRef: record.imageRef,
    imageId: record.imageId,
    reason: state === ContainerState.CONTAINER_EXITED ? (record.exit?.reason ?? "") : "",
    message: record.exit?.message ?? "",
    labels,
    annotations,
    mounts,
    logPath: record.logPath ?? "",
    resources: linux?.resources === undefined ? undefined : { linux: linux.resources },
    user: {
      linux: { uid: BigInt(record.user.uid), gid: BigInt(record.user.gid), supplementalGroups: record.user.groups.map(BigInt) },
    },
    stopSignal: criSignal(record.stopSignal),
  };
}

export function imageItem(record: ImageRecord, config: ImageConfig): MessageInitShape<typeof ImageSchema> {
  const [user = ""] = (config.config?.User ?? "").split(":");
  const numeric = /^\d+$/.test(user);
  return {
    id: record.id,
    repoTags: record.tags,
    repoDigests: record.digests,
    size: BigInt(record.size),
    ...(numeric ? { uid: { value: BigInt(user) } } : { username: user }),
    spec: { image: record.tags[0] ?? record.digests[0] ?? record.id },
    pinned: record.pinned ?? false,
  };
}

/** The answer to a verbose question: one document of JSON. */
export const info = (verbose: boolean, name: string, content: () => unknown): Record<string, string> =>
  verbose ? { [name]: JSON.stringify(content()) } : {};
