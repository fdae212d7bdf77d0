// The CRI's RuntimeService over sandboxes and containers.
import { CgroupDriver, RuntimeService } from "../../rpc/gen/cri/runtime_pb.ts";
import { type Service, service } from "../../rpc/service.ts";
import { Code, RpcError, type ServiceImpl } from "../../rpc/types.ts";
import { loadConfig } from "../cni/config.ts";
import type { Containers } from "../container/containers.ts";
import { type ExecTarget, execSync } from "../container/exec.ts";
import type { ContainerRecord } from "../container/record.ts";
import type { StatsCollector } from "../container/stats.ts";
import { message } from "../errors.ts";
import type { EventStream } from "../events.ts";
import type { OciRuntime } from "../oci/runtime.ts";
import { HANDLERS, type Sandboxes } from "../sandbox/sandboxes.ts";
import type { StreamingServer } from "../streaming/server.ts";
import { containerItem, containerStatus, info, matchesContainer, matchesSandbox, sandboxItem, sandboxStatus } from "./convert.ts";

export interface RuntimeServiceOptions {
  version: string;
  sandboxes: Sandboxes;
  containers: Containers;
  stats: StatsCollector;
  events: EventStream;
  oci: OciRuntime;
  streaming: StreamingServer;
  cniConfDir: string;
}

/** Milliseconds between SIGTERM and SIGKILL when a pod is stopped with containers in it. */
const SANDBOX_STOP = 0;

const unimplemented = (what: string) => new RpcError(Code.Unimplemented, `${what} is not implemented`);

