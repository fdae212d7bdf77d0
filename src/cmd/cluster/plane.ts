// One of several control planes: a member of the store, an apiserver on it, and
// controllers and scheduler of which one plane's work at a time.
import type { StoreClient } from "../../client/etcd.ts";
import type { Component } from "../../platform/component.ts";
import { askStore, storeThere } from "../store-client.ts";
import { type ComponentStatus, componentRows } from "./control.ts";
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

async function openMember(dir: DataDir, cluster: ClusterFile, plane: PlaneFile): Promise<Component & { client(): StoreClient }> {
  if (cluster.etcd) return new (await import("./outside-store.ts")).OutsideStore(cluster.etcd);
  const [{ Store }, pki] = await Promise.all([import("../../store/mod.ts"), Pki.open(dir.file("pki/etcd"))]);
  const name = planeName(plane.index);
  const host = plane.hosts[plane.index]!;
  const { cert, key } = await pki.leaf({ name, commonName: name, hosts: [host, "localhost", "127.0.0.1"], peer: true });
  const tls = { cert, key, clientCa: pki.ca.cert, requireClientCert: true };
  const local = (port: number) => [
    { host, port },
    { host: "127.0.0.1", port },
  ];
  return new Store({
    name,
    dataDir: dir.file(planeDir(plane.index), "etcd"),
    listen: local(CLIENTS),
    tls,
    advertiseClientUrls: [`https://${host}:${CLIENTS}`],
    peerUrls: [memberUrl(host)],
    initialCluster: plane.hosts.map((h, i) => `${planeName(i)}=${memberUrl(h)}`).join(","),
    initialClusterToken: cluster.id,
    peer: { listen: [{ host, port: PEERS }], tls, clientTls: { cert, key, ca: pki.ca.cert } },
  });
}

/** Milliseconds that the store may take to answer when somebody asks how the plane is. */
const LOOK = 1500;

export interface Plane {
  components: Component[];
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
    const store = await start(await openMember(dir, cluster, plane));
    const [{ ApiServer }, { ControllerManager }, { Scheduler }] = await systems;
    const pki = await Pki.open(dir.file("pki"));
    const keys = pki.serviceAccountKeys();
    const [serving, kubeletClient] = [pki.stored("apiserver"), pki.stored("apiserver-kubelet-client")];
    const client = store.client();
    const running = { components, rows: () => rowsOf(name, components, client) };
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
    return running;
  } catch (e) {
    for (const c of components.reverse()) await c.stop();
    throw e;
  }
}
