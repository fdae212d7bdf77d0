// `kubun status`: what runs, how it is, and where it can be reached.
import { type ClusterStatus, fetchStatus } from "./cluster/control.ts";
import { DataDir, isRunning } from "./cluster/state.ts";
import { choice, command, text } from "./flags.ts";

const mib = (bytes: number) => `${(bytes / 1024 / 1024).toFixed(0)} MiB`;

function table(rows: string[][]): string {
  const widths = rows[0]!.map((_, i) => Math.max(...rows.map((r) => r[i]!.length)));
  return rows
    .map((r) =>
      r
        .map((c, i) => c.padEnd(widths[i]!))
        .join("   ")
        .trimEnd(),
    )
    .join("\n");
}

function render(s: ClusterStatus): string {
  const components = [
    ["COMPONENT", "NODE", "HEALTH", "VERSION", "ADDRESS", "PID", "MEMORY"],
    ...s.components.map((c) => [
      c.name,
      c.node || "-",
      c.healthy ? "ok" : c.message,
      c.version || "-",
      c.address || "-",
      c.pid ? String(c.pid) : "-",
      c.pid ? mib(c.memory) : "-",
    ]),
  ];
  const nodes = [
    ["NODE", "STATUS", "ADDRESS", "VERSION", "RUNTIME", "PODS"],
    ...s.nodes.map((n) => [n.name, n.ready ? "Ready" : "NotReady", n.address, n.version, n.runtime, String(n.pods)]),
  ];
  const processes = new Map(s.components.filter((c) => c.pid > 0).map((c) => [c.pid, c.memory]));
  const total = [...processes.values()].reduce((a, b) => a + b, 0);
  return `cluster ${s.id} at ${s.server}: ${s.ready ? "ready" : "not ready"}, ${mib(total)} in ${processes.size} process${processes.size === 1 ? "" : "es"}\n\n${table(components)}\n${s.nodes.length ? `\n${table(nodes)}\n` : ""}`;
}

export default command({
  name: "status",
  summary: "Tells what of a cluster runs and how it is",
  flags: {
    "data-dir": text("DIR", ".kubun", "folder that holds all of the cluster's data"),
    output: { ...choice(["text", "json"], "text", "how to print it"), short: "o" },
  },
  async run(values) {
    const dir = new DataDir(values["data-dir"]);
    const cluster = dir.read();
    if (!isRunning(cluster)) {
      const why = cluster
        ? `the cluster in ${dir.path} is not running; 'kubun up' starts it`
        : `no cluster in ${dir.path}; 'kubun up' makes one`;
      if (values.output === "json")
        process.stdout.write(`${JSON.stringify({ ready: false, message: why, components: [], nodes: [] }, null, 2)}\n`);
      else process.stderr.write(`${why}\n`);
      return 1;
    }
    const status = await fetchStatus(cluster.runDir);
    process.stdout.write(values.output === "json" ? `${JSON.stringify(status, null, 2)}\n` : render(status));
    return status.ready ? 0 : 1;
  },
});
