// Who may write which roles and bindings, as users of different rights find it.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { StatusError, serviceUnavailable } from "../../api/status.ts";
import type { ApiTransport } from "../../client/transport.ts";
import { noKubectl, startApiServer, type TestApiServer } from "../../testing/api-server.ts";
import { escalationGuards } from "./escalation.ts";

const group = "rbac.authorization.k8s.io";
const at = (resource: string, namespace?: string) => ({ group, version: "v1", resource, ...(namespace ? { namespace } : {}) });
const [clusterRoles, clusterBindings] = [at("clusterroles"), at("clusterrolebindings")];
const roles = at("roles", "team");
const bindings = at("rolebindings", "team");

const on = (verbs: string[], apiGroup: string, resources: string[], resourceNames?: string[]) => ({
  verbs,
  apiGroups: [apiGroup],
  resources,
  ...(resourceNames ? { resourceNames } : {}),
});
const pods = on(["get", "list"], "", ["pods"]);
const secrets = on(["get"], "", ["secrets"]);
const everything = [
  { verbs: ["*"], apiGroups: ["*"], resources: ["*"] },
  { verbs: ["*"], nonResourceURLs: ["*"] },
];
const writes = on(["get", "create", "update", "patch"], group, ["roles", "rolebindings", "clusterroles", "clusterrolebindings"]);
const ref = (name: string, kind = "ClusterRole") => ({ apiGroup: group, kind, name });
const toJane = [{ kind: "User", apiGroup: group, name: "jane" }];

let s: TestApiServer;
let admin: ApiTransport;
let count = 0;
const unique = (prefix: string) => `${prefix}-${++count}`;
const transport = (name: string, ...groups: string[]) => s.api.transport({ name, groups: [...groups, "system:authenticated"] });

/** A user with these rights in the whole cluster, and others in the namespace "team". */
async function user(rules: object[], inTeam: object[] = []): Promise<{ name: string; api: ApiTransport }> {
  const name = unique("user");
  const subjects = [{ kind: "User", apiGroup: group, name }];
  await admin.create(clusterRoles, { metadata: { name }, rules });
  await admin.create(clusterBindings, { metadata: { name }, roleRef: ref(name), subjects });
  await admin.create(roles, { metadata: { name }, rules: inTeam });
  await admin.create(bindings, { metadata: { name }, roleRef: ref(name, "Role"), subjects });
  return { name, api: transport(name) };
}

async function refusal(work: Promise<unknown>): Promise<StatusError> {
  const error = await work.then(
    () => new Error("it was allowed"),
    (e: unknown) => e,
  );
  if (!(error instanceof StatusError)) throw error;
  return error;
}

beforeAll(async () => {
  s = await startApiServer();
  admin = transport("admin", "system:masters");
  await admin.create({ group: "", version: "v1", resource: "namespaces" }, { metadata: { name: "team" } });
  await admin.create(clusterRoles, { metadata: { name: "reads-pods" }, rules: [pods] });
  await admin.create(clusterRoles, { metadata: { name: "reads-secrets" }, rules: [secrets] });
  await admin.create(roles, { metadata: { name: "reads-pods" }, rules: [pods] });
});
afterAll(async () => {
  await s?.[Symbol.asyncDispose]();
});

