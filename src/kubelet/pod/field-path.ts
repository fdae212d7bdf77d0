// The downward API: fields and resources of a pod as text.
import type * as coreV1 from "../../api/gen/core/v1.ts";
import { toNumber } from "../../api/quantity.ts";

export interface PodAddresses {
  podIPs: string[];
  hostIPs: string[];
}

/** A map as the downward API writes it: key="escaped value" a line, sorted. */
export function formatMap(map: Record<string, string> | undefined): string {
  return Object.keys(map ?? {})
    .sort()
    .map((k) => `${k}=${JSON.stringify(map![k])}`)
    .join("\n");
}

/** The text of a fieldRef. Throws an Error for a path that has none. */
export function fieldValue(pod: coreV1.Pod, path: string, addresses: PodAddresses): string {
  const subscript = /^metadata\.(labels|annotations)\['(.*)'\]$/.exec(path);
  if (subscript) return pod.metadata[subscript[1] as "labels" | "annotations"]?.[subscript[2]!] ?? "";
  switch (path) {
    case "metadata.name":
      return pod.metadata.name ?? "";
    case "metadata.namespace":
      return pod.metadata.namespace ?? "";
    case "metadata.uid":
      return pod.metadata.uid ?? "";
    case "metadata.labels":
      return formatMap(pod.metadata.labels);
    case "metadata.annotations":
      return formatMap(pod.metadata.annotations);
    case "spec.nodeName":
      return pod.spec.nodeName ?? "";
    case "spec.serviceAccountName":
      return pod.spec.serviceAccountName ?? "";
    case "status.hostIP":
      return addresses.hostIPs[0] ?? "";
    case "status.hostIPs":
      return addresses.hostIPs.join(",");
    case "status.podIP":
      return addresses.podIPs[0] ?? "";
    case "status.podIPs":
      return addresses.podIPs.join(",");
    default:
      throw new Error(`unsupported fieldPath: ${path}`);
  }
}

export interface Allocatable {
  cpu: string;
  memory: string;
  "ephemeral-storage": string;
}

/** The text of a resourceFieldRef; a limit that is not set is the node's allocatable. */
export function resourceValue(
  pod: coreV1.Pod,
  ref: coreV1.ResourceFieldSelector,
  containerName: string | undefined,
  allocatable: Allocatable,
): string {
  const name = ref.containerName || containerName;
  const container = [...pod.spec.containers, ...(pod.spec.initContainers ?? [])].find((c) => c.name === name);
  if (!container) throw new Error(`container ${name} not found`);
  const match = /^(limits|requests)\.(.+)$/.exec(ref.resource);
  if (!match) throw new Error(`unsupported container resource : ${ref.resource}`);
  const [, kind, resource] = match as unknown as [string, "limits" | "requests", string];
  const { limits, requests } = container.resources ?? {};
  let value = kind === "limits" ? limits?.[resource] : (requests?.[resource] ?? limits?.[resource]);
  if (value === undefined) value = kind === "limits" ? (allocatable as unknown as Record<string, string>)[resource] : "0";
  const divisor = ref.divisor === undefined ? 1 : toNumber(ref.divisor) || 1;
  return String(Math.ceil(toNumber(value ?? "0") / divisor - 1e-9));
}
