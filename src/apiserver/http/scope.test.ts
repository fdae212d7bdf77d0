// Nobody gets further by another way to ask: rights in a namespace end there, a
// verb is what the method says, and a proxy leads to the pod that is named.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { type ClientHttp2Session, connect } from "node:http2";
import { startApiServer, type TestApiServer } from "../../testing/api-server.ts";
import { isGlobalUnicast, originOf } from "../kubelet/proxy-target.ts";

let s: TestApiServer;
let backend: ReturnType<typeof Bun.serve>;
/** What came through to the pod. */
const seen: string[] = [];
const sessions: Record<string, ClientHttp2Session> = {};

const RBAC = "/apis/rbac.authorization.k8s.io/v1";

interface Asked {
  method?: string;
  body?: object;
  headers?: Record<string, string>;
}

/** Asks as a user; the bytes of path and method are as given. */
function ask(user: string, path: string, { method = "GET", body, headers = {} }: Asked = {}): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const stream = sessions[user]!.request({ ":path": path, ":method": method, "content-type": "application/json", ...headers });
    const answer = { status: 0, text: "" };
    stream.on("response", (h) => {
      answer.status = Number(h[":status"]);
    });
    stream.on("data", (d) => {
      answer.text += d;
    });
    stream.on("error", reject);
    stream.on("close", () => resolve(answer));
    stream.end(body && JSON.stringify(body));
  });
}
const status = async (user: string, path: string, asked?: Asked) => (await ask(user, path, asked)).status;

async function login(user: string, ...organizations: string[]): Promise<void> {
  const { cert, key } = await s.pki.leaf({ name: `user-${user}`, commonName: user, organizations });
  const session = connect(s.server, { ca: s.ca, cert, key });
  session.on("error", () => {});
  sessions[user] = session;
}

async function create(path: string, body: object): Promise<void> {
  const made = await ask("admin", path, { method: "POST", body });
  if (made.status !== 201) throw new Error(`${path}: ${made.status} ${made.text}`);
}

const role = (name: string, rules: object[]) => ({ metadata: { name }, rules });
const binding = (user: string, kind: string, name: string) => ({
  metadata: { name: `${user}-${name}` },
  subjects: [{ kind: "User", apiGroup: "rbac.authorization.k8s.io", name: user }],
  roleRef: { apiGroup: "rbac.authorization.k8s.io", kind, name },
});

beforeAll(async () => {
  backend = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    fetch: (r) => {
      seen.push(`${r.method} ${new URL(r.url).pathname}`);
      return new Response("here");
    },
  });
  s = await startApiServer({ mayReach: () => true });
  await login("admin", "system:masters");
  for (const user of ["owner", "reader", "scaler", "proxier"]) await login(user);
  for (const name of ["x", "y"]) await create("/api/v1/namespaces", { metadata: { name } });
  for (const [user, kind, name] of [
    ["owner", "ClusterRole", "cluster-admin"],
    ["reader", "Role", "one-secret"],
    ["scaler", "Role", "scales"],
    ["proxier", "Role", "proxies"],
  ] as const)
    await create(`${RBAC}/namespaces/x/rolebindings`, binding(user, kind, name));
  for (const rules of [
    role("one-secret", [{ apiGroups: [""], resources: ["secrets"], resourceNames: ["s1"], verbs: ["list", "watch"] }]),
    role("scales", [{ apiGroups: ["apps"], resources: ["deployments/scale"], verbs: ["*"] }]),
    role("proxies", [{ apiGroups: [""], resources: ["pods/proxy", "pods/exec"], verbs: ["get"] }]),
  ])
    await create(`${RBAC}/namespaces/x/roles`, rules);
  for (const name of ["s1", "s2"]) await create("/api/v1/namespaces/x/secrets", { metadata: { name } });
  await create("/api/v1/namespaces/x/configmaps", { metadata: { name: "kept" } });
  await create("/api/v1/nodes", { metadata: { name: "n1" } });
  const containers = [{ name: "c", image: "x" }];
  await create("/api/v1/namespaces/x/serviceaccounts", { metadata: { name: "default" } });
  await create("/api/v1/namespaces/x/pods", { metadata: { name: "p" }, spec: { containers } });
  const podIP = { status: { podIP: "127.0.0.1", podIPs: [{ ip: "127.0.0.1" }] } };
  const patch = { method: "PATCH", body: podIP, headers: { "content-type": "application/merge-patch+json" } };
  expect(await status("admin", "/api/v1/namespaces/x/pods/p/status", patch)).toBe(200);
  const spec = { selector: { matchLabels: { a: "b" } }, template: { metadata: { labels: { a: "b" } }, spec: { containers } } };
  await create("/apis/apps/v1/namespaces/x/deployments", { metadata: { name: "d" }, spec });
});
afterAll(async () => {
  for (const session of Object.values(sessions)) session.destroy();
  await backend?.stop(true);
  await s?.[Symbol.asyncDispose]();
});

