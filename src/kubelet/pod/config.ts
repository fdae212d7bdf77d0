// A pod as the runtime's PodSandboxConfig, a container as its ContainerConfig.
import type { MessageInitShape } from "@bufbuild/protobuf";
import type * as coreV1 from "../../api/gen/core/v1.ts";
import {
  type ContainerConfigSchema,
  type MountSchema,
  type PodSandboxConfigSchema,
  Protocol,
  Signal,
} from "../../rpc/gen/cri/runtime_pb.ts";
import { type DnsConfig, kernelHostname } from "./dns.ts";
import { expand } from "./expand.ts";
import { containerAnnotations, containerLabels, sandboxAnnotations, sandboxLabels } from "./labels.ts";
import { containerResources, cpuQuota, cpuShares, podCgroup, podTotals } from "./resources.ts";
import { containerSecurity, type ImageUser, sandboxSecurity } from "./security.ts";

export type SandboxConfig = MessageInitShape<typeof PodSandboxConfigSchema>;
export type ContainerConfig = MessageInitShape<typeof ContainerConfigSchema>;
export type MountConfig = MessageInitShape<typeof MountSchema>;

export interface NodeFacts {
  rootDir: string;
  podLogsDir: string;
  cgroupRoot: string;
  /** The node's own host name. */
  hostname: string;
  clusterDomain: string;
  /** Bytes. */
  memory: number;
}

const protocols: Record<string, Protocol> = { TCP: Protocol.TCP, UDP: Protocol.UDP, SCTP: Protocol.SCTP };

export const podLogDirectory = (podLogsDir: string, pod: coreV1.Pod) =>
  `${podLogsDir}/${pod.metadata.namespace}_${pod.metadata.name}_${pod.metadata.uid}`;

export const containerLogPath = (name: string, restartCount: number) => `${name}/${restartCount}.log`;

export const seccompRoot = (rootDir: string) => `${rootDir}/seccomp`;

export function sandboxConfig(pod: coreV1.Pod, attempt: number, dns: DnsConfig, node: NodeFacts): SandboxConfig {
  const ports = [...(pod.spec.initContainers ?? []).filter((c) => c.restartPolicy === "Always"), ...pod.spec.containers].flatMap(
    (c) => c.ports ?? [],
  );
  const totals = podTotals(pod.spec);
  const resources = {
    cpuShares: BigInt(cpuShares(totals.cpuRequest)),
    cpuQuota: BigInt(totals.cpuLimit === undefined ? 0 : cpuQuota(totals.cpuLimit)),
    cpuPeriod: 100_000n,
    memoryLimitInBytes: BigInt(totals.memoryLimit ?? 0),
  };
  return {
    metadata: { name: pod.metadata.name ?? "", namespace: pod.metadata.namespace ?? "", uid: pod.metadata.uid ?? "", attempt },
    hostname: pod.spec.hostNetwork && !pod.spec.hostnameOverride ? "" : kernelHostname(pod, node.clusterDomain, node.hostname),
    logDirectory: podLogDirectory(node.podLogsDir, pod),
    dnsConfig: dns,
    portMappings: pod.spec.hostNetwork
      ? []
      : ports
          .filter((p) => p.hostPort)
          .map((p) => ({
            protocol: protocols[p.protocol ?? "TCP"] ?? Protocol.TCP,
            containerPort: p.containerPort,
            hostPort: p.hostPort!,
            hostIp: p.hostIP ?? "",
          })),
    labels: sandboxLabels(pod),
    annotations: sandboxAnnotations(pod, node.rootDir),
    linux: {
      cgroupParent: podCgroup(node.cgroupRoot, pod),
      securityContext: sandboxSecurity(pod.spec, seccompRoot(node.rootDir)),
      sysctls: Object.fromEntries((pod.spec.securityContext?.sysctls ?? []).map((s) => [s.name.replaceAll("/", "."), s.value])),
      resources,
    },
  };
}

export interface ContainerParts {
  /** The image as the runtime knows it. */
  imageRef: string;
  restartCount: number;
  env: Map<string, string>;
  mounts: MountConfig[];
  imageUser: ImageUser;
  /** The container whose process namespace a debug container joins. */
  targetId?: string;
}

export function containerConfig(pod: coreV1.Pod, container: coreV1.Container, parts: ContainerParts, node: NodeFacts): ContainerConfig {
  const lookup = (name: string) => parts.env.get(name);
  const encoder = new TextEncoder();
  const signal = container.lifecycle?.stopSignal?.replace("+", "PLUS").replace(/MAX-/, "MAXMINUS");
  return {
    metadata: { name: container.name, attempt: parts.restartCount },
    image: { image: parts.imageRef, userSpecifiedImage: container.image ?? "" },
    command: (container.command ?? []).map((s) => expand(s, lookup)),
    args: (container.args ?? []).map((s) => expand(s, lookup)),
    workingDir: container.workingDir ?? "",
    envs: [...parts.env].map(([key, value]) => ({ key, value: encoder.encode(value) })),
    mounts: parts.mounts,
    labels: containerLabels(pod, container),
    annotations: containerAnnotations(pod, container, parts.restartCount),
    logPath: containerLogPath(container.name, parts.restartCount),
    stdin: container.stdin ?? false,
    stdinOnce: container.stdinOnce ?? false,
    tty: container.tty ?? false,
    ...(signal ? { stopSignal: Signal[signal as keyof typeof Signal] ?? Signal.RUNTIME_DEFAULT } : {}),
    linux: {
      resources: containerResources(pod, container, node.memory),
      securityContext: containerSecurity(pod, container, parts.imageUser, seccompRoot(node.rootDir), parts.targetId),
    },
  };
}