describe("a role", () => {
  test("holds nothing that its writer lacks: the refusal lists what that is", async () => {
    const { name, api } = await user([writes, pods]);
    const error = await refusal(
      api.create(clusterRoles, {
        metadata: { name: "wide" },
        rules: [on(["get", "delete", "list"], "", ["pods", "secrets"]), { verbs: ["get"], nonResourceURLs: ["/metrics"] }],
      }),
    );
    expect([error.code, error.reason]).toEqual([403, "Forbidden"]);
    expect(error.message).toBe(
      `clusterroles.rbac.authorization.k8s.io "wide" is forbidden: user "${name}" (groups=["system:authenticated"]) is attempting to grant RBAC permissions not currently held:\n` +
        '{APIGroups:[""], Resources:["pods"], Verbs:["delete"]}\n' +
        '{APIGroups:[""], Resources:["secrets"], Verbs:["get" "delete" "list"]}\n' +
        '{NonResourceURLs:["/metrics"], Verbs:["get"]}',
    );
    expect((await refusal(admin.get({ ...clusterRoles, name: "wide" }))).code).toBe(404);
  });

  test("may hold what its writer holds in its scope", async () => {
    const { api } = await user([writes, pods], [secrets]);
    const name = unique("own");
    await api.create(clusterRoles, { metadata: { name }, rules: [pods] });
    await api.create(roles, { metadata: { name }, rules: [pods, secrets] });
    expect((await refusal(api.create(clusterRoles, { metadata: { name: unique("own") }, rules: [secrets] }))).code).toBe(403);
    const elsewhere = at("roles", "default");
    expect((await refusal(api.create(elsewhere, { metadata: { name }, rules: [secrets] }))).code).toBe(403);
  });

  test("is refused however it is written, and in a dry run", async () => {
    const { api } = await user([writes, pods]);
    const name = unique("grown");
    const target = { ...roles, name };
    const wide = { apiVersion: `${group}/v1`, kind: "Role", metadata: { name, namespace: "team" }, rules: [pods, secrets] };
    const attempts: (() => Promise<unknown>)[] = [
      () => api.update(target, wide),
      () => api.update(target, wide, { dryRun: true }),
      () => api.patch(target, "apply", wide, { fieldManager: "test", force: true }),
    ];
    const creates = [() => api.create(roles, wide), () => api.create(roles, wide, { dryRun: true })];
    for (const attempt of [...attempts, ...creates]) expect((await refusal(attempt())).message).toContain("not currently held");
    const made = await api.update(target, { ...wide, rules: [pods] });
    const patches = [
      () => api.patch(target, "merge", { rules: [secrets] }),
      () => api.patch(target, "strategic", { rules: [secrets] }),
      () => api.patch(target, "json", [{ op: "add", path: "/rules/-", value: secrets }]),
    ];
    for (const attempt of [...attempts, ...patches])
      expect((await refusal(attempt())).message).toContain('{APIGroups:[""], Resources:["secrets"], Verbs:["get"]}');
    expect(await admin.get<typeof made>(target)).toEqual(made);
  });

  test("of more rights than its writer's changes only in what the garbage collector needs", async () => {
    const { api } = await user([writes]);
    const name = unique("held");
    const made = await admin.create(clusterRoles, { metadata: { name, finalizers: ["example.com/hold"] }, rules: [secrets] });
    const target = { ...clusterRoles, name };
    expect((await refusal(api.patch(target, "merge", { metadata: { labels: { a: "b" } } }))).code).toBe(403);
    expect((await refusal(api.patch(target, "merge", { metadata: { finalizers: null, labels: { a: "b" } } }))).code).toBe(403);
    await api.update(target, made);
    await api.patch(target, "merge", { metadata: { finalizers: null } });
    expect((await admin.get(target)).metadata.finalizers).toBeUndefined();
    await api.update(target, { ...made, metadata: { ...made.metadata, resourceVersion: undefined, finalizers: undefined }, rules: [] });
  });

  test("may hold more where its writer may escalate it", async () => {
    const wide = (name: string) => ({ metadata: { name }, rules: everything });
    const { api } = await user([writes, on(["escalate"], group, ["clusterroles"], ["chosen"])], [on(["escalate"], group, ["roles"])]);
    expect((await refusal(api.create(clusterRoles, wide("chosen")))).code).toBe(403);
    await api.update({ ...clusterRoles, name: "chosen" }, wide("chosen"));
    await api.update({ ...clusterRoles, name: "chosen" }, { ...wide("chosen"), rules: [...everything, secrets] });
    expect((await refusal(api.update({ ...clusterRoles, name: "other" }, wide("other")))).code).toBe(403);
    const name = unique("any");
    await api.create(roles, { metadata: { name }, rules: [secrets] });
    expect((await refusal(api.create(at("roles", "default"), { metadata: { name }, rules: [secrets] }))).code).toBe(403);
  });

  test("gathers others' rules only if its writer holds everything", async () => {
    const aggregationRule = { clusterRoleSelectors: [{ matchLabels: { a: "b" } }] };
    const { api } = await user([writes]);
    const target = { ...clusterRoles, name: unique("gathers") };
    const gathering = { metadata: { name: target.name }, aggregationRule };
    const words = `clusterroles.rbac.authorization.k8s.io "${target.name}" is forbidden: must have cluster-admin privileges to use the aggregationRule`;
    expect((await refusal(api.create(clusterRoles, gathering))).message).toBe(words);
    await (await user(everything)).api.create(clusterRoles, gathering);
    expect((await refusal(api.patch(target, "merge", { aggregationRule: null }))).message).toBe(words);
    await (await user([writes, on(["escalate"], group, ["clusterroles"])])).api.patch(target, "merge", { aggregationRule: null });
    await api.patch(target, "merge", { metadata: { labels: { a: "b" } } });
  });
});

