// How `status` and `down` talk to a running `up`, and `up` to the processes of
// further nodes: HTTP on a unix socket in the run directory.
import { rmSync } from "node:fs";
import { join } from "node:path";
import type { Component } from "../../platform/component.ts";
import { VERSION } from "../../platform/version.ts";

export interface ComponentStatus {
  name: string;
  /** The node that it serves; "" for the control plane. */
  node: string;
  healthy: boolean;
  /** Why not, in words. */
  message: string;
  version: string;
  address: string;
  /** 0 where it runs elsewhere, or not at all. */
  pid: number;
  /** Resident bytes of the process it runs in. */
  memory: number;
}

export interface NodeStatus {
  name: string;
  ready: boolean;
  address: string;
  version: string;
  runtime: string;
  pods: number;
}

export interface ClusterStatus {
  id: string;
  ready: boolean;
  server: string;
  components: ComponentStatus[];
  nodes: NodeStatus[];
}

export const controlSocket = (runDir: string) => join(runDir, "kubun.sock");

/** What runs in this process for `node`. */
export function componentRows(components: readonly Component[], node: string): ComponentStatus[] {
  const memory = process.memoryUsage.rss();
  return components.map((c) => {
    const why = c.notReady();
    const here = c.elsewhere === undefined;
    return {
      name: c.name,
      node,
      healthy: why === undefined,
      message: why ?? "",
      version: c.elsewhere ?? VERSION,
      address: c.address ?? "",
      pid: here ? process.pid : 0,
      memory: here ? memory : 0,
    };
  });
}

export function serveControl(
  runDir: string,
  status: () => Promise<ClusterStatus | ComponentStatus[]> | ComponentStatus[],
): { stop(): void } {
  const unix = controlSocket(runDir);
  rmSync(unix, { force: true });
  const server = Bun.serve({
    unix,
    async fetch(request) {
      if (new URL(request.url).pathname === "/status") return Response.json(await status());
      return new Response("not found\n", { status: 404 });
    },
  });
  return {
    stop() {
      void server.stop(true);
      rmSync(unix, { force: true });
    },
  };
}

async function ask(runDir: string, timeout: number): Promise<unknown> {
  const response = await fetch("http://kubun/status", {
    unix: controlSocket(runDir),
    signal: AbortSignal.timeout(timeout),
    keepalive: false,
  });
  if (!response.ok) throw new Error(`status: HTTP ${response.status}`);
  return response.json();
}

/** Throws when nobody listens. */
export const fetchStatus = async (runDir: string, timeout = 5000) => (await ask(runDir, timeout)) as ClusterStatus;

/** What runs in the process of a further node. Throws when nobody listens. */
export const fetchComponents = async (runDir: string, timeout = 2000) => (await ask(runDir, timeout)) as ComponentStatus[];
