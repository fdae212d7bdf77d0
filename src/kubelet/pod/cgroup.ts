// The cgroup of a pod: made before its sandbox, so that all its containers
// together stay within what it asked for, and removed after it.
import { readFileSync, writeFileSync } from "node:fs";
import type * as coreV1 from "../../api/gen/core/v1.ts";
import { cgroupDir, cgroups, createCgroup, removeCgroup } from "../../platform/cgroup.ts";
import type { Logger } from "../../platform/log.ts";
import { cpuQuota, cpuShares, podCgroup, podTotals } from "./resources.ts";

/** cpu.weight of cgroup v2 for cpu.shares of v1 (KEP-2254). */
export const cpuWeight = (shares: number): number => Math.max(1, Math.floor(1 + ((shares - 2) * 9999) / 262_142));

function settings(pod: coreV1.Pod, version: 1 | 2): [controller: string, file: string, value: string][] {
  const totals = podTotals(pod.spec);
  const shares = cpuShares(totals.cpuRequest);
  const quota = totals.cpuLimit ? cpuQuota(totals.cpuLimit) : undefined;
  const memory = totals.memoryLimit || undefined;
  if (version === 2) {
    return [
      ["cpu", "cpu.weight", String(cpuWeight(shares))],
      ...(quota ? [["cpu", "cpu.max", `${quota} 100000`] as [string, string, string]] : []),
      ...(memory ? [["memory", "memory.max", String(memory)] as [string, string, string]] : []),
    ];
  }
  return [
    ["cpu", "cpu.shares", String(shares)],
    ...(quota ? [["cpu", "cpu.cfs_quota_us", String(quota)] as [string, string, string]] : []),
    ...(memory ? [["memory", "memory.limit_in_bytes", String(memory)] as [string, string, string]] : []),
  ];
}

/** Lets the groups below have the controllers; in v2 each level has to be told. */
function delegate(path: string): void {
  const parts = path.split("/").filter((p) => p !== "");
  for (let i = 0; i < parts.length; i++) {
    const dir = cgroupDir("", parts.slice(0, i).join("/"));
    if (!dir) return;
    const there = readFileSync(`${dir}/cgroup.controllers`, "utf8").trim().split(" ");
    const enabled = readFileSync(`${dir}/cgroup.subtree_control`, "utf8").trim().split(" ");
    const wanted = ["cpu", "memory", "pids"].filter((c) => there.includes(c) && !enabled.includes(c));
    if (wanted.length > 0) writeFileSync(`${dir}/cgroup.subtree_control`, wanted.map((c) => `+${c}`).join(" "));
  }
}

export class PodCgroups {
  readonly #root: string;
  readonly #log: Logger;
  #warned = false;

  constructor(root: string, log: Logger) {
    this.#root = root;
    this.#log = log;
  }

  /** Makes and sets the cgroup; a kernel that refuses costs the limit of the pod as a whole, with a warning. */
  create(pod: coreV1.Pod): void {
    const path = podCgroup(this.#root, pod);
    try {
      createCgroup(path);
      if (cgroups().version === 2) delegate(path);
      for (const [controller, file, value] of settings(pod, cgroups().version)) {
        const dir = cgroupDir(controller, path);
        if (dir) writeFileSync(`${dir}/${file}`, value);
      }
    } catch (error) {
      if (!this.#warned) this.#log.warn("Can't limit pods as a whole: their cgroups can't be set up", { cgroup: path, err: error });
      this.#warned = true;
    }
  }

  async remove(pod: coreV1.Pod): Promise<void> {
    try {
      await removeCgroup(podCgroup(this.#root, pod));
    } catch (error) {
      this.#log.warn("Could not remove the cgroup of a pod", { pod: `${pod.metadata.namespace}/${pod.metadata.name}`, err: error });
    }
  }
}
