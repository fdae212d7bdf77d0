// Requests and limits as the kernel's numbers, and what follows from them: the
// QoS class, the OOM score and the cgroup of a pod.
import type * as coreV1 from "../../api/gen/core/v1.ts";
import { toBytes, toMilli, toNumber } from "../../api/quantity.ts";
import { isSidecar } from "./actions.ts";

/** Zero where there is none. */
const milliCpu = (text: string | undefined): number => (text === undefined ? 0 : toMilli(text));
const bytes = (text: string | undefined): number => (text === undefined ? 0 : toBytes(text));
const amount = (text: string | undefined): number => (text === undefined ? 0 : toNumber(text));

const periodMicros = 100_000;

/** cpu.shares for a request: 1024 a CPU, from 2 to 262144. */
export const cpuShares = (milli: number): number => (milli === 0 ? 2 : Math.min(262_144, Math.max(2, Math.floor((milli * 1024) / 1000))));

/** Microseconds of CPU time a period; 0 is no limit, the least that counts is 1000. */
export const cpuQuota = (milli: number): number => (milli === 0 ? 0 : Math.max(1000, Math.floor((milli * periodMicros) / 1000)));

/** The QoS class (Kubernetes documentation, "Pod Quality of Service Classes"). */
export function qosClass(spec: coreV1.PodSpec): coreV1.PodQOSClass {
  let any = false;
  let guaranteed = true;
  for (const c of [...(spec.initContainers ?? []), ...spec.containers]) {
    for (const name of ["cpu", "memory"]) {
      const limit = amount(c.resources?.limits?.[name]);
      const request = c.resources?.requests?.[name] === undefined ? limit : amount(c.resources.requests[name]);
      if (limit !== 0 || request !== 0) any = true;
      if (limit === 0 || limit !== request) guaranteed = false;
    }
  }
  if (!any) return "BestEffort";
  return guaranteed ? "Guaranteed" : "Burstable";
}

/** oom_score_adj of a container on a node with so many bytes of memory. */
export function oomScoreAdj(pod: coreV1.Pod, container: coreV1.Container, nodeMemory: number): number {
  if ((pod.spec.priority ?? 0) >= 2_000_001_000) return -997;
  const qos = qosClass(pod.spec);
  if (qos === "Guaranteed") return -997;
  if (qos === "BestEffort") return 1000;
  const request = bytes(container.resources?.requests?.memory ?? container.resources?.limits?.memory);
  const adjust = Math.floor(1000 - (1000 * request) / nodeMemory);
  return Math.min(999, Math.max(3, adjust));
}

export interface LinuxResources {
  cpuPeriod: bigint;
  cpuQuota: bigint;
  cpuShares: bigint;
  memoryLimitInBytes: bigint;
  oomScoreAdj: bigint;
  unified?: Record<string, string>;
}

export function containerResources(pod: coreV1.Pod, container: coreV1.Container, nodeMemory: number): LinuxResources {
  const { limits, requests } = container.resources ?? {};
  return {
    cpuPeriod: BigInt(periodMicros),
    cpuQuota: BigInt(cpuQuota(milliCpu(limits?.cpu))),
    cpuShares: BigInt(cpuShares(milliCpu(requests?.cpu ?? limits?.cpu))),
    memoryLimitInBytes: BigInt(bytes(limits?.memory)),
    oomScoreAdj: BigInt(oomScoreAdj(pod, container, nodeMemory)),
  };
}

export interface PodTotals {
  /** Milli-CPUs and bytes; a limit is undefined where a container has none. */
  cpuRequest: number;
  cpuLimit?: number;
  memoryRequest: number;
  memoryLimit?: number;
}

/** What a pod asks for: its containers and sidecars together, or its largest init container. */
export function podTotals(spec: coreV1.PodSpec): PodTotals {
  const of = (c: coreV1.Container) => ({
    cpuRequest: milliCpu(c.resources?.requests?.cpu ?? c.resources?.limits?.cpu),
    cpuLimit: c.resources?.limits?.cpu === undefined ? undefined : milliCpu(c.resources.limits.cpu),
    memoryRequest: bytes(c.resources?.requests?.memory ?? c.resources?.limits?.memory),
    memoryLimit: c.resources?.limits?.memory === undefined ? undefined : bytes(c.resources.limits.memory),
  });
  const add = (a: PodTotals, b: PodTotals): PodTotals => ({
    cpuRequest: a.cpuRequest + b.cpuRequest,
    cpuLimit: a.cpuLimit === undefined || b.cpuLimit === undefined ? undefined : a.cpuLimit + b.cpuLimit,
    memoryRequest: a.memoryRequest + b.memoryRequest,
    memoryLimit: a.memoryLimit === undefined || b.memoryLimit === undefined ? undefined : a.memoryLimit + b.memoryLimit,
  });
  const max = (a: PodTotals, b: PodTotals): PodTotals => ({
    cpuRequest: Math.max(a.cpuRequest, b.cpuRequest),
    cpuLimit: a.cpuLimit === undefined || b.cpuLimit === undefined ? undefined : Math.max(a.cpuLimit, b.cpuLimit),
    memoryRequest: Math.max(a.memoryRequest, b.memoryRequest),
    memoryLimit: a.memoryLimit === undefined || b.memoryLimit === undefined ? undefined : Math.max(a.memoryLimit, b.memoryLimit),
  });
  const zero: PodTotals = { cpuRequest: 0, cpuLimit: 0, memoryRequest: 0, memoryLimit: 0 };
  let sidecars = zero;
  let init = zero;
  for (const c of spec.initContainers ?? []) {
    if (isSidecar(c)) sidecars = add(sidecars, of(c));
    else init = max(init, add(sidecars, of(c)));
  }
  let main = sidecars;
  for (const c of spec.containers) main = add(main, of(c));
  const all = max(main, init);
  const overhead = spec.overhead;
  if (!overhead) return all;
  return {
    cpuRequest: all.cpuRequest + milliCpu(overhead.cpu),
    cpuLimit: all.cpuLimit === undefined ? undefined : all.cpuLimit + milliCpu(overhead.cpu),
    memoryRequest: all.memoryRequest + bytes(overhead.memory),
    memoryLimit: all.memoryLimit === undefined ? undefined : all.memoryLimit + bytes(overhead.memory),
  };
}

/** The cgroup of a pod below the hierarchy's root: /<root>/kubepods/burstable/pod<uid>. */
export function podCgroup(root: string, pod: coreV1.Pod): string {
  const qos = qosClass(pod.spec);
  const middle = qos === "Guaranteed" ? "" : `/${qos.toLowerCase()}`;
  return `${root === "/" ? "" : root}/kubepods${middle}/pod${pod.metadata.uid}`;
}
