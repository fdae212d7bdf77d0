// Which node ports a Service is to have (k8s.io/kubernetes/pkg/registry/core/service/storage/alloc.go).
// Pure: what is taken is asked and noted down in a bitmap.
import type * as core from "../../api/gen/core/v1.ts";
import { AllocationError, checkPort, freePort } from "./allocator.ts";
import type { PortBitmap } from "./port-bitmap.ts";

type Spec = core.ServiceSpec;

const wantsPorts = (spec: Spec): boolean =>
  spec.type === "NodePort" || (spec.type === "LoadBalancer" && spec.allocateLoadBalancerNodePorts !== false);
export const wantsHealthPort = (spec: Spec): boolean => spec.type === "LoadBalancer" && spec.externalTrafficPolicy === "Local";

/** Numbers of the nodes that a Service has; those of its ports may be used by several protocols. */
export function nodePortsOf(spec: Spec | undefined): Set<number> {
  const ports = (spec?.ports ?? []).map((p) => p.nodePort ?? 0);
  return new Set([...ports, spec?.healthCheckNodePort ?? 0].filter((n) => n !== 0));
}

/** A port that was asked for can't be had. */
export class PortRefused extends AllocationError {
  readonly field: string;
  readonly port: number;
  constructor(field: string, port: number, why: string) {
    super(why);
    this.field = field;
    this.port = port;
  }
}

export interface PortPlan {
  /** Of each port of the Service; undefined where it gets none. */
  ports: (number | undefined)[];
  health: number | undefined;
}

/** Whether there is something to be taken. */
export function needsPlan(spec: Spec, before: Spec | undefined): boolean {
  const held = nodePortsOf(before);
  const open = (spec.ports ?? []).some((p) => (p.nodePort ? !held.has(p.nodePort) : wantsPorts(spec)));
  return open || (wantsHealthPort(spec) && !held.has(spec.healthCheckNodePort ?? 0));
}

/** Takes what a Service needs beyond what it has. Throws an AllocationError; the bitmap is then of no use. */
export function planPorts(spec: Spec, before: Spec | undefined, taken: PortBitmap, random?: () => number): PortPlan {
  const held = nodePortsOf(before);
  const wanted = spec.ports ?? [];
  const ports = wanted.map((p) => p.nodePort || undefined);
  const take = (field: string, port: number) => {
    // One number may serve TCP and UDP of one Service, never two Services.
    if (held.has(port)) return;
    try {
      checkPort(taken.range, port);
      if (taken.has(port)) throw new AllocationError("provided port is already allocated");
    } catch (error) {
      throw error instanceof AllocationError ? new PortRefused(field, port, error.message) : error;
    }
    taken.set(port);
    held.add(port);
  };
  const free = () => {
    const port = freePort(taken.range, (n) => taken.has(n) || held.has(n), random);
    taken.set(port);
    held.add(port);
    return port;
  };
  // What is asked for comes first, or it might be given to another port.
  for (const [i, port] of ports.entries()) if (port) take(`spec.ports[${i}].nodePort`, port);
  if (wantsHealthPort(spec) && spec.healthCheckNodePort) take("spec.healthCheckNodePort", spec.healthCheckNodePort);
  if (wantsPorts(spec))
    for (const [i, p] of wanted.entries()) {
      // One number for TCP and UDP of the same port, as DNS has it.
      const twin = ports.find((port, k) => k !== i && port !== undefined && sharesNumber(wanted[k]!, p));
      ports[i] ??= twin ?? free();
    }
  return { ports, health: wantsHealthPort(spec) ? spec.healthCheckNodePort || free() : undefined };
}

const sharesNumber = (a: core.ServicePort, b: core.ServicePort): boolean =>
  a.port === b.port && (a.protocol ?? "TCP") !== (b.protocol ?? "TCP");
