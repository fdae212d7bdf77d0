// Stores that are not the cluster's own: one member of Debian's etcd, or three
// of ours, with certificates on both sides as an administrator would set them up.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { EtcdClient } from "../../../src/client/etcd-grpc.ts";
import { Pki } from "../../../src/cmd/cluster/pki.ts";
import { noEtcd } from "../../../src/testing/etcd.ts";
import { freePorts } from "../../../src/testing/ports.ts";
import { until } from "./cluster.ts";
import { root } from "./tools.ts";

/** "embedded" is the cluster's own store, "cluster" three members of ours, "etcd" Debian's. */
export type StoreKind = "embedded" | "cluster" | "etcd";
export const storeKind = (process.env.KUBUN_E2E_STORE ?? "embedded") as StoreKind;
if (storeKind === "etcd" && noEtcd) throw new Error(noEtcd);

export interface OutsideStore extends AsyncDisposable {
  /** For `kubun up`. */
  flags: string[];
}

interface Member {
  name: string;
  client: string;
  peer: string;
}

const programs: Record<Exclude<StoreKind, "embedded">, { members: number; command: string[] }> = {
  cluster: { members: 3, command: [process.execPath, join(root, "src/main.ts"), "store"] },
  etcd: { members: 1, command: ["etcd", "--logger=zap", "--log-level=error"] },
};

export async function startStore(kind: Exclude<StoreKind, "embedded">): Promise<OutsideStore> {
  // The name keeps its processes out of what a cluster may leave behind.
  const dir = mkdtempSync(join(tmpdir(), "outside-store-"));
  const { members: count, command } = programs[kind];
  const pki = await Pki.open(join(dir, "pki"));
  await pki.leaf({ name: "member", commonName: "member", hosts: ["localhost", "127.0.0.1"], peer: true });
  await pki.leaf({ name: "client", commonName: "kube-apiserver-etcd-client" });
  const file = (name: string) => join(dir, "pki", name);
  const ports = freePorts(2 * count);
  const members: Member[] = Array.from({ length: count }, (_, i) => ({
    name: `m${i + 1}`,
    client: `https://127.0.0.1:${ports[2 * i]}`,
    peer: `https://127.0.0.1:${ports[2 * i + 1]}`,
  }));
  const tls = {
    "cert-file": file("member.crt"),
    "key-file": file("member.key"),
    "trusted-ca-file": file("ca.crt"),
    "client-cert-auth": "true",
  };
  const flagsOf = (m: Member) => ({
    name: m.name,
    "data-dir": join(dir, m.name),
    "listen-client-urls": m.client,
    "advertise-client-urls": m.client,
    "listen-peer-urls": m.peer,
    "initial-advertise-peer-urls": m.peer,
    "initial-cluster": members.map((o) => `${o.name}=${o.peer}`).join(","),
    "initial-cluster-token": dir,
    ...tls,
    ...Object.fromEntries(
      Object.entries(tls).map(([name, value]) => [name === "client-cert-auth" ? "peer-client-cert-auth" : `peer-${name}`, value]),
    ),
  });
  const processes = members.map((m) => {
    const args = Object.entries(flagsOf(m)).map(([name, value]) => `--${name}=${value}`);
    const log = Bun.file(join(dir, `${m.name}.log`));
    return Bun.spawn(["setpriv", "--pdeathsig", "KILL", ...command, ...args], { stdio: ["ignore", log, log] });
  });
  const dispose = async () => {
    for (const p of processes) p.kill("SIGKILL");
    await Promise.all(processes.map((p) => p.exited));
    rmSync(dir, { recursive: true, force: true });
  };
  const [caFile, certFile, keyFile] = [file("ca.crt"), file("client.crt"), file("client.key")];
  const read = (path: string) => Bun.file(path).text();
  const client = new EtcdClient({
    endpoints: members.map((m) => m.client),
    tls: { ca: await read(caFile), cert: await read(certFile), key: await read(keyFile) },
  });
  try {
    await until("the store to serve", async () => (await client.range(Uint8Array.of(0))).count === 0, 60_000);
  } catch (e) {
    const logs = await Promise.all(members.map((m) => read(join(dir, `${m.name}.log`)).catch(() => "")));
    await dispose();
    throw new Error(`${(e as Error).message}\n${logs.map((l) => l.slice(-2000)).join("\n")}`);
  } finally {
    await client.close();
  }
  const flags = [
    `--etcd-servers=${members.map((m) => m.client).join(",")}`,
    ...[`--etcd-cafile=${caFile}`, `--etcd-certfile=${certFile}`, `--etcd-keyfile=${keyFile}`],
  ];
  return { flags, [Symbol.asyncDispose]: dispose };
}