describe("a binding", () => {
  const binding = (name: string, roleRef: object, subjects = toJane) => ({ metadata: { name }, roleRef, subjects });

  test("grants no role of more rights than its writer's", async () => {
    const { name, api } = await user([], [writes]);
    const self = [{ kind: "User", apiGroup: group, name }];
    const error = await refusal(api.create(bindings, binding("mine", ref("cluster-admin"), self)));
    expect([error.code, error.reason]).toEqual([403, "Forbidden"]);
    expect(error.message).toBe(
      `rolebindings.rbac.authorization.k8s.io "mine" is forbidden: user "${name}" (groups=["system:authenticated"]) is attempting to grant RBAC permissions not currently held:\n` +
        '{APIGroups:["*"], Resources:["*"], Verbs:["*"]}\n{NonResourceURLs:["*"], Verbs:["*"]}',
    );
    expect((await refusal(api.list({ ...at("pods", "team"), group: "" }))).code).toBe(403);
  });

  test("grants what its writer holds where it grants it", async () => {
    const { api } = await user([writes], [pods]);
    const name = unique("own");
    await api.create(bindings, binding(name, ref("reads-pods")));
    await api.create(bindings, binding(unique("own"), ref("reads-pods", "Role")));
    expect((await refusal(api.create(bindings, binding(unique("own"), ref("reads-secrets"))))).code).toBe(403);
    expect((await refusal(api.create(at("rolebindings", "default"), binding(name, ref("reads-pods"))))).code).toBe(403);
    expect((await refusal(api.create(clusterBindings, binding(name, ref("reads-pods"))))).code).toBe(403);
    const jane = transport("jane");
    expect((await jane.list({ group: "", version: "v1", resource: "pods", namespace: "team" })).items).toEqual([]);
  });

  test("is refused however it is written, and gets no further subjects", async () => {
    const { api } = await user([writes]);
    const name = unique("grown");
    const target = { ...bindings, name };
    const whole = { apiVersion: `${group}/v1`, kind: "RoleBinding", ...binding(name, ref("reads-secrets")) };
    const attempts: (() => Promise<unknown>)[] = [
      () => api.update(target, whole),
      () => api.patch(target, "apply", whole, { fieldManager: "test", force: true }),
    ];
    for (const attempt of attempts) expect((await refusal(attempt())).message).toContain("not currently held");
    const made = await admin.create(bindings, { ...whole, subjects: [] });
    const patches = [
      () => api.patch(target, "merge", { subjects: toJane }),
      () => api.patch(target, "json", [{ op: "add", path: "/subjects", value: toJane }]),
      () => api.patch(target, "merge", { metadata: { annotations: { a: "b" } } }),
    ];
    for (const attempt of [...attempts, ...patches]) expect((await refusal(attempt())).message).toContain("not currently held");
    expect(await admin.get<typeof made>(target)).toEqual(made);
    const owner = { apiVersion: "v1", kind: "ConfigMap", name: "a", uid: "1" };
    expect((await api.patch(target, "merge", { metadata: { ownerReferences: [owner] } })).metadata.ownerReferences).toEqual([owner]);
  });

  test("grants more where its writer may bind that role there", async () => {
    const { api } = await user([writes, on(["bind"], group, ["clusterroles"], ["reads-pods"])], [on(["bind"], group, ["clusterroles"])]);
    await api.create(clusterBindings, binding(unique("chosen"), ref("reads-pods")));
    await api.create(at("rolebindings", "default"), binding(unique("chosen"), ref("reads-pods")));
    await api.create(bindings, binding(unique("chosen"), ref("reads-secrets")));
    expect((await refusal(api.create(clusterBindings, binding(unique("other"), ref("reads-secrets"))))).code).toBe(403);
    expect((await refusal(api.create(at("rolebindings", "default"), binding(unique("other"), ref("reads-secrets"))))).code).toBe(403);
    expect((await refusal(api.create(bindings, binding(unique("other"), ref("reads-pods", "Role"))))).code).toBe(403);
  });

  test("names a role that is not there only if its writer may bind it", async () => {
    const { api } = await user([writes, ...everything.slice(1)]);
    const error = await refusal(api.create(bindings, binding("early", ref("later", "Role"))));
    expect([error.code, error.reason, error.message]).toEqual([404, "NotFound", 'roles.rbac.authorization.k8s.io "later" not found']);
    expect((await refusal(api.create(clusterBindings, binding("early", ref("later"))))).message).toBe(
      'clusterroles.rbac.authorization.k8s.io "later" not found',
    );
    const binder = await user([writes, on(["bind"], group, ["roles", "clusterroles"], ["later"])]);
    await binder.api.create(bindings, binding(unique("early"), ref("later", "Role")));
    await admin.create(bindings, binding(unique("early"), ref("later", "Role")));
  });

  test("of the whole cluster is not to be had by the right to bind a namespace's role, nor by a role of another group", async () => {
    const { api } = await user([writes, on(["bind"], group, ["roles"]), on(["*"], "example.com", ["*"])]);
    expect((await refusal(api.create(clusterBindings, binding("a", ref("cluster-admin", "Role"))))).code).toBe(422);
    expect((await refusal(api.create(clusterBindings, binding("a", { ...ref("cluster-admin"), apiGroup: "example.com" })))).code).toBe(422);
    expect((await refusal((await user([writes])).api.create(clusterBindings, binding("a", ref("reads-pods", "Role"))))).message).toBe(
      "Namespace parameter required.",
    );
  });
});

