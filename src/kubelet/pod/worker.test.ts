import { afterEach, beforeEach, expect, test } from "bun:test";
import { existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { logger } from "../../platform/log.ts";
import { makePod, runtimePod, sandbox } from "../testing/pods.ts";
import type { PodContext } from "./context.ts";
import { PodWorker } from "./worker.ts";

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "worker-"));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

/** A node on which each step of taking a pod away fails once. */
function troubledNode() {
  const tried = new Map<string, number>();
  const step = async (name: string): Promise<void> => {
    const times = (tried.get(name) ?? 0) + 1;
    tried.set(name, times);
    if (times === 1) throw new Error(`${name} failed`);
  };
  const rt = runtimePod([sandbox()], []);
  const context = {
    pleg: { get: () => rt, refresh: async () => rt },
    cri: { runtime: { stopPodSandbox: async () => {}, removePodSandbox: () => step("removePodSandbox") } },
    probes: { sync() {}, remove() {}, started: () => false, ready: () => false },
    statuses: { forget() {} },
    volumes: { tearDown: (_: string, keep: boolean) => step(`tearDown, ${keep ? "keeping" : "removing"}`) },
    cgroups: { remove: async () => {} },
    objects: { release() {} },
    backoff: { forget() {} },
    events: { event() {} },
    log: logger("worker-test"),
    runtimeName: "test",
    hostIPs: ["10.0.0.1"],
    node: { rootDir: dir, podLogsDir: join(dir, "logs"), cgroupRoot: "/", hostname: "n1", clusterDomain: "cluster.local", memory: 1 },
    dns: () => ({ clusterDns: [], clusterDomain: "cluster.local", host: { servers: [], searches: [], options: [] } }),
  } as unknown as PodContext;
  return { context, tried };
}

test("a pod is taken away although each step of that fails once", async () => {
  const { context, tried } = troubledNode();
  const logs = join(dir, "logs", "ns_p_u1");
  mkdirSync(logs, { recursive: true });
  const done = Promise.withResolvers<string>();
  const worker = new PodWorker(context, makePod(), done.resolve);
  worker.remove();
  expect(await done.promise).toBe("u1");
  expect(tried.get("removePodSandbox")).toBe(2);
  expect(tried.get("tearDown, removing")).toBeGreaterThan(1);
  expect(existsSync(logs)).toBe(false);
});
