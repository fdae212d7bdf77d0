// An apiserver on a free port with a CA of its own, for tests that reach it as
// clients do.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ApiServer, type ApiServerOptions } from "../apiserver/mod.ts";
import type { StoreClient } from "../client/etcd.ts";
import { type KeyPair, Pki } from "../cmd/cluster/pki.ts";
import { MemoryStore } from "./memory-store.ts";

export interface TestApiServer extends AsyncDisposable {
  api: ApiServer;
  /** "https://127.0.0.1:40000" */
  server: string;
  ca: string;
  admin: KeyPair;
  /** Signs further certificates. */
  pki: Pki;
  /** Path of the kubeconfig of a member of system:masters. */
  kubeconfig: string;
  /** A kubeconfig for a user with a certificate. */
  kubeconfigFor(user: string, ...groups: string[]): Promise<string>;
  /** Runs kubectl; throws with what it said where it fails, unless `fails` is set. */
  kubectl(args: string[], options?: { stdin?: string; fails?: boolean; kubeconfig?: string }): Promise<string>;
}

export async function startApiServer(options: Partial<ApiServerOptions> & { store?: StoreClient } = {}): Promise<TestApiServer> {
  const dir = mkdtempSync(join(tmpdir(), "kubun-apiserver-"));
  const pki = await Pki.open(dir);
  const keys = await pki.serviceAccountKeys();
  const serving = await pki.leaf({ name: "apiserver", commonName: "kube-apiserver", hosts: ["localhost", "127.0.0.1"] });
  const admin = await pki.leaf({ name: "admin", commonName: "kubernetes-admin", organizations: ["system:masters"] });
  const api = new ApiServer({
    store: new MemoryStore(),
    listen: [{ host: "127.0.0.1", port: 0 }],
    tls: { cert: serving.cert, key: serving.key, clientCa: pki.ca.cert },
    serviceAccount: { issuer: "https://kubernetes.default.svc", signingKeyPem: keys.privateKey, publicKeysPem: [keys.publicKey] },
    serviceCidr: "10.96.0.0/16",
    advertiseAddress: "192.0.2.1",
    kubeletClient: { ca: pki.ca.cert, cert: admin.cert, key: admin.key },
    ...options,
  });
  await api.start();
  const server = api.address!;
  const write = (name: string, pair: KeyPair) => {
    const b64 = (s: string) => Buffer.from(s).toString("base64");
    const config = {
      apiVersion: "v1",
      kind: "Config",
      clusters: [{ name: "test", cluster: { server, "certificate-authority-data": b64(pki.ca.cert) } }],
      users: [{ name: "test", user: { "client-certificate-data": b64(pair.cert), "client-key-data": b64(pair.key) } }],
      contexts: [{ name: "test", context: { cluster: "test", user: "test" } }],
      "current-context": "test",
    };
    const path = join(dir, `${name}.kubeconfig`);
    writeFileSync(path, JSON.stringify(config));
    return path;
  };
  const kubeconfig = write("admin", admin);
  return {
    api,
    server,
    ca: pki.ca.cert,
    admin,
    pki,
    kubeconfig,
    async kubeconfigFor(user, ...groups) {
      return write(
        user.replaceAll(":", "-"),
        await pki.leaf({ name: `user-${user.replaceAll(":", "-")}`, commonName: user, organizations: groups }),
      );
    },
    async kubectl(args, { stdin, fails, kubeconfig: config = kubeconfig } = {}) {
      const child = Bun.spawn(["kubectl", ...args], {
        env: { ...process.env, KUBECONFIG: config, HOME: dir },
        stdin: stdin === undefined ? "ignore" : Buffer.from(stdin),
        stdout: "pipe",
        stderr: "pipe",
      });
      const [out, err, code] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text(), child.exited]);
      if ((code !== 0) !== (fails ?? false)) throw new Error(`kubectl ${args.join(" ")} ended with ${code}:\n${out}${err}`);
      return fails ? err : out;
    },
    async [Symbol.asyncDispose]() {
      await api.stop();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

/** Why tests with kubectl can't run here, or undefined. */
export const noKubectl = (): string | undefined => (Bun.which("kubectl") ? undefined : "kubectl is not on PATH");