test("members of system:masters and holders of everything are not asked, and without RBAC nobody is", async () => {
  const grant = (name: string) => ({ metadata: { name }, roleRef: ref("cluster-admin"), subjects: toJane });
  await admin.create(bindings, grant(unique("any")));
  await (await user(everything)).api.create(clusterBindings, grant(unique("any")));
  await using open = await startApiServer({ alwaysAllow: true });
  const anybody = open.api.transport({ name: "anybody", groups: [] });
  await anybody.create(clusterRoles, { metadata: { name: "wide" }, rules: everything });
  await anybody.create(clusterBindings, grant("wide"));
});

test("a role that can't be read is granted to nobody", async () => {
  const guards = escalationGuards({
    allowed: () => false,
    held: () => everything,
    role: () => Promise.reject(serviceUnavailable("the store is away")),
  });
  const object = { kind: "RoleBinding", metadata: { name: "a", namespace: "team" }, roleRef: ref("reads-pods") };
  const write = async () => guards.get(`${group}/rolebindings`)!({ object, context: { user: { name: "jane", groups: [] } } });
  expect((await refusal(write())).code).toBe(503);
});

const missing = noKubectl();
if (missing) console.log(`skipped: ${missing}`);

test.skipIf(missing !== undefined)("kubectl shows the refusal, whose groups are those of the certificate", async () => {
  const { name } = await user([writes]);
  const kubeconfig = await s.kubeconfigFor(name, "devs");
  const refused = await s.kubectl(["create", "rolebinding", "mine", "-n", "team", "--clusterrole=reads-pods", `--user=${name}`], {
    kubeconfig,
    fails: true,
  });
  expect(refused).toBe(
    `error: failed to create rolebinding: rolebindings.rbac.authorization.k8s.io "mine" is forbidden: user "${name}" (groups=["devs" "system:authenticated"]) is attempting to grant RBAC permissions not currently held:\n{APIGroups:[""], Resources:["pods"], Verbs:["get" "list"]}\n`,
  );
});
