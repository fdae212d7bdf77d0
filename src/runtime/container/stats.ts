// What containers and pods use.
import { existsSync, lstatSync, readdirSync } from "node:fs";
import { join } from "node:path";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { type CgroupUsage, cgroupUsage } from "../../platform/cgroup.ts";
import { linkCounters } from "../../platform/netns.ts";
import type { ContainerStatsSchema, PodSandboxStatsSchema } from "../../rpc/gen/cri/runtime_pb.ts";
import type { SandboxRecord } from "../sandbox/record.ts";
import type { ContainerRecord } from "./record.ts";
import { upperOf } from "./rootfs.ts";

type ContainerStats = MessageInitShape<typeof ContainerStatsSchema>;
type PodSandboxStats = MessageInitShape<typeof PodSandboxStatsSchema>;

const now = () => BigInt(Date.now()) * 1_000_000n;
const u = (value: bigint) => ({ value });

/** Two looks at a CPU counter closer than this say nothing about its rate. Nanoseconds. */
const MIN_INTERVAL = 1_000_000_000n;

interface Sample {
  at: bigint;
  cpu: bigint;
  rate: bigint;
}

/** Keeps the last looks at CPU counters, for rates. */
export class StatsCollector {
  readonly #samples = new Map<string, Sample>();

  forget(id: string): void {
    this.#samples.delete(id);
  }

  container(record: ContainerRecord, dir: string): ContainerStats {
    const usage = record.exit === undefined ? cgroupUsage(record.cgroupPath) : undefined;
    const disk = diskUsage(upperOf(dir));
    return {
      attributes: {
        id: record.id,
        metadata: record.config.metadata,
        labels: record.config.labels,
        annotations: record.config.annotations,
      },
      ...(usage === undefined ? {} : this.#usage(record.id, usage)),
      ...(usage === undefined ? {} : { swap: { timestamp: now(), swapUsageBytes: u(usage.swap) } }),
      writableLayer: {
        timestamp: now(),
        fsId: { mountpoint: upperOf(dir) },
        usedBytes: u(disk.bytes),
        inodesUsed: u(disk.inodes),
      },
    };
  }

  sandbox(record: SandboxRecord, cgroupPath: string, containers: ContainerStats[]): PodSandboxStats {
    const usage = cgroupUsage(cgroupPath);
    const { metadata, labels, annotations } = record.config;
    return {
      attributes: { id: record.id, metadata, labels, annotations },
      linux: {
        ...(usage === undefined ? {} : this.#usage(record.id, usage)),
        ...(usage === undefined ? {} : { process: { timestamp: now(), processCount: u(usage.processes) } }),
        ...this.#network(record),
        containers,
      },
    };
  }

  #network(record: SandboxRecord): { network?: NonNullable<PodSandboxStats["linux"]>["network"] } {
    const pin = record.namespaces.net;
    if (!record.ready || pin === undefined || !existsSync(pin)) return {};
    const links = linkCounters(pin).map((l) => ({
      name: l.name,
      rxBytes: u(l.rxBytes),
      rxErrors: u(l.rxErrors),
      txBytes: u(l.txBytes),
      txErrors: u(l.txErrors),
    }));
    return { network: { timestamp: now(), defaultInterface: links.find((l) => l.name === "eth0"), interfaces: links } };
  }

  #usage(id: string, usage: CgroupUsage): Pick<ContainerStats, "cpu" | "memory"> {
    const at = now();
    const before = this.#samples.get(id);
    let rate = before?.rate ?? 0n;
    if (before === undefined || at - before.at >= MIN_INTERVAL) {
      if (before !== undefined && usage.cpu >= before.cpu) rate = ((usage.cpu - before.cpu) * 1_000_000_000n) / (at - before.at);
      this.#samples.set(id, { at, cpu: usage.cpu, rate });
    }
    const limit = usage.memoryLimit;
    return {
      cpu: { timestamp: at, usageCoreNanoSeconds: u(usage.cpu), ...(before === undefined ? {} : { usageNanoCores: u(rate) }) },
      memory: {
        timestamp: at,
        workingSetBytes: u(usage.workingSet),
        usageBytes: u(usage.memory),
        rssBytes: u(usage.rss),
        pageFaults: u(usage.pageFaults),
        majorPageFaults: u(usage.majorPageFaults),
        ...(limit === undefined ? {} : { availableBytes: u(limit > usage.workingSet ? limit - usage.workingSet : 0n) }),
      },
    };
  }
}

/** Blocks and inodes of a folder, as du(1) counts them. */
export function diskUsage(dir: string): { bytes: bigint; inodes: bigint } {
  let bytes = 0n;
  let inodes = 0n;
  const todo = [dir];
  for (let at = todo.pop(); at !== undefined; at = todo.pop()) {
    const s = lstatSync(at, { throwIfNoEntry: false });
    if (s === undefined) continue;
    bytes += BigInt(s.blocks) * 512n;
    inodes += 1n;
    if (s.isDirectory()) for (const name of readdirSync(at)) todo.push(join(at, name));
  }
  return { bytes, inodes };
}
