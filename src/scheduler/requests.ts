// What a pod asks of a node (k8s.io/component-helpers/resource).
import type * as coreV1 from "../api/gen/core/v1.ts";
import { toMilli, toValue } from "../api/quantity.ts";

/** Amounts by resource name: millicores for cpu, bytes or counts for the rest. */
export type Amounts = Map<string, number>;

/** What a container without a request counts as when nodes are scored. */
const defaultMilliCpu = 100;
const defaultMemory = 200 * 1024 * 1024;

export function amount(name: string, quantity: string | number): number {
  return name === "cpu" ? toMilli(quantity) : toValue(quantity);
}

export function amounts(list: Record<string, string> | undefined): Amounts {
  const result: Amounts = new Map();
  for (const [name, quantity] of Object.entries(list ?? {})) result.set(name, amount(name, quantity));
  return result;
}

function add(to: Amounts, from: Amounts): void {
  for (const [name, n] of from) to.set(name, (to.get(name) ?? 0) + n);
}

function raise(to: Amounts, from: Amounts): void {
  for (const [name, n] of from) to.set(name, Math.max(to.get(name) ?? 0, n));
}

const podLevel = (name: string) => name === "cpu" || name === "memory" || name.startsWith("hugepages-");

/**
 * The most that the pod requests at any moment: its containers and sidecars
 * together, or an init container with the sidecars started before it; pod-level
 * requests take the place of those sums. With `floors`, as it is scored.
 */
export function podRequests(spec: coreV1.PodSpec, floors = false): Amounts {
  const of = (container: coreV1.Container): Amounts => {
    const found = amounts(container.resources?.requests);
    if (floors) {
      if (!found.has("cpu")) found.set("cpu", defaultMilliCpu);
      if (!found.has("memory")) found.set("memory", defaultMemory);
    }
    return found;
  };
  const total: Amounts = new Map();
  for (const container of spec.containers) add(total, of(container));
  const sidecars: Amounts = new Map();
  const init: Amounts = new Map();
  for (const container of spec.initContainers ?? []) {
    const own = of(container);
    if (container.restartPolicy === "Always") {
      add(total, own);
      add(sidecars, own);
      raise(init, sidecars);
    } else {
      add(own, sidecars);
      raise(init, own);
    }
  }
  raise(total, init);
  for (const [name, n] of amounts(spec.resources?.requests)) if (podLevel(name)) total.set(name, n);
  add(total, amounts(spec.overhead));
  return total;
}

export interface HostPort {
  ip: string;
  protocol: string;
  port: number;
}

/** Ports that the pod takes on its node. */
export function hostPorts(spec: coreV1.PodSpec): HostPort[] {
  const found: HostPort[] = [];
  const sidecars = (spec.initContainers ?? []).filter((c) => c.restartPolicy === "Always");
  for (const container of [...sidecars, ...spec.containers]) {
    for (const p of container.ports ?? []) {
      const port = p.hostPort ?? (spec.hostNetwork ? p.containerPort : 0);
      if (port > 0) found.push({ ip: p.hostIP || "0.0.0.0", protocol: p.protocol ?? "TCP", port });
    }
  }
  return found;
}

/** The wildcard address takes a port on all addresses. */
export function portsConflict(a: HostPort, b: HostPort): boolean {
  return a.port === b.port && a.protocol === b.protocol && (a.ip === b.ip || a.ip === "0.0.0.0" || b.ip === "0.0.0.0");
}
