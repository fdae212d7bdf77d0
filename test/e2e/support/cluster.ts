// A cluster of its own for a test file, started the way a user does it, with
// networks that no other cluster of this machine has.
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { OutsideStore } from "./stores.ts";
import { kubectlOnPath, root } from "./tools.ts";

export interface Result {
  code: number;
  stdout: string;
  stderr: string;
}

export interface RunOptions {
  env?: Record<string, string>;
  cwd?: string;
  stdin?: string | Uint8Array;
  /** Milliseconds; then it is killed and the result has code -1. */
  timeout?: number;
}

/** Runs a program to its end. */
export async function run(command: string[], options: RunOptions = {}): Promise<Result> {
  const p = Bun.spawn(command, {
    cwd: options.cwd ?? root,
    env: { ...process.env, ...options.env },
    stdin: options.stdin === undefined ? "ignore" : new Blob([options.stdin as string]),
    stdout: "pipe",
    stderr: "pipe",
  });
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    p.kill("SIGKILL");
  }, options.timeout ?? 120_000);
  const [stdout, stderr, code] = await Promise.all([new Response(p.stdout).text(), new Response(p.stderr).text(), p.exited]);
  clearTimeout(timer);
  return { code: late ? -1 : code, stdout, stderr };
}

/** Runs a program that has to succeed; returns what it printed. */
export async function ok(command: string[], options: RunOptions = {}): Promise<string> {
  const r = await run(command, options);
  if (r.code !== 0) throw new Error(`${command.join(" ")}: exit code ${r.code}\n${r.stdout}${r.stderr}`);
  return r.stdout;
}

/** Waits for a condition; throws with what it last saw, and how the clusters are. */
export async function until<T>(
  what: string,
  probe: () => Promise<T | undefined | false> | T | undefined | false,
  timeout = 30_000,
): Promise<T> {
  const deadline = Date.now() + timeout;
  let last: unknown;
  for (;;) {
    try {
      const seen = await probe();
      if (seen) return seen;
      last = seen;
    } catch (e) {
      last = e;
    }
    if (Date.now() > deadline) {
      const seen = last instanceof Error ? last.message : String(last);
      throw new Error(`gave up after ${timeout} ms waiting for ${what}; last: ${seen}\n${await diagnoses()}`);
    }
    await Bun.sleep(50);
  }
}

export const runtime = (process.env.KUBUN_E2E_RUNTIME ?? "embedded") as "embedded" | "containerd";

/** `kubun ARGS` as a user runs it, without npm in front. */
export const kubun = (args: string[], options: RunOptions = {}) => run([process.execPath, join(root, "src/main.ts"), ...args], options);

// Networks are drawn per process, so that clusters of several test files can
// stand side by side, and not from those the machine has.
const routes = Bun.spawnSync(["ip", "-4", "route"], { stdout: "pipe" }).stdout.toString();
let slot = process.pid % 200;
const networks = (n: number) => ({ pods: `10.${40 + n}.`, services: `172.${16 + (n % 16)}.` });
const taken = (prefix: string) => [` ${prefix}`, `\n${prefix}`].some((start) => `\n${routes}`.includes(start));
for (let i = 0; i < 200 && Object.values(networks(slot)).some(taken); i++) slot = (slot + 1) % 200;

/** Clusters that are up, to tell of when a wait was in vain. */
const clusters = new Set<TestCluster>();

const diagnoses = async () => (await Promise.all([...clusters].map((c) => c.diagnosis()))).join("\n");

/** Commands of kubectl that wait, so that their failure says little of why. */
const WAITS = new Set(["rollout", "wait", "run"]);

export class TestCluster implements AsyncDisposable {
  readonly dir: string;
  readonly kubeconfig: string;
  readonly flags: string[];
  readonly #store: OutsideStore | undefined;

  private constructor(dir: string, extra: string[], store: OutsideStore | undefined) {
    this.#store = store;
    this.dir = dir;
    this.kubeconfig = join(dir, "data", "admin.kubeconfig");
    this.flags = [
      `--data-dir=${join(dir, "data")}`,
      "--port=0",
      `--pod-cidr=${networks(slot).pods}0.0/16`,
      `--service-cidr=${networks(slot).services}${16 * (slot % 14)}.0/20`,
      `--runtime=${runtime}`,
      ...(store?.flags ?? []),
      ...extra,
    ];
  }

