// What a start adds to a store that an older version filled.
import { afterEach, expect, test } from "bun:test";
import { generateKeyPairSync } from "node:crypto";
import type * as rbac from "../api/gen/rbac/v1.ts";
import { MemoryStore } from "../testing/memory-store.ts";
import { AUTOUPDATE } from "./auth/reconcile.ts";
import { ApiServer } from "./mod.ts";

const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
const running: ApiServer[] = [];
afterEach(async () => {
  for (const api of running.splice(0)) await api.stop();
});

async function start(store: MemoryStore) {
  const api = new ApiServer({
    store,
    listen: [],
    tls: { cert: "", key: "", clientCa: "" },
    serviceAccount: {
      issuer: "https://kubernetes.default.svc",
      signingKeyPem: privateKey.export({ type: "pkcs8", format: "pem" }) as string,
      publicKeysPem: [publicKey.export({ type: "spki", format: "pem" }) as string],
    },
    serviceCidr: "10.96.0.0/16",
  });
  await api.start();
  running.push(api);
  return api.transport({ name: "admin", groups: ["system:masters"] });
}

const roles = { group: "rbac.authorization.k8s.io", version: "v1", resource: "clusterroles" };
const bindings = { ...roles, resource: "clusterrolebindings" };
const own = { verbs: ["get"], apiGroups: ["example.com"], resources: ["widgets"] };

test("a start adds to a stored role what it lacks, and leaves what an administrator added", async () => {
  const store = new MemoryStore();
  const before = await start(store);
  const target = { ...roles, name: "system:kube-scheduler" };
  const whole = await before.get<rbac.ClusterRole>(target);
  await before.update(target, { ...whole, rules: [...whole.rules!.slice(2), own] });
  const bound = await before.get<rbac.ClusterRoleBinding>({ ...bindings, name: "system:kube-scheduler" });
  await before.update({ ...bindings, name: "system:kube-scheduler" }, { ...bound, subjects: [] });
  const after = await start(store);
  const role = await after.get<rbac.ClusterRole>(target);
  for (const rule of [...whole.rules!, own]) expect(role.rules).toContainEqual(rule);
  expect(role.rules).toHaveLength(whole.rules!.length + 1);
  expect((await after.get<rbac.ClusterRoleBinding>({ ...bindings, name: "system:kube-scheduler" })).subjects).toEqual(bound.subjects!);
});

test("a role that is taken out of the updates stays as it is, and a start with nothing to add writes nothing", async () => {
  const store = new MemoryStore();
  const before = await start(store);
  const target = { ...roles, name: "view" };
  const whole = await before.get<rbac.ClusterRole>(target);
  await before.update(target, { ...whole, metadata: { ...whole.metadata, annotations: { [AUTOUPDATE]: "false" } }, rules: [own] });
  const versions = async (api: typeof before) =>
    (await Promise.all([roles, bindings].map((r) => api.list(r)))).flatMap((l) => l.items.map((o) => o.metadata.resourceVersion));
  const known = await versions(before);
  const after = await start(store);
  expect((await after.get<rbac.ClusterRole>(target)).rules).toEqual([own]);
  expect(await versions(after)).toEqual(known);
});
