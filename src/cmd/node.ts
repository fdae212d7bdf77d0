// `kubun node`: one further node of a cluster on this machine. `up --nodes`
// runs it inside the node's network namespace.
import { readFileSync } from "node:fs";
import { componentRows, serveControl } from "./cluster/control.ts";
import { startNode } from "./cluster/node.ts";
import { type NodeProcessFile, nodeFile } from "./cluster/node-processes.ts";
import { nodeSpec } from "./cluster/node-spec.ts";
import { Pki } from "./cluster/pki.ts";
import type { Progress } from "./cluster/progress.ts";
import type { ClusterFile, DataDir } from "./cluster/state.ts";
import { partCommand } from "./part.ts";

async function startFurther(dir: DataDir, cluster: ClusterFile, index: number, progress: Progress) {
  const settings = JSON.parse(readFileSync(nodeFile(cluster, index), "utf8")) as NodeProcessFile;
  const pki = await Pki.open(dir.file("pki"));
  const { HttpTransport } = await import("../client/http.ts");
  const spec = nodeSpec(dir, cluster, { index, ip: settings.ip, runtime: settings.runtime, endpoint: "", hostNetworks: [] });
  const certs = await Promise.all([
    pki.leaf({ name: `${spec.name}-kubelet-client`, commonName: `system:node:${spec.name}`, organizations: ["system:nodes"] }),
    pki.leaf({ name: `${spec.name}-proxy-client`, commonName: "system:kube-proxy", organizations: ["system:node-proxier"] }),
  ]);
  const transport = (user: string) => {
    const pair = user.startsWith("system:node:") ? certs[0] : certs[1];
    return new HttpTransport({ server: settings.server, ca: pki.ca.cert, cert: pair.cert, key: pair.key });
  };
  return { node: await startNode(spec, pki, transport, progress), server: settings.server };
}

export default partCommand({
  name: "node",
  summary: "Runs one further node of a cluster (used by up --nodes)",
  index: [1, "which node", [1, 99]],
  async start({ dir, cluster, index, progress }) {
    const { node, server } = await startFurther(dir, cluster, index, progress);
    const control = serveControl(node.spec.runDir, () => componentRows(node.components, node.spec.name));
    return {
      server,
      kubeconfig: cluster.kubeconfig,
      async stop() {
        control.stop();
        for (const c of [...node.components].reverse()) await c.stop();
      },
    };
  },
});
