// How `status` and `down` talk to a running `up`: HTTP on a unix socket in the
// run directory.
import { rmSync } from "node:fs";
import { join } from "node:path";

export interface ComponentStatus {
  name: string;
  healthy: boolean;
  /** Why not, in words. */
  message: string;
  version: string;
  address: string;
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

export function serveControl(runDir: string, status: () => Promise<ClusterStatus>): { stop(): void } {
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

/** Throws when nobody listens. */
export async function fetchStatus(runDir: string, timeout = 5000): Promise<ClusterStatus> {
  const response = await fetch("http://kubun/status", { unix: controlSocket(runDir), signal: AbortSignal.timeout(timeout) });
  if (!response.ok) throw new Error(`status: HTTP ${response.status}`);
  return (await response.json()) as ClusterStatus;
}
