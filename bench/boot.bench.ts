// How long a user waits: from nothing to a Ready cluster, from apply to the
// first answer, and what the idle cluster costs in memory. There is no peer to
// run beside it on such a machine; the aims stand in the last column.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type BenchOptions, type Row, spread } from "./report.ts";

const root = join(import.meta.dirname, "..");
const main = join(root, "src/main.ts");

async function ok(command: string[], env: Record<string, string> = {}): Promise<string> {
  const p = Bun.spawn(command, { env: { ...process.env, ...env }, stdout: "pipe", stderr: "pipe" });
  const [out, err, code] = await Promise.all([new Response(p.stdout).text(), new Response(p.stderr).text(), p.exited]);
  if (code !== 0) throw new Error(`${command.join(" ")}: exit code ${code}\n${out}${err}`);
  return out;
}

const residentMiB = (pid: number) => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))![1]) / 1024;

interface Figures {
  ready: number;
  again: number;
  served: number;
  memory: number;
}

async function once(): Promise<Figures> {
  const dir = mkdtempSync(join(tmpdir(), "kubun-bench-"));
  const data = join(dir, "data");
  const flags = [`--data-dir=${data}`, "--port=0", "--pod-cidr=10.245.0.0/16", "--service-cidr=10.97.0.0/16", "--runtime=embedded"];
  const env = { KUBECONFIG: join(data, "admin.kubeconfig"), HOME: dir };
  const up = async () => {
    const started = performance.now();
    await ok([process.execPath, main, "up", "--detach", ...flags]);
    return (performance.now() - started) / 1000;
  };
  try {
    const ready = await up();
    const applied = performance.now();
    await ok(["kubectl", "apply", "-f", join(root, "examples/hello")], env);
    const port = (await ok(["kubectl", "get", "service", "hello", "-o", "jsonpath={.spec.ports[0].nodePort}"], env)).trim();
    for (;;) {
      try {
        const r = await fetch(`http://127.0.0.1:${port}/`, { keepalive: false, signal: AbortSignal.timeout(500) });
        if ((await r.text()).startsWith("Hello from")) break;
      } catch {
        // Refused until the first endpoint is ready.
        await Bun.sleep(2);
      }
      if (performance.now() - applied > 60_000) throw new Error("no answer within a minute of apply");
    }
    const served = (performance.now() - applied) / 1000;
    await ok(["kubectl", "delete", "-f", join(root, "examples/hello"), "--wait"], env);
    const pid = JSON.parse(readFileSync(join(data, "cluster.json"), "utf8")).pid as number;
    // Idle means that its caches have settled: two readings alike.
    let memory = residentMiB(pid);
    for (let i = 0; i < 20; i++) {
      await Bun.sleep(250);
      const now = residentMiB(pid);
      if (Math.abs(now - memory) < 0.5) break;
      memory = now;
    }
    await ok([process.execPath, main, "down", `--data-dir=${data}`]);
    const again = await up();
    return { ready, again, served, memory };
  } finally {
    await ok([process.execPath, main, "down", "--purge", `--data-dir=${data}`]);
    rmSync(dir, { recursive: true, force: true });
  }
}

export default async function boot({ quick }: BenchOptions): Promise<Row[]> {
  const runs: Figures[] = [];
  for (let i = 0; i < (quick ? 3 : 5); i++) runs.push(await once());
  const row = (metric: string, unit: string, pick: (f: Figures) => number, aim: string): Row => ({
    name: "boot",
    metric,
    unit,
    ours: spread(runs.map(pick)),
    peer: null,
    peerValue: null,
    ratio: null,
    aim,
  });
  return [
    row("from nothing to every component ready and the node Ready", "s", (f) => f.ready, "< 1, goal 0.5"),
    row("the same with an existing data directory", "s", (f) => f.again, "< 1, goal 0.5"),
    row("from kubectl apply to the first served request", "s", (f) => f.served, "< 1, goal 0.5"),
    row("resident memory of all of kubun, idle", "MiB", (f) => f.memory, "< 200, goal 100"),
  ];
}
