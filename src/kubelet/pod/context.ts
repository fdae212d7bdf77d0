// What the workers of pods share.
import type * as coreV1 from "../../api/gen/core/v1.ts";
import type * as nodeV1 from "../../api/gen/node/v1.ts";
import { type EventSink, referenceTo } from "../../client/events.ts";
import type { ApiTransport } from "../../client/transport.ts";
import type { Logger } from "../../platform/log.ts";
import type { ObjectCache } from "../config/objects.ts";
import type { Cri } from "../cri/client.ts";
import type { Pleg } from "../cri/pleg.ts";
import type { ImageManager, RecordEvent } from "../images/manager.ts";
import type { ProbeManager } from "../probes/manager.ts";
import type { StatusManager } from "../status-manager.ts";
import type { VolumeManager } from "../volumes/manager.ts";
import type { Backoff } from "./backoff.ts";
import type { PodCgroups } from "./cgroup.ts";
import type { NodeFacts } from "./config.ts";
import type { DnsSettings } from "./dns.ts";
import type { Allocatable } from "./field-path.ts";

export interface PodContext {
  cri: Cri;
  pleg: Pleg;
  images: ImageManager;
  volumes: VolumeManager;
  objects: ObjectCache;
  probes: ProbeManager;
  cgroups: PodCgroups;
  statuses: StatusManager;
  transport: ApiTransport;
  events: EventSink;
  /** Dead containers and sandboxes that are being removed. */
  collecting: Set<string>;
  /** Crash loops. */
  backoff: Backoff;
  node: NodeFacts;
  dns(): DnsSettings;
  hostIPs: string[];
  allocatable(): Allocatable;
  /** "containerd" or "kubun": the scheme of container IDs. */
  runtimeName: string;
  /** Resolves once the services are known, if the pod came from the apiserver. */
  services(pod: coreV1.Pod): Promise<Iterable<coreV1.Service>>;
  runtimeClass(name: string): Promise<nodeV1.RuntimeClass>;
  secret(pod: coreV1.Pod, name: string): Promise<coreV1.Secret>;
  log: Logger;
}

const podKind = { group: "", version: "v1", kind: "Pod" };

/** Writes events about a pod, or about one of its containers. */
export function recorder(ctx: PodContext, pod: coreV1.Pod, container?: coreV1.Container): RecordEvent {
  const field = container && fieldPath(pod, container.name);
  return (type, reason, message) =>
    ctx.events.event(referenceTo(pod as Parameters<typeof referenceTo>[0], podKind, field), type, reason, message);
}

function fieldPath(pod: coreV1.Pod, name: string): string {
  if (pod.spec.containers.some((c) => c.name === name)) return `spec.containers{${name}}`;
  if (pod.spec.initContainers?.some((c) => c.name === name)) return `spec.initContainers{${name}}`;
  return `spec.ephemeralContainers{${name}}`;
}

/** "name_namespace(uid)", as messages name a pod. */
export const podTitle = (pod: coreV1.Pod) => `${pod.metadata.name}_${pod.metadata.namespace}(${pod.metadata.uid})`;
