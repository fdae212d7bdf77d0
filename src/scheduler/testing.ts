// What tests of the scheduler share: objects, and an apiserver that can bind.
import type * as coreV1 from "../api/gen/core/v1.ts";
import { conflict } from "../api/status.ts";
import { pods } from "../client/resources.ts";
import type { Target } from "../client/transport.ts";
import { MemoryApi } from "../testing/memory-api.ts";

export function node(
  name: string,
  options: {
    cpu?: string;
    memory?: string;
    pods?: string;
    labels?: Record<string, string>;
    taints?: coreV1.Taint[];
    unschedulable?: boolean;
    more?: Record<string, string>;
    images?: coreV1.ContainerImage[];
  } = {},
): coreV1.Node {
  return {
    apiVersion: "v1",
    kind: "Node",
    metadata: { name, labels: { "kubernetes.io/hostname": name, ...options.labels } },
    spec: { ...(options.taints ? { taints: options.taints } : {}), ...(options.unschedulable ? { unschedulable: true } : {}) },
    status: {
      allocatable: { cpu: options.cpu ?? "4", memory: options.memory ?? "8Gi", pods: options.pods ?? "110", ...options.more },
      ...(options.images ? { images: options.images } : {}),
    },
  } as coreV1.Node;
}

export function pod(
  name: string,
  options: { requests?: Record<string, string>; hostPort?: number; spec?: Partial<coreV1.PodSpec>; image?: string } = {},
): coreV1.Pod {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, namespace: "default" },
    spec: {
      containers: [
        {
          name: "c",
          image: options.image ?? "example/c",
          ...(options.requests ? { resources: { requests: options.requests } } : {}),
          ...(options.hostPort ? { ports: [{ containerPort: 80, hostPort: options.hostPort }] } : {}),
        },
      ],
      ...options.spec,
    },
    status: { phase: "Pending" },
  } as coreV1.Pod;
}

export class BindingApi extends MemoryApi {
  override async create<T>(target: Target, object: object): Promise<T> {
    if (target.subresource !== "binding") return super.create<T>(target, object);
    this.refuse?.("create", target);
    const at = { ...pods, namespace: target.namespace, name: target.name! };
    const found = await this.get<coreV1.Pod>(at);
    if (found.spec.nodeName) throw conflict(pods, at.name, `pod ${at.name} is already assigned to node "${found.spec.nodeName}"`);
    await this.update(at, { ...found, spec: { ...found.spec, nodeName: (object as coreV1.Binding).target.name } });
    return object as T;
  }
}

/** Resolves when the check gives something; fails with what it waited for after two seconds. */
export async function until<T>(what: string, check: () => T | undefined | false | Promise<T | undefined | false>): Promise<T> {
  const end = performance.now() + 2000;
  for (;;) {
    const found = await check();
    if (found) return found;
    if (performance.now() > end) throw new Error(`waited for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}
