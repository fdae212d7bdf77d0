// The systems of `up` that need no node: store, apiserver, controllers and
// scheduler, in one process, joined by direct calls.
import { hostname } from "node:os";
import type { ApiServer } from "../../apiserver/mod.ts";
import type { StoreClient } from "../../client/etcd.ts";
import type { ApiTransport } from "../../client/transport.ts";
import type { Component } from "../../platform/component.ts";
import { UsageError } from "../flags.ts";
import { nthAddress, parseCidr } from "./cidr.ts";
import type { ComponentStatus } from "./control.ts";
import type { IssuingProcess } from "./issuing.ts";
import { writeKubeconfig } from "./kubeconfig.ts";
import { Pki } from "./pki.ts";
import type { Progress } from "./progress.ts";
import type { ClusterFile, DataDir } from "./state.ts";
import { storageOptions } from "./store-choice.ts";
import type { UpOptions } from "./up-options.ts";

export interface ControlPlane {
  pki: Pki;
  server: string;
  components: Component[];
  /** The apiserver, as this user, without sockets. */
  transport(name: string, ...groups: string[]): ApiTransport;
  /** Components of control planes in processes of their own. */
  rows?(): Promise<ComponentStatus[]>;
}

export const ADMIN = "system:masters";

export function inUse(e: unknown, port: number): unknown {
  if ((e as NodeJS.ErrnoException).code !== "EADDRINUSE") return e;
  return new UsageError(`--port ${port} is in use by another process: choose another port, or 0 for a free one`);
}

async function openStore(dir: DataDir, cluster: ClusterFile): Promise<Component & { client(): StoreClient }> {
  if (cluster.etcd) return new (await import("./outside-store.ts")).OutsideStore(cluster.etcd);
  const { Store } = await import("../../store/mod.ts");
  return new Store({ dataDir: dir.file("etcd"), name: "kubun" });
}

/** Starts them in order; on a failure the ones that already run are stopped again. */
export async function startControlPlane(
  options: UpOptions,
  dir: DataDir,
  cluster: ClusterFile,
  /** Addresses of this machine that clients come to; the first is the one that is advertised. */
  ips: readonly string[],
  /** Makes the certificates that are missing. */
  issuing: IssuingProcess["issue"],
  progress: Progress,
): Promise<ControlPlane> {
  const services = parseCidr(cluster.serviceCidr);
  const components: Component[] = [];
  const start = async <C extends Component>(c: C, note?: (c: C) => string): Promise<C> => {
    components.push(c);
    await progress.run(
      c.name,
      () => c.start(),
      () => note?.(c) ?? "",
    );
    return c;
  };
  try {
    // The store opens while the certificates are made.
    const storing = openStore(dir, cluster);
    const [store, { pki, keys, serving, admin, kubeletClient }] = await Promise.all([
      storing.then((s) => start(s)),
      progress.run("certificates", async () => {
        const pki = await Pki.open(dir.file("pki"), issuing);
        const hosts = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", `kubernetes.default.svc.${cluster.clusterDomain}`];
        const addresses = ["localhost", hostname(), "127.0.0.1", nthAddress(services, 1), ...ips];
        const [serving, admin, kubeletClient] = await Promise.all([
          pki.leaf({ name: "apiserver", commonName: "kube-apiserver", hosts: [...new Set([...hosts, ...addresses])] }),
          pki.leaf({ name: "admin", commonName: "kubernetes-admin", organizations: [ADMIN] }),
          pki.leaf({ name: "apiserver-kubelet-client", commonName: "kube-apiserver-kubelet-client", organizations: [ADMIN] }),
        ]);
        return { pki, keys: pki.serviceAccountKeys(), serving, admin, kubeletClient };
      }),
    ]);

    const { ApiServer } = await import("../../apiserver/mod.ts");
    const api: ApiServer = new ApiServer({
      store: store.client(),
      ...storageOptions(cluster),
      listen: [{ host: options.controlPlaneOnly ? "127.0.0.1" : "0.0.0.0", port: options.port }],
      advertiseAddress: ips[0],
      tls: { cert: serving.cert, key: serving.key, clientCa: pki.ca.cert },
      serviceAccount: {
        issuer: `https://kubernetes.default.svc.${cluster.clusterDomain}`,
        signingKeyPem: keys.privateKey,
        publicKeysPem: [keys.publicKey],
      },
      serviceCidr: cluster.serviceCidr,
      kubeletClient: { ca: pki.ca.cert, cert: kubeletClient.cert, key: kubeletClient.key },
    });
    await start(api, (a) => a.address ?? "").catch((e: unknown) => {
      throw inUse(e, options.port);
    });
    const server = `https://127.0.0.1:${new URL(api.address!).port}`;
    writeKubeconfig(options.kubeconfig, { server, caPem: pki.ca.cert, user: "kubernetes-admin", certPem: admin.cert, keyPem: admin.key });

    const transport = (name: string, ...groups: string[]) => api.transport({ name, groups: [...groups, "system:authenticated"] });
    const [{ ControllerManager }, { Scheduler }] = await Promise.all([
      import("../../controllers/mod.ts"),
      import("../../scheduler/mod.ts"),
    ]);
    await Promise.all([
      start(
        new ControllerManager({
          transport: transport("system:kube-controller-manager"),
          rootCaPem: pki.ca.cert,
          clusterCidr: cluster.podCidr,
        }),
      ),
      start(new Scheduler({ transport: transport("system:kube-scheduler") })),
    ]);
    return { pki, server, components, transport };
  } catch (e) {
    for (const c of components.reverse()) await c.stop();
    throw e;
  }
}
