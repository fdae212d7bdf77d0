// kubun controller-manager as a process of its own.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { generateKeyPairSync } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type * as coordinationV1 from "../api/gen/coordination/v1.ts";
import { ApiServer } from "../apiserver/mod.ts";
import { leases, namespaces, resource, serviceAccounts } from "../client/resources.ts";
import type { ApiTransport } from "../client/transport.ts";
import { testPki } from "../testing/certificates.ts";
import { MemoryStore } from "../testing/memory-store.ts";

let dir: string;
let api: ApiServer;
let admin: ApiTransport;
const main = join(import.meta.dir, "..", "main.ts");

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), "kubun-kcm-"));
  const pki = await testPki();
  const [serving, client] = await Promise.all([pki.issue("kube-apiserver"), pki.issue("admin", "system:masters")]);
  const keys = generateKeyPairSync("ec", { namedCurve: "P-256" });
  api = new ApiServer({
    store: new MemoryStore(),
    listen: [{ host: "127.0.0.1", port: 0 }],
    tls: { ...serving, clientCa: pki.ca },
    serviceAccount: {
      issuer: "https://kubernetes.default.svc",
      signingKeyPem: String(keys.privateKey.export({ type: "pkcs8", format: "pem" })),
      publicKeysPem: [String(keys.publicKey.export({ type: "spki", format: "pem" }))],
    },
    serviceCidr: "10.96.0.0/16",
  });
  await api.start();
  admin = api.transport({ name: "admin", groups: ["system:masters"] });
  writeFileSync(join(dir, "ca.crt"), pki.ca);
  writeFileSync(join(dir, "client.crt"), client.cert);
  writeFileSync(join(dir, "client.key"), client.key);
  writeFileSync(
    join(dir, "kubeconfig"),
    `apiVersion: v1
kind: Config
current-context: c
clusters: [{ name: c, cluster: { server: "https://127.0.0.1:${new URL(api.address!).port}", certificate-authority: ca.crt } }]
users: [{ name: u, user: { client-certificate: client.crt, client-key: client.key } }]
contexts: [{ name: c, context: { cluster: c, user: u } }]
`,
  );
});

afterAll(async () => {
  await api.stop();
  rmSync(dir, { recursive: true, force: true });
});

const run = (...args: string[]) => Bun.spawn([process.execPath, main, "controller-manager", ...args], { stdout: "pipe", stderr: "pipe" });

async function until<T>(what: string, look: () => Promise<T | undefined | false>): Promise<T> {
  const deadline = Date.now() + 40_000;
  for (;;) {
    const found = await look().catch(() => undefined);
    if (found) return found;
    if (Date.now() > deadline) throw new Error(`never happened: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

test("leads by its Lease, works, and lets the lease go at its end", async () => {
  const p = run(
    "--kubeconfig",
    join(dir, "kubeconfig"),
    "--root-ca-file",
    join(dir, "ca.crt"),
    "--secure-port=0",
    "--controllers=*,-garbage-collector-controller",
  );
  try {
    await resource(admin, namespaces).create({ apiVersion: "v1", kind: "Namespace", metadata: { name: "team" }, spec: {} });
    await until("an account", () => resource(admin, serviceAccounts, "team").get("default"));
    const lease = await resource<coordinationV1.Lease>(admin, leases, "kube-system").get("kube-controller-manager");
    expect(lease.spec).toMatchObject({ leaseDurationSeconds: 15, holderIdentity: expect.stringMatching(/_[0-9a-f-]{36}$/) });
    p.kill("SIGTERM");
    expect(await p.exited).toBe(0);
    expect(
      (await resource<coordinationV1.Lease>(admin, leases, "kube-system").get("kube-controller-manager")).spec.holderIdentity || "",
    ).toBe("");
  } finally {
    p.kill("SIGKILL");
    await p.exited;
  }
}, 60_000);

const refused: [args: string[], message: RegExp][] = [
  [["--nonsense"], /unknown flag: --nonsense/],
  [["--controllers=nonsense"], /flag --controllers: "nonsense" is not in the list of known controllers/],
  [["--cluster-cidr=10.0.0/8"], /invalid value "10.0.0\/8" for flag --cluster-cidr: invalid CIDR address/],
  [["--allocate-node-cidrs"], /--allocate-node-cidrs needs --cluster-cidr/],
  [["--node-monitor-grace-period=soon"], /--node-monitor-grace-period: must be a duration/],
  [["--root-ca-file=/none"], /--root-ca-file: .*\/none/],
];
for (const [args, message] of refused)
  test(`refuses ${args.join(" ")} with exit code 2`, async () => {
    const p = run(...args);
    const [err, code] = await Promise.all([new Response(p.stderr).text(), p.exited]);
    expect(err).toMatch(message);
    expect(code).toBe(2);
  });