  static async up(extra: string[] = []): Promise<TestCluster> {
    const dir = mkdtempSync(join(tmpdir(), "kubun-e2e-"));
    const { startStore, storeKind } = await import("./stores.ts");
    const store = storeKind === "embedded" ? undefined : await startStore(storeKind);
    const cluster = new TestCluster(dir, extra, store);
    try {
      await cluster.start();
    } catch (e) {
      await cluster[Symbol.asyncDispose]();
      throw e;
    }
    clusters.add(cluster);
    return cluster;
  }

  get dataDir(): string {
    return join(this.dir, "data");
  }

  /** Starts it, or starts it again. */
  async start(): Promise<void> {
    const r = await kubun(["up", "--detach", ...this.flags], { timeout: 60_000 });
    if (r.code !== 0) throw new Error(`up: exit code ${r.code}\n${r.stdout}${r.stderr}\n${this.log()}`);
  }

  /** cluster.json: id, pid, server, … */
  get state(): { id: string; pid: number; server: string; runDir: string; runtimeEndpoint: string } {
    return JSON.parse(readFileSync(join(this.dataDir, "cluster.json"), "utf8"));
  }

  /** The end of kubun's log, for error messages. */
  log(): string {
    try {
      return readFileSync(join(this.dataDir, "log/kubun.log"), "utf8").split("\n").slice(-40).join("\n");
    } catch {
      return "(no log)";
    }
  }

  /** What a person would look at first: nodes, pods, those that aren't ready, events and the log. */
  async diagnosis(): Promise<string> {
    const unready = [
      'go-template={{range .items}}{{$p := .}}{{range .status.conditions}}{{if eq .type "Ready"}}{{if ne .status "True"}}',
      "{{$p.metadata.namespace}}/{{$p.metadata.name}} {{end}}{{end}}{{end}}{{end}}",
    ].join("");
    const say = async (args: string[]) => {
      const { stdout, stderr } = await this.tryKubectl(args, { timeout: 5000 });
      return `--- kubectl ${args.slice(0, 4).join(" ")}\n${stdout}${stderr}`;
    };
    const names = (await this.tryKubectl(["get", "pods", "-A", "-o", unready], { timeout: 5000 })).stdout.trim();
    const parts = await Promise.all([
      say(["get", "nodes,pods", "-A", "-o", "wide"]),
      ...names
        .split(" ")
        .filter((name) => name !== "")
        .slice(0, 5)
        .map((name) => say(["describe", "pod", "-n", ...(name.split("/") as [string, string])])),
      say(["get", "events", "-A", "--sort-by=.lastTimestamp"]),
    ]);
    return [...parts, `--- ${join(this.dataDir, "log/kubun.log")}`, this.log()].join("\n");
  }

  env(): Record<string, string> {
    const home = join(this.dir, "home");
    mkdirSync(home, { recursive: true });
    return { KUBECONFIG: this.kubeconfig, HOME: home };
  }

  tryKubectl(args: string[], options: RunOptions & { kubectl?: string } = {}): Promise<Result> {
    return run([options.kubectl ?? kubectlOnPath(), ...args], { ...options, env: { ...this.env(), ...options.env } });
  }

  /** kubectl that has to succeed; returns what it printed. */
  async kubectl(args: string[], options: RunOptions & { kubectl?: string } = {}): Promise<string> {
    const r = await this.tryKubectl(args, options);
    if (r.code !== 0) {
      const why = WAITS.has(args[0] ?? "") ? `\n${await this.diagnosis()}` : "";
      throw new Error(`kubectl ${args.join(" ")}: exit code ${r.code}\n${r.stdout}${r.stderr}${why}`);
    }
    return r.stdout;
  }

  async json<T = Record<string, unknown>>(args: string[]): Promise<T> {
    return JSON.parse(await this.kubectl([...args, "-o", "json"])) as T;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clusters.delete(this);
    const r = await kubun(["down", "--purge", `--data-dir=${this.dataDir}`], { timeout: 60_000 });
    rmSync(this.dir, { recursive: true, force: true });
    await this.#store?.[Symbol.asyncDispose]();
    if (r.code !== 0) throw new Error(`down: exit code ${r.code}\n${r.stdout}${r.stderr}`);
  }
}
