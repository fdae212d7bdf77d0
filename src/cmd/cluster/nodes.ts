// The nodes of a cluster: their names, their networks, and where each keeps its
// things.
import { existsSync, readdirSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { UsageError } from "../flags.ts";
import { formatIp, parseCidr } from "./cidr.ts";
import type { ClusterFile, DataDir } from "./state.ts";

/** A node's name, as upstream's kubelet takes it from the host. */
export const nodeName = (index: number) => (index === 0 ? hostname().toLowerCase() : `${hostname().toLowerCase()}-${index + 1}`);

/** The n-th /24 of the pod network. */
export function podCidrOf(clusterPodCidr: string, index: number): string {
  const all = parseCidr(clusterPodCidr);
  if (index >= 2 ** (24 - all.bits)) throw new UsageError(`--pod-cidr ${clusterPodCidr} has no /24 left for node ${index + 1}`);
  return `${formatIp(all.base + index * 256)}/24`;
}

export const cgroupRootOf = (clusterId: string) => `/kubun-${clusterId}`;

export interface NodeHome {
  index: number;
  /** Folder of what outlives a start. */
  dir: string;
  /** Short folder for sockets. */
  runDir: string;
  cgroupRoot: string;
}

export function nodeHome(dir: DataDir, cluster: Pick<ClusterFile, "id" | "runDir">, index: number): NodeHome {
  const root = cgroupRootOf(cluster.id);
  if (index === 0) return { index, dir: dir.file("node"), runDir: cluster.runDir, cgroupRoot: root };
  const name = `node${index + 1}`;
  return { index, dir: dir.file(name), runDir: join(cluster.runDir, `n${index + 1}`), cgroupRoot: `${root}/${name}` };
}

/** The nodes that the data directory holds, also after a crash. */
export function nodeHomes(dir: DataDir, cluster: Pick<ClusterFile, "id" | "runDir">): NodeHome[] {
  if (!existsSync(dir.path)) return [];
  return readdirSync(dir.path)
    .flatMap((name) => (/^node\d*$/.test(name) ? [Number(name.slice(4) || 1) - 1] : []))
    .sort((a, b) => a - b)
    .map((index) => nodeHome(dir, cluster, index));
}
