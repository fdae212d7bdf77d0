// `kubun node`: one further node of a cluster on this machine. `up --nodes`
// runs it inside the node's network namespace.
import { readFileSync } from "node:fs";
import { setVerbosity } from "../platform/log.ts";
import { componentRows, serveControl } from "./cluster/control.ts";
import { startNode } from "./cluster/node.ts";
import { type NodeProcessFile, nodeFile } from "./cluster/node-processes.ts";
import { nodeSpec } from "./cluster/node-spec.ts";
import { Pki } from "./cluster/pki.ts";
import { DetachedProgress } from "./cluster/progress.ts";
import { DataDir } from "./cluster/state.ts";
import { command, integer, text, UsageError, verbosity } from "./flags.ts";

async function start(dir: DataDir, index: number, progress: DetachedProgress) {
  const cluster = dir.read();
  if (!cluster) throw new UsageError(`no cluster in ${dir.path}`);
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
  return { node: await startNode(spec, pki, transport, progress), server: settings.server, kubeconfig: cluster.kubeconfig ?? "" };
}

export default command({
  name: "node",
  summary: "Runs one further node of a cluster (used by up --nodes)",
  flags: {
    "data-dir": text("DIR", ".kubun", "folder that holds all of the cluster's data"),
    index: integer("N", 1, "which node", [1, 99]),
    v: verbosity,
  },
  async run(values) {
    setVerbosity(values.v);
    const ended = new Promise<void>((done) => {
      for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => done());
    });
    const progress = new DetachedProgress();
    try {
      const { node, server, kubeconfig } = await start(new DataDir(values["data-dir"]), values.index, progress);
      const control = serveControl(node.spec.runDir, () => componentRows(node.components, node.spec.name));
      progress.send({ type: "ready", server, kubeconfig });
      await ended;
      control.stop();
      for (const c of [...node.components].reverse()) await c.stop();
      return 0;
    } catch (e) {
      progress.send({ type: "failed", message: e instanceof Error ? e.message : String(e), usage: e instanceof UsageError });
      throw e;
    }
  },
});
