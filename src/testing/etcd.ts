// Debian's etcd on free ports with a folder of its own, as the store that ours
// is held against.
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { EtcdClient } from "../client/etcd-grpc.ts";

export interface TestEtcd extends AsyncDisposable {
  endpoint: string;
  client(): EtcdClient;
}

/** Why it can't run here, or undefined. */
export const whyNoEtcd = (): string | undefined => (Bun.which("etcd") ? undefined : "etcd is not installed (apt-get install etcd-server)");

async function freePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>((resolve) => probe.listen(0, "127.0.0.1", resolve));
  const { port } = probe.address() as { port: number };
  await new Promise((resolve) => probe.close(resolve));
  return port;
}

export async function startEtcd(): Promise<TestEtcd> {
  const dir = mkdtempSync(join(tmpdir(), "kubun-etcd-"));
  const endpoint = `http://127.0.0.1:${await freePort()}`;
  const peer = `http://127.0.0.1:${await freePort()}`;
  const child = Bun.spawn(
    [
      "etcd",
      `--data-dir=${join(dir, "data")}`,
      `--listen-client-urls=${endpoint}`,
      `--advertise-client-urls=${endpoint}`,
      `--listen-peer-urls=${peer}`,
      `--initial-advertise-peer-urls=${peer}`,
      `--initial-cluster=default=${peer}`,
    ],
    { stdout: "ignore", stderr: "ignore" },
  );
  const clients: EtcdClient[] = [];
  const stop = async () => {
    for (const c of clients.splice(0)) await c.close();
    child.kill();
    await child.exited;
    rmSync(dir, { recursive: true, force: true });
  };
  const deadline = Date.now() + 10_000;
  for (;;) {
    const healthy = await fetch(`${endpoint}/health`).then(
      (r) => r.ok,
      () => false,
    );
    if (healthy) break;
    if (child.exitCode !== null || Date.now() > deadline) {
      await stop();
      throw new Error(`etcd did not start (exit code ${child.exitCode})`);
    }
    await Bun.sleep(20);
  }
  return {
    endpoint,
    client() {
      const client = new EtcdClient({ endpoints: [endpoint] });
      clients.push(client);
      return client;
    },
    [Symbol.asyncDispose]: stop,
  };
}
