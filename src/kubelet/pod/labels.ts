// The labels and annotations by which a kubelet finds its pods in a runtime
// again, with upstream's names (pkg/kubelet/types/labels.go), so that one
// kubelet can take over from another.
import type * as coreV1 from "../../api/gen/core/v1.ts";

export const podNameLabel = "io.kubernetes.pod.name";
export const podNamespaceLabel = "io.kubernetes.pod.namespace";
export const podUidLabel = "io.kubernetes.pod.uid";
export const containerNameLabel = "io.kubernetes.container.name";

const hashAnnotation = "io.kubernetes.container.hash";
const restartCountAnnotation = "io.kubernetes.container.restartCount";
const messagePathAnnotation = "io.kubernetes.container.terminationMessagePath";
const messagePolicyAnnotation = "io.kubernetes.container.terminationMessagePolicy";
const podGraceAnnotation = "io.kubernetes.pod.terminationGracePeriod";
const preStopAnnotation = "io.kubernetes.container.preStopHandler";
const portsAnnotation = "io.kubernetes.container.ports";

/** Which kubelet made a sandbox: its root directory. Several may share one runtime. */
export const ownerAnnotation = "kubun.dev/kubelet-root";

/** Where a pod comes from: "api" unless a file says otherwise. */
export const configSourceAnnotation = "kubernetes.io/config.source";
export const configHashAnnotation = "kubernetes.io/config.hash";
export const configMirrorAnnotation = "kubernetes.io/config.mirror";

export const isStaticPod = (pod: coreV1.Pod) => (pod.metadata.annotations?.[configSourceAnnotation] ?? "api") !== "api";
export const isMirrorPod = (pod: coreV1.Pod) => pod.metadata.annotations?.[configMirrorAnnotation] !== undefined;

export function sandboxLabels(pod: coreV1.Pod): Record<string, string> {
  return { ...pod.metadata.labels, ...podLabels(pod) };
}

export function podLabels(pod: coreV1.Pod): Record<string, string> {
  return {
    [podNameLabel]: pod.metadata.name ?? "",
    [podNamespaceLabel]: pod.metadata.namespace ?? "",
    [podUidLabel]: pod.metadata.uid ?? "",
  };
}

export function sandboxAnnotations(pod: coreV1.Pod, rootDir: string): Record<string, string> {
  return { ...pod.metadata.annotations, [ownerAnnotation]: rootDir };
}

export const containerLabels = (pod: coreV1.Pod, container: coreV1.Container): Record<string, string> => ({
  ...podLabels(pod),
  [containerNameLabel]: container.name,
});

export function containerAnnotations(pod: coreV1.Pod, container: coreV1.Container, restartCount: number): Record<string, string> {
  const grace = pod.spec.terminationGracePeriodSeconds;
  return {
    [hashAnnotation]: containerHash(container),
    [restartCountAnnotation]: String(restartCount),
    [messagePathAnnotation]: container.terminationMessagePath ?? "",
    [messagePolicyAnnotation]: container.terminationMessagePolicy ?? "File",
    ...(grace === undefined ? {} : { [podGraceAnnotation]: String(grace) }),
    ...(container.lifecycle?.preStop ? { [preStopAnnotation]: JSON.stringify(container.lifecycle.preStop) } : {}),
    ...(container.ports?.length ? { [portsAnnotation]: JSON.stringify(container.ports) } : {}),
  };
}

export interface ContainerInfo {
  hash: string;
  restartCount: number;
  terminationMessagePath: string;
  terminationMessagePolicy: string;
}

/** The inverse of containerAnnotations. */
export function containerInfo(annotations: Record<string, string>): ContainerInfo {
  return {
    hash: annotations[hashAnnotation] ?? "",
    restartCount: Number.parseInt(annotations[restartCountAnnotation] ?? "0", 10) || 0,
    terminationMessagePath: annotations[messagePathAnnotation] ?? "",
    terminationMessagePolicy: annotations[messagePolicyAnnotation] ?? "File",
  };
}

/** FNV-1a, 32 bits, as hexadecimal digits. */
export function fnv32a(text: string): string {
  let h = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(text)) h = Math.imul(h ^ byte, 0x01000193);
  return (h >>> 0).toString(16);
}

/** What must change for a running container to be replaced: its name or image (upstream's pickFieldsToHash). */
export const containerHash = (c: { name: string; image?: string }): string =>
  fnv32a(`{"image":${JSON.stringify(c.image ?? "")},"name":${JSON.stringify(c.name)}}`);