test("what is in no namespace is not there below one, whatever rights there are in that one", async () => {
  const body = binding("owner", "ClusterRole", "cluster-admin");
  expect(await status("owner", `${RBAC}/namespaces/x/clusterrolebindings`, { method: "POST", body })).toBe(404);
  expect(await status("owner", `${RBAC}/clusterrolebindings`, { method: "POST", body })).toBe(403);
  for (const path of ["nodes", "nodes/n1", "nodes?watch=1", "nodes/n1/proxy/run", "persistentvolumes"])
    expect([path, await status("owner", `/api/v1/namespaces/x/${path}`)]).toEqual([path, 404]);
  expect(await status("owner", "/api/v1/namespaces/x/namespaces/y")).toBe(403);
  expect(await status("admin", "/api/v1/namespaces/x/namespaces/y")).toBe(404);
  expect(await status("owner", "/api/v1/namespaces/x/nodes", { method: "DELETE" })).toBe(404);
  expect(await status("owner", "/api/v1/nodes")).toBe(403);
});

test("what is in namespaces is read across all of them, and not written", async () => {
  expect(await status("admin", "/api/v1/configmaps")).toBe(200);
  expect(await status("admin", "/api/v1/configmaps", { method: "DELETE" })).toBe(405);
  expect(await status("admin", "/api/v1/configmaps", { method: "POST", body: { metadata: { name: "a", namespace: "x" } } })).toBe(405);
  expect(await status("admin", "/api/v1/configmaps/kept")).toBe(404);
  const { text } = await ask("admin", "/api/v1/configmaps?fieldSelector=metadata.name%3Dkept");
  expect((JSON.parse(text) as { items: unknown[] }).items).toHaveLength(1);
  expect(await status("admin", "/api/v1/namespaces/x/configmaps/kept")).toBe(200);
});

test("whoever may see all in a namespace sees the namespace, and no other", async () => {
  expect(await status("owner", "/api/v1/namespaces/x")).toBe(200);
  expect(await status("owner", "/api/v1/namespaces/y")).toBe(403);
  expect(await status("owner", "/api/v1/namespaces")).toBe(403);
});

test("a rule of one name is for lists of that name too", async () => {
  const list = "/api/v1/namespaces/x/secrets";
  const { status: code, text } = await ask("reader", `${list}?fieldSelector=metadata.name%3Ds1`);
  expect([code, (JSON.parse(text) as { items: unknown[] }).items.length]).toEqual([200, 1]);
  for (const query of ["", "?fieldSelector=metadata.name%3Ds2", "?fieldSelector=metadata.name!%3Ds1", "?fieldSelector=%3D"])
    expect([query, await status("reader", `${list}${query}`)]).toEqual([query, 403]);
});

test("a right to a subresource is none to watch the object", async () => {
  expect(await status("scaler", "/apis/apps/v1/namespaces/x/deployments/d/scale")).toBe(200);
  expect(await status("admin", "/apis/apps/v1/watch/namespaces/x/deployments/d/scale?timeoutSeconds=1")).toBe(404);
  expect(await status("scaler", "/apis/apps/v1/watch/namespaces/x/deployments/d/scale?timeoutSeconds=1")).not.toBe(200);
});

test("a proxy is asked by the verb that stands for the method, and by no other way to write it", async () => {
  const path = `/api/v1/namespaces/x/pods/p:${backend.port}/proxy/run`;
  expect(await status("proxier", path)).toBe(200);
  for (const [method, code] of [
    ["DELETE", 403],
    ["delete", 405],
    ["Post", 405],
    ["constructor", 405],
    ["OPTIONS", 405],
  ] as const)
    expect([method, await status("proxier", path, { method })]).toEqual([method, code]);
  expect(seen).toEqual(["GET /run"]);
});

test("a proxy leads to the pod that is named, and nowhere else", async () => {
  for (const port of [`x@127.0.0.1:${backend.port}`, `@127.0.0.1`, "80/", "-1", "1e3", "999999"])
    expect([port, await status("proxier", `/api/v1/namespaces/x/pods/p:${encodeURIComponent(port)}/proxy/`)]).not.toEqual([port, 200]);
  expect(seen).toEqual(["GET /run"]);
  expect(["10.1.2.3", "192.168.0.1", "fd00::1", "2001:db8::1"].filter((ip) => !isGlobalUnicast(ip))).toEqual([]);
  const nobodys = ["", "x", "0.0.0.0", "127.0.0.1", "127.9.9.9", "169.254.169.254", "224.0.0.1", "255.255.255.255"];
  expect([...nobodys, "::", "::1", "fe80::1", "ff02::1", "::ffff:127.0.0.1"].filter(isGlobalUnicast)).toEqual([]);
  expect([originOf("http", "10.0.0.1", "80"), originOf("https", "fd00::1", "443")]).toEqual([
    "http://10.0.0.1:80",
    "https://[fd00::1]:443",
  ]);
});

test("a stream to a container is for those who may create it, also by the GET of a WebSocket", async () => {
  const { cert, key } = await s.pki.leaf({ name: "user-proxier", commonName: "proxier" });
  const response = await fetch(`${s.server}/api/v1/namespaces/x/pods/p/exec?command=id&stdout=1`, {
    headers: {
      upgrade: "websocket",
      connection: "Upgrade",
      "sec-websocket-version": "13",
      "sec-websocket-key": "AAAAAAAAAAAAAAAAAAAAAA==",
    },
    tls: { ca: s.ca, cert, key },
  });
  const { message } = (await response.json()) as { message: string };
  expect([response.status, message]).toEqual([403, expect.stringContaining('cannot create resource "pods/exec"')]);
});
