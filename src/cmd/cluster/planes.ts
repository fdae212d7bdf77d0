// Several control planes: each a process in a network namespace of its own,
// behind one address.
import { mkdirSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { HttpTransport } from "../../client/http.ts";
import type { ApiTransport } from "../../client/transport.ts";
import type { Component } from "../../platform/component.ts";
import { nthAddress, parseCidr } from "./cidr.ts";
import type { ComponentStatus } from "./control.ts";
import { ADMIN, type ControlPlane } from "./control-plane.ts";
import { Front } from "./front.ts";
import { takeOver } from "./growing.ts";
import type { HostNetwork } from "./host-network.ts";
import type { IssuingProcess } from "./issuing.ts";
import { writeKubeconfig } from "./kubeconfig.ts";
import { FIRST_PLANE, insideHost, makeHosts } from "./node-hosts.ts";
import { nodeName } from "./nodes.ts";
import { type KeyPair, Pki } from "./pki.ts";
import { ProcessGroup } from "./process-group.ts";
import type { Progress } from "./progress.ts";
import type { ClusterFile, DataDir } from "./state.ts";
import type { UpOptions } from "./up-options.ts";

export const planeName = (index: number) => `control-plane-${index + 1}`;
/** Its folder below the data directory. */
export const planeDir = (index: number) => `control-plane${index + 1}`;
export const planeRunDir = (cluster: Pick<ClusterFile, "runDir">, index: number) => join(cluster.runDir, `c${index + 1}`);
export const planeFile = (cluster: Pick<ClusterFile, "runDir">, index: number) => join(cluster.runDir, `${planeDir(index)}.json`);

/** What a plane's process is told. */
export interface PlaneFile {
  index: number;
  /** Addresses of all planes, in order. */
  hosts: string[];
  /** Of every apiserver, and of the address in front of them. */
  port: number;
}

class ControlPlanes implements Component {
  readonly name = "control planes";
  readonly #front: Front;
  readonly #group: ProcessGroup;
  readonly #hosts: () => Promise<void>;
  readonly #indexes: readonly number[];

  constructor(front: Front, group: ProcessGroup, indexes: readonly number[], hosts: () => Promise<void>) {
    this.#front = front;
    this.#group = group;
    this.#indexes = indexes;
    this.#hosts = hosts;
  }

  /** Makes their hosts, and goes on with what a kubun that was killed left behind. */
  async start(): Promise<void> {
    await this.#front.find();
    await Promise.all([this.#hosts(), ...this.#indexes.map((index) => this.#group.adopt(index))]);
  }

  notReady(): string | undefined {
    return this.#group.notReady();
  }

  async stop(): Promise<void> {
    await Promise.all([this.#front.stop(), this.#group.stop()]);
  }

  /** What runs in these processes, which tell of themselves. */
  async rows(): Promise<ComponentStatus[]> {
    return (await Promise.all([this.#front.group.components(), this.#group.components()])).flat();
  }
}

/** Users whose systems run in this process, and the groups of their certificates. */
const users = (node: string): [user: string, file: string, ...groups: string[]][] => [
  ["system:kubun", "admin", ADMIN],
  [`system:node:${node}`, `${node}-kubelet-client`, "system:nodes"],
  ["system:kube-proxy", `${node}-proxy-client`, "system:node-proxier"],
  ["system:coredns", "coredns-client"],
];

async function certificates(
  dir: DataDir,
  cluster: ClusterFile,
  addresses: readonly string[],
  hosts: readonly string[],
  issue: IssuingProcess["issue"],
) {
  const [pki, etcd] = await Promise.all([Pki.open(dir.file("pki"), issue), Pki.open(dir.file("pki/etcd"), issue)]);
  const names = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", `kubernetes.default.svc.${cluster.clusterDomain}`];
  const local = ["localhost", hostname(), "127.0.0.1", nthAddress(parseCidr(cluster.serviceCidr), 1)];
  const node = nodeName(0);
  const clients = users(node).map(async ([user, name, ...organizations]): Promise<[string, KeyPair]> => {
    const commonName = name === "admin" ? "kubernetes-admin" : user;
    return [user, await pki.leaf({ name, commonName, organizations })];
  });
  await Promise.all([
    pki.leaf({ name: "apiserver", commonName: "kube-apiserver", hosts: [...new Set([...names, ...local, ...addresses, ...hosts])] }),
    pki.leaf({ name: "apiserver-kubelet-client", commonName: "kube-apiserver-kubelet-client", organizations: [ADMIN] }),
    // For etcdctl.
    etcd.leaf({ name: "client", commonName: "root" }),
    ...hosts.map((host, i) =>
      etcd.leaf({ name: planeName(i), commonName: planeName(i), hosts: [host, "localhost", "127.0.0.1"], peer: true }),
    ),
    ...clients,
  ]);
  pki.serviceAccountKeys();
  return { pki, clients: new Map(await Promise.all(clients)) };
}

/** As startControlPlane, with several. */
export async function startControlPlanes(
  options: UpOptions,
  dir: DataDir,
  cluster: ClusterFile,
  net: HostNetwork,
  /** Addresses of this machine that clients come to. */
  ips: readonly string[],
  issuing: IssuingProcess["issue"],
  progress: Progress,
): Promise<ControlPlane & { rows(): Promise<ComponentStatus[]> }> {
  const indexes = Array.from({ length: options.controlPlanes }, (_, i) => i);
  const hosts = indexes.map((i) => net.address(FIRST_PLANE + i));
  const components: Component[] = [];
  const start = async (c: Component): Promise<void> => {
    components.push(c);
    await progress.run(c.name, () => c.start());
  };
  try {
    if (!cluster.etcd) takeOver(dir, planeDir(0));
    const front = new Front(
      options,
      dir,
      cluster,
      indexes.map((i) => ({ name: planeName(i), host: hosts[i]! })),
    );
    const group = new ProcessGroup({
      dir,
      command: "control-plane",
      indexes,
      name: planeName,
      inside: (index) => insideHost(cluster.id, FIRST_PLANE + index),
      runDir: (index) => planeRunDir(cluster, index),
      logFile: (index) => `log/${planeDir(index)}.log`,
      verbosity: options.verbosity,
      settings: (index) => ({ file: planeFile(cluster, index), content: { index, hosts, port: front.port } satisfies PlaneFile }),
      prepare: (index) => void mkdirSync(dir.file(planeDir(index)), { recursive: true, mode: 0o700 }),
    });
    const planes = new ControlPlanes(front, group, indexes, () =>
      makeHosts(
        cluster.id,
        net,
        indexes.map((i) => ({ index: FIRST_PLANE + i })),
      ),
    );
    const [{ pki, clients }] = await Promise.all([
      progress.run("certificates", () => certificates(dir, cluster, ips, hosts, issuing)),
      start(planes),
    ]);
    await Promise.all([
      progress.run(
        front.name,
        () => front.start(),
        () => front.address,
      ),
      ...indexes.map((i) =>
        progress.run(
          planeName(i),
          async () => {
            await group.start(i);
            return group.components([i]);
          },
          (rows) => {
            const memory = rows[0]?.memory ?? 0;
            return `https://${hosts[i]}:${front.port}  ${Math.round(memory / 1024 / 1024)} MiB`;
          },
        ),
      ),
    ]);
    const server = front.address;
    const admin = clients.get("system:kubun")!;
    writeKubeconfig(options.kubeconfig, { server, caPem: pki.ca.cert, user: "kubernetes-admin", certPem: admin.cert, keyPem: admin.key });
    const transports = new Map<string, HttpTransport>();
    const transport = (user: string): ApiTransport => {
      const pair = clients.get(user);
      if (!pair) throw new Error(`no certificate for ${user}`);
      const known = transports.get(user) ?? new HttpTransport({ server, ca: pki.ca.cert, ...pair });
      transports.set(user, known);
      return known;
    };
    return { pki, server, components, transport, rows: () => planes.rows() };
  } catch (e) {
    for (const c of components.reverse()) await c.stop();
    throw e;
  }
}
