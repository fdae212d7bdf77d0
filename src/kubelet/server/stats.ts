// GET /stats/summary: what the node, its pods and their containers use
// (k8s.io/kubelet/pkg/apis/stats/v1alpha1).
import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import type * as coreV1 from "../../api/gen/core/v1.ts";
import { cgroupUsage } from "../../platform/cgroup.ts";
import { isUnimplemented, millis } from "../cri/client.ts";
import { fileSystem } from "../node/machine.ts";
import type { PodContext } from "../pod/context.ts";
import { podUidLabel } from "../pod/labels.ts";
import { podCgroup } from "../pod/resources.ts";
import type { PodManager } from "../pods.ts";

export interface Usage {
  /** Seconds of CPU time. */
  cpu: number;
  /** Bytes. */
  memory: number;
  workingSet: number;
  /** Milliseconds since the epoch. */
  time: number;
}

export interface ContainerUsage extends Usage {
  podUid: string;
  pod: string;
  namespace: string;
  container: string;
  startedAt: number;
  rootfs?: number;
}

/** What each running container uses, as the runtime tells. */
export async function containerUsages(context: PodContext): Promise<ContainerUsage[]> {
  const { stats } = await context.cri.runtime.listContainerStats({}).catch((error: unknown) => {
    if (isUnimplemented(error)) return { stats: [] };
    throw error;
  });
  const usages: ContainerUsage[] = [];
  for (const s of stats) {
    const uid = s.attributes?.labels[podUidLabel];
    if (!uid) continue;
    const rt = context.pleg.get(uid);
    const found = rt.containers.find((c) => c.id === s.attributes!.id);
    if (found?.state !== "running") continue;
    usages.push({
      podUid: uid,
      pod: rt.name,
      namespace: rt.namespace,
      container: found.name,
      startedAt: found.startedAt,
      cpu: Number(s.cpu?.usageCoreNanoSeconds?.value ?? 0n) / 1e9,
      memory: Number(s.memory?.usageBytes?.value ?? s.memory?.workingSetBytes?.value ?? 0n),
      workingSet: Number(s.memory?.workingSetBytes?.value ?? 0n),
      time: millis(s.cpu?.timestamp ?? 0n) || Date.now(),
      ...(s.writableLayer?.usedBytes ? { rootfs: Number(s.writableLayer.usedBytes.value) } : {}),
    });
  }
  return usages;
}

const clockTicks = 100;

/** What the whole machine uses. */
export function nodeUsage(): Usage {
  const [, user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0] = readFileSync("/proc/stat", "utf8")
    .split("\n")[0]!
    .split(/\s+/)
    .map(Number);
  const info = readFileSync("/proc/meminfo", "utf8");
  const kb = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(info)?.[1] ?? 0) * 1024;
  const memory = kb("MemTotal") - kb("MemFree");
  return {
    cpu: (user + nice + system + irq + softirq) / clockTicks,
    memory,
    workingSet: Math.max(0, kb("MemTotal") - kb("MemAvailable")),
    time: Date.now(),
  };
}

export function podUsage(context: PodContext, pod: coreV1.Pod): Usage | undefined {
  const usage = cgroupUsage(podCgroup(context.node.cgroupRoot, pod));
  if (!usage) return undefined;
  return { cpu: Number(usage.cpu) / 1e9, memory: Number(usage.memory), workingSet: Number(usage.workingSet), time: Date.now() };
}

const iso = (ms: number) => new Date(ms).toISOString();

/** CPU time at the last look, for the rate since then. */
const last = new Map<string, Usage>();

function cpuRate(key: string, usage: Usage): number | undefined {
  const before = last.get(key);
  if (!before || usage.time - before.time >= 1000) last.set(key, usage);
  if (!before || usage.time <= before.time) return undefined;
  return Math.round(((usage.cpu - before.cpu) * 1e9) / ((usage.time - before.time) / 1000));
}

function shape(key: string, usage: Usage) {
  const rate = cpuRate(key, usage);
  const time = iso(usage.time);
  return {
    cpu: { time, ...(rate === undefined ? {} : { usageNanoCores: rate }), usageCoreNanoSeconds: Math.round(usage.cpu * 1e9) },
    memory: { time, usageBytes: usage.memory, workingSetBytes: usage.workingSet },
  };
}

export async function summary(context: PodContext, pods: PodManager, nodeName: string): Promise<unknown> {
  const containers = await containerUsages(context);
  const fs = fileSystem(context.node.rootDir);
  return {
    node: {
      nodeName,
      startTime: iso(Date.now() - Number(readFileSync("/proc/uptime", "utf8").split(" ")[0]) * 1000),
      ...shape("node", nodeUsage()),
      fs: {
        time: iso(Date.now()),
        availableBytes: fs.available,
        capacityBytes: fs.total,
        usedBytes: fs.total - fs.available,
        inodesFree: fs.inodesFree,
        inodes: fs.inodes,
      },
      runtime: { containerFs: { availableBytes: fs.available, capacityBytes: fs.total } },
      cpus: availableParallelism(),
    },
    pods: pods.pods.map((pod) => {
      const uid = pod.metadata.uid!;
      const own = containers.filter((c) => c.podUid === uid);
      const usage = podUsage(context, pod);
      return {
        podRef: { name: pod.metadata.name, namespace: pod.metadata.namespace, uid },
        startTime: pod.status?.startTime,
        containers: own.map((c) => ({
          name: c.container,
          startTime: iso(c.startedAt),
          ...shape(`${uid}/${c.container}/${c.startedAt}`, c),
          ...(c.rootfs === undefined ? {} : { rootfs: { time: iso(c.time), usedBytes: c.rootfs } }),
        })),
        ...(usage ? shape(uid, usage) : {}),
      };
    }),
  };
}
