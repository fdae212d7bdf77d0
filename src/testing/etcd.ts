// A real etcd, as the outside implementation to compare with.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { EtcdClient } from "../client/etcd-grpc.ts";
import { freePorts } from "./ports.ts";

/** Why there is no etcd to run, or undefined if there is one. */
export const noEtcd = Bun.which("etcd") ? undefined : "no etcd on PATH (Debian package etcd-server)";
export const noEtcdctl = Bun.which("etcdctl") ? undefined : "no etcdctl on PATH (Debian package etcd-client)";

/** Ends with this process, however that ends. */
const WITH_US = ["setpriv", "--pdeathsig", "KILL"];

export interface RealEtcd extends AsyncDisposable {
  /** host:port */
  endpoint: string;
  pid: number;
  /** A client of its own, closed with the etcd. */
  client(): EtcdClient;
}

/**
 * Starts an etcd in a folder of its own; resolves when it serves.
 *
 * @param scheme with "https", `flags` name the certificates
 */
export async function startEtcd(flags: readonly string[] = [], scheme: "http" | "https" = "http"): Promise<RealEtcd> {
  const dir = mkdtempSync(join(tmpdir(), "kubun-etcd-"));
  const [clientPort, peer, metrics] = freePorts(3) as [number, number, number];
  const endpoint = `127.0.0.1:${clientPort}`;
  const child = Bun.spawn(
    [
      ...WITH_US,
      "etcd",
      ...["--data-dir", dir, "--listen-client-urls", `${scheme}://${endpoint}`, "--advertise-client-urls", `${scheme}://${endpoint}`],
      // Its health without a certificate.
      ...(scheme === "https" ? ["--listen-metrics-urls", `http://127.0.0.1:${metrics}`] : []),
      ...["--listen-peer-urls", `http://127.0.0.1:${peer}`, "--initial-advertise-peer-urls", `http://127.0.0.1:${peer}`],
      ...["--initial-cluster", `default=http://127.0.0.1:${peer}`, "--logger", "zap", "--log-level", "error"],
      ...flags,
    ],
    { stdout: "ignore", stderr: "ignore" },
  );
  const clients: EtcdClient[] = [];
  const client = () => {
    const c = new EtcdClient({ endpoints: [`http://${endpoint}`] });
    clients.push(c);
    return c;
  };
  const stop = async () => {
    for (const c of clients.splice(0)) await c.close();
    child.kill("SIGKILL");
    await child.exited;
    rmSync(dir, { recursive: true, force: true });
  };
  const deadline = performance.now() + 30_000;
  for (;;) {
    const up = await fetch(`http://${scheme === "https" ? `127.0.0.1:${metrics}` : endpoint}/health`).then(
      (r) => r.ok,
      () => false,
    );
    if (up) return { endpoint, pid: child.pid, client, [Symbol.asyncDispose]: stop };
    if (performance.now() > deadline || child.exitCode !== null) {
      await stop();
      throw new Error(`etcd does not serve (exit code ${child.exitCode})`);
    }
    await Bun.sleep(20);
  }
}

export interface EtcdMembers extends AsyncDisposable {
  /** http://host:port of each. */
  endpoints: string[];
  /** Ends a member at once. */
  kill(index: number): Promise<void>;
  /** Starts it again on its data. */
  start(index: number): void;
}

/** Starts several etcds as one cluster; resolves when each of them serves. */
export async function startEtcdMembers(count: number): Promise<EtcdMembers> {
  const dir = mkdtempSync(join(tmpdir(), "kubun-etcds-"));
  const ports = freePorts(2 * count);
  const members = Array.from({ length: count }, (_, i) => ({
    name: `m${i}`,
    client: `http://127.0.0.1:${ports[2 * i]}`,
    peer: `http://127.0.0.1:${ports[2 * i + 1]}`,
  }));
  const children: Bun.Subprocess[] = [];
  const start = (i: number) => {
    const { name, client, peer } = members[i]!;
    const flags = {
      name,
      "data-dir": join(dir, name),
      "listen-client-urls": client,
      "advertise-client-urls": client,
      "listen-peer-urls": peer,
      "initial-advertise-peer-urls": peer,
      "initial-cluster": members.map((m) => `${m.name}=${m.peer}`).join(),
      logger: "zap",
      "log-level": "error",
    };
    const args = Object.entries(flags).map(([flag, value]) => `--${flag}=${value}`);
    children[i] = Bun.spawn([...WITH_US, "etcd", ...args], { stdout: "ignore", stderr: "ignore" });
  };
  const kill = async (i: number) => {
    children[i]!.kill("SIGKILL");
    await children[i]!.exited;
  };
  const stop = async () => {
    await Promise.all(children.map((_, i) => kill(i)));
    rmSync(dir, { recursive: true, force: true });
  };
  for (let i = 0; i < count; i++) start(i);
  const deadline = performance.now() + 30_000;
  for (const { client } of members) {
    while (
      !(await fetch(`${client}/health`).then(
        (r) => r.ok,
        () => false,
      ))
    ) {
      if (performance.now() > deadline) {
        await stop();
        throw new Error("the etcds do not serve");
      }
      await Bun.sleep(20);
    }
  }
  return { endpoints: members.map((m) => m.client), kill, start, [Symbol.asyncDispose]: stop };
}
