// As much of an apiserver as kubectl's exec, attach and port-forward need, for tests.
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import type { Duplex } from "node:stream";
import type { Upgrade } from "../remotecommand/mod.ts";
import { selfSigned } from "./certificate.ts";

export interface TestApiserver {
  url: string;
  cert: string;
  /** What the upgrades asked for: "websocket" or "SPDY/3.1". */
  upgrades: string[];
  close(): Promise<void>;
}

const POD = {
  kind: "Pod",
  apiVersion: "v1",
  metadata: { name: "p", namespace: "default", uid: "1" },
  spec: { containers: [{ name: "c", image: "i", stdin: true, tty: false, ports: [{ containerPort: 80 }] }] },
  status: { phase: "Running" },
};
const resource = (name: string) => ({ name, singularName: "", namespaced: true, kind: "Pod", verbs: ["get", "create"] });
const ANSWERS: Record<string, unknown> = {
  "/api": { kind: "APIVersions", versions: ["v1"] },
  "/apis": { kind: "APIGroupList", apiVersion: "v1", groups: [] },
  "/api/v1": {
    kind: "APIResourceList",
    groupVersion: "v1",
    resources: ["pods", "pods/exec", "pods/attach", "pods/portforward"].map(resource),
  },
  "/api/v1/namespaces/default/pods/p": POD,
};

export async function testApiserver(serve: (upgrade: Upgrade, url: URL) => void): Promise<TestApiserver> {
  const { cert, key } = await selfSigned("testserver");
  const upgrades: string[] = [];
  const sockets = new Set<Duplex>();
  const server = createServer({ cert, key }, (request, response) => {
    const answer = ANSWERS[new URL(request.url!, "https://x").pathname];
    response.writeHead(answer ? 200 : 404, { "content-type": "application/json" });
    response.end(JSON.stringify(answer ?? { kind: "Status", apiVersion: "v1", status: "Failure", reason: "NotFound", code: 404 }));
  });
  server.on("upgrade", (request, socket, head) => {
    sockets.add(socket);
    upgrades.push(String(request.headers.upgrade));
    serve({ request, socket, head }, new URL(request.url!, "https://x"));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `https://127.0.0.1:${(server.address() as AddressInfo).port}`,
    cert,
    upgrades,
    async close() {
      for (const socket of sockets) socket.destroy();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