export function runtimeService(o: RuntimeServiceOptions): Service {
  const { sandboxes, containers } = o;

  const execTarget = (record: ContainerRecord): ExecTarget => ({
    id: record.id,
    bundle: containers.dir(record),
    spec: containers.spec(record),
    runtime: o.oci,
  });

  async function stopSandbox(id: string): Promise<void> {
    const record = sandboxes.find(id);
    if (record === undefined) return;
    await Promise.all(containers.ofSandbox(record.id).map((c) => containers.stop(c.id, SANDBOX_STOP)));
    await sandboxes.stop(record);
  }

  function network(): { status: boolean; reason: string; message: string } {
    try {
      loadConfig(o.cniConfDir);
      return { status: true, reason: "", message: "" };
    } catch (error) {
      return {
        status: false,
        reason: "NetworkPluginNotReady",
        message: `Network plugin returns error: cni plugin not initialized: ${message(error)}`,
      };
    }
  }

  const sandboxStats = (id: string) => {
    const record = sandboxes.get(id);
    const inside = containers.ofSandbox(record.id).filter((c) => c.exit === undefined);
    return o.stats.sandbox(
      record,
      sandboxes.cgroupParent(record),
      inside.map((c) => o.stats.container(c, containers.dir(c))),
    );
  };

  const impl: ServiceImpl<typeof RuntimeService> = {
    version: () => ({ version: "0.1.0", runtimeName: "kubun", runtimeVersion: o.version, runtimeApiVersion: "v1" }),

    status: ({ verbose }) => {
      const net = network();
      return {
        status: {
          conditions: [
            { type: "RuntimeReady", status: true, reason: "", message: "" },
            { type: "NetworkReady", ...net },
          ],
        },
        info: info(verbose, "config", () => ({ ociRuntime: o.oci.path, cniConfDir: o.cniConfDir })),
        runtimeHandlers: HANDLERS.map((name) => ({ name, features: { recursiveReadOnlyMounts: true, userNamespaces: false } })),
        features: { supplementalGroupsPolicy: true },
      };
    },

    runtimeConfig: () => ({ linux: { cgroupDriver: CgroupDriver.CGROUPFS } }),
    updateRuntimeConfig: () => ({}),

    async runPodSandbox({ config, runtimeHandler }) {
      if (config?.metadata === undefined) throw new RpcError(Code.InvalidArgument, "sandbox config must include metadata");
      return { podSandboxId: (await sandboxes.run(config, runtimeHandler)).id };
    },

    async stopPodSandbox({ podSandboxId }) {
      await stopSandbox(podSandboxId);
      return {};
    },

    async removePodSandbox({ podSandboxId }) {
      const record = sandboxes.find(podSandboxId);
      if (record === undefined) return {};
      await stopSandbox(record.id);
      for (const c of containers.ofSandbox(record.id)) await containers.remove(c.id);
      await sandboxes.remove(record);
      o.stats.forget(record.id);
      return {};
    },

    podSandboxStatus: ({ podSandboxId, verbose }) => {
      const record = sandboxes.get(podSandboxId);
      return {
        status: sandboxStatus(record),
        info: info(verbose, "info", () => ({ namespaces: record.namespaces, network: record.network?.result })),
        containersStatuses: containers.ofSandbox(record.id).map(containerStatus),
        timestamp: BigInt(Date.now()) * 1_000_000n,
      };
    },

    listPodSandbox: ({ filter }) => ({
      items: sandboxes
        .list()
        .filter((s) => matchesSandbox(s, filter))
        .map(sandboxItem),
    }),

    async createContainer({ podSandboxId, config }) {
      if (config === undefined) throw new RpcError(Code.InvalidArgument, "container config is missing");
      return { containerId: (await containers.create(sandboxes.get(podSandboxId), config)).id };
    },

    async startContainer({ containerId }) {
      await containers.start(containerId);
      return {};
    },

    async stopContainer({ containerId, timeout }) {
      await containers.stop(containerId, Number(timeout) * 1000);
      return {};
    },

    async removeContainer({ containerId }) {
      await containers.remove(containerId);
      o.stats.forget(containerId);
      return {};
    },

    listContainers: ({ filter }) => ({
      containers: containers
        .list()
        .filter((c) => matchesContainer(c, filter))
        .map(containerItem),
    }),

    containerStatus: ({ containerId, verbose }) => {
      const record = containers.get(containerId);
      return {
        status: containerStatus(record),
        info: info(verbose, "info", () => ({ pid: record.init?.pid, runtimeSpec: containers.spec(record) })),
      };
    },

    async updateContainerResources({ containerId, linux }) {
      if (linux !== undefined) await containers.update(containerId, linux);
      return {};
    },

    reopenContainerLog: ({ containerId }) => {
      containers.reopenLog(containerId);
      return {};
    },

    async execSync({ containerId, cmd, timeout }) {
      return await execSync(execTarget(containers.running(containerId)), cmd, Number(timeout) * 1000);
    },

    exec: ({ containerId, cmd, tty, stdin, stdout, stderr }) => {
      const target = execTarget(containers.running(containerId));
      return { url: o.streaming.exec({ target, cmd, tty, stdin, stdout, stderr }) };
    },

    attach: ({ containerId, stdin, stdout, stderr, tty }) => {
      const record = containers.running(containerId);
      return { url: o.streaming.attach({ bundle: containers.dir(record), tty, stdin, stdout, stderr }) };
    },

    portForward: ({ podSandboxId, port }) => {
      const record = sandboxes.get(podSandboxId);
      if (!record.ready) throw new RpcError(Code.Unknown, `sandbox container ${JSON.stringify(record.id)} is not running`);
      return { url: o.streaming.portForward({ netns: record.namespaces.net, ports: port }) };
    },

    containerStats: ({ containerId }) => {
      const record = containers.get(containerId);
      return { stats: o.stats.container(record, containers.dir(record)) };
    },

    listContainerStats: ({ filter }) => ({
      stats: containers
        .list()
        .filter((c) => c.exit === undefined && c.startedAt !== undefined && matchesContainer(c, filter))
        .map((c) => o.stats.container(c, containers.dir(c))),
    }),

    podSandboxStats: ({ podSandboxId }) => ({ stats: sandboxStats(podSandboxId) }),

    listPodSandboxStats: ({ filter }) => ({
      stats: sandboxes
        .list()
        .filter((s) => s.ready && matchesSandbox(s, filter as Parameters<typeof matchesSandbox>[1]))
        .map((s) => sandboxStats(s.id)),
    }),

    async *getContainerEvents(_, context) {
      for await (const event of o.events.subscribe(context.signal)) {
        const sandbox = sandboxes.find(event.sandboxId);
        yield {
          containerId: event.containerId,
          containerEventType: event.type,
          createdAt: event.at,
          podSandboxStatus: sandbox === undefined ? undefined : sandboxStatus(sandbox),
          containersStatuses: containers.ofSandbox(event.sandboxId).map(containerStatus),
        };
      }
    },

    checkpointContainer: () => {
      throw unimplemented("CheckpointContainer");
    },
    listMetricDescriptors: () => ({ descriptors: [] }),
    listPodSandboxMetrics: () => ({ podMetrics: [] }),
    updatePodSandboxResources: () => ({}),
  };
  return service(RuntimeService, impl);
}
