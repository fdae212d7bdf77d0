// One of several control planes: a member of the store, an apiserver on it, and
// controllers and scheduler of which one plane's work at a time.
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { StoreClient } from "../../client/etcd.ts";
import type { Component } from "../../platform/component.ts";
import { askStore, storeThere } from "../store-client.ts";
import { type ComponentStatus, componentRows } from "./control.ts";
import { growStore, isGrowing, joinStore } from "./growing.ts";
import { Leading } from "./leading.ts";
import { Pki } from "./pki.ts";
import type { PlaneFile } from "./planes.ts";
import { planeDir, planeName } from "./planes.ts";
import type { Progress } from "./progress.ts";
import type { ClusterFile, DataDir } from "./state.ts";
import { storageOptions } from "./store-choice.ts";

const CLIENTS = 2379;
const PEERS = 2380;

export const memberUrl = (host: string) => `https://${host}:${PEERS}`;

/** This plane's member, started; `grown` settles when the members that were still missing have been added. */
interface OpenMember {
  store: Component & { client(): StoreClient; readonly member?: { onBroken(error: Error): void } };
  grown?: Promise<void>;
}

async function openMember(dir: DataDir, cluster: ClusterFile, plane: PlaneFile, ended: Promise<void>): Promise<OpenMember> {
  if (cluster.etcd) {
    const store = new (await import("./outside-store.ts")).OutsideStore(cluster.etcd);
    await store.start();
    return { store };
  }
  const [{ Store }, pki] = await Promise.all([import("../../store/mod.ts"), Pki.open(dir.file("pki/etcd"))]);
  const name = planeName(plane.index);
  const host = plane.hosts[plane.index]!;
  const { cert, key } = await pki.leaf({ name, commonName: name, hosts: [host, "localhost", "127.0.0.1"], peer: true });
  const tls = { cert, key, clientCa: pki.ca.cert, requireClientCert: true };
  const local = (port: number) => [
    { host, port },
    { host: "127.0.0.1", port },
  ];
  const dataDir = dir.file(planeDir(plane.index), "etcd");
  const growing = isGrowing(dir);
  const joins = growing && plane.index > 0 && !existsSync(join(dataDir, "wal"));
  // One that is added knows those before it, which are all that there are then.
  const hosts = joins ? plane.hosts.slice(0, plane.index + 1) : plane.hosts;
  const make = () =>
    new Store({
      name,
      dataDir,
      listen: local(CLIENTS),
      tls,
      advertiseClientUrls: [`https://${host}:${CLIENTS}`],
      peerUrls: [memberUrl(host)],
      initialCluster: hosts.map((h, i) => `${planeName(i)}=${memberUrl(h)}`).join(","),
      initialClusterToken: cluster.id,
      ...(joins ? { initialClusterState: "existing" as const } : {}),
      peer: { listen: [{ host, port: PEERS }], tls, clientTls: { cert, key, ca: pki.ca.cert } },
    });
  if (!growing) {
    const store = make();
    await store.start();
    return { store };
  }
  const end = new AbortController();
  void ended.then(() => end.abort());
  if (joins) return { store: await joinStore(make, end.signal) };
  const store = make();
  await store.start();
  return plane.index === 0 ? { store, grown: growStore(store, plane.hosts.map(memberUrl), dir, end.signal) } : { store };
}

/** Milliseconds that the store may take to answer when somebody asks how the plane is. */
const LOOK = 1500;

export interface Plane {
  stop(): Promise<void>;
  /** Resolves when its store's disk fails underneath: another start may find a better one. */
  broken: Promise<Error>;
  /** How they are: without a quorum of the store neither its member nor the apiserver is well. */
  rows(): Promise<ComponentStatus[]>;
}

async function rowsOf(name: string, components: readonly Component[], store: StoreClient): Promise<ComponentStatus[]> {
  const problem = await Promise.race([
    askStore(store).then(
      () => undefined,
      (error: Error) => error.message,
    ),
    Bun.sleep(LOOK).then(() => "no answer from a quorum of the store"),
  ]);
  const rows = componentRows(components, name);
  if (problem === undefined) return rows;
  const needy = ["etcd", "kube-apiserver"];
  return rows.map((row) => (row.healthy && needy.includes(row.name) ? { ...row, healthy: false, message: problem } : row));
}

/** Starts a plane's systems; resolves when its apiserver serves. `ended` ends the waiting for the other planes. */
export async function startPlane(
  dir: DataDir,
  cluster: ClusterFile,
  plane: PlaneFile,
  progress: Progress,
  ended: Promise<void>,
): Promise<Plane> {
  const components: Component[] = [];
  const start = async <C extends Component>(c: C): Promise<C> => {
    components.push(c);
    await progress.run(c.name, () => c.start());
    return c;
  };
  const name = planeName(plane.index);
  try {
    const systems = Promise.all([import("../../apiserver/mod.ts"), import("../../controllers/mod.ts"), import("../../scheduler/mod.ts")]);
    systems.catch(() => {});
    const { store, grown } = await progress.run("etcd", () => openMember(dir, cluster, plane, ended));
    components.push(store);
    grown?.catch(() => {});
    const [{ ApiServer }, { ControllerManager }, { Scheduler }] = await systems;
    const pki = await Pki.open(dir.file("pki"));
    const keys = pki.serviceAccountKeys();
    const [serving, kubeletClient] = [pki.stored("apiserver"), pki.stored("apiserver-kubelet-client")];
    const client = store.client();
    const broken = new Promise<Error>((resolve) => {
      if (store.member) store.member.onBroken = resolve;
    });
    const running = { broken, stop: () => stop(components), rows: () => rowsOf(name, components, client) };
    if (!(await storeThere(client, ended))) return running;
    const api = new ApiServer({
      store: client,
      ...storageOptions(cluster),
      listen: [
        { host: plane.hosts[plane.index]!, port: plane.port },
        { host: "127.0.0.1", port: plane.port },
      ],
      advertiseAddress: plane.hosts[plane.index],
      tls: { ...serving, clientCa: pki.ca.cert },
      serviceAccount: {
        issuer: `https://kubernetes.default.svc.${cluster.clusterDomain}`,
        signingKeyPem: keys.privateKey,
        publicKeysPem: [keys.publicKey],
      },
      serviceCidr: cluster.serviceCidr,
      kubeletClient: { ca: pki.ca.cert, ...kubeletClient },
    });
    await start(api);
    const transport = (user: string) => api.transport({ name: user, groups: ["system:authenticated"] });
    const leading = (component: string, make: () => Component) =>
      new Leading({ name: component, lease: component, candidate: name, transport: transport(`system:${component}`), make });
    await start(
      leading(
        "kube-controller-manager",
        () =>
          new ControllerManager({
            transport: transport("system:kube-controller-manager"),
            rootCaPem: pki.ca.cert,
            clusterCidr: cluster.podCidr,
          }),
      ),
    );
    await start(leading("kube-scheduler", () => new Scheduler({ transport: transport("system:kube-scheduler") })));
    await Promise.race([grown, ended]);
    return running;
  } catch (e) {
    await stop(components);
    throw e;
  }
}

/** What leads gives back its Lease first, side by side: where the other planes end, too, it may have to wait in vain. */
async function stop(components: readonly Component[]): Promise<void> {
  await Promise.all(components.map((c) => (c instanceof Leading ? c.stop() : undefined)));
  for (const c of [...components].reverse()) if (!(c instanceof Leading)) await c.stop();
}
