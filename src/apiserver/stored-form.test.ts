// What lies in a real etcd: upstream's keys, and values in upstream's protobuf
// form, as etcdctl shows them.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parse } from "yaml";
import { unwrapMessage } from "../api/codec/protobuf-decode.ts";
import type { KubeObject } from "../api/object.ts";
import type { ApiTransport, Target } from "../client/transport.ts";
import { startApiServer, type TestApiServer } from "../testing/api-server.ts";
import { noEtcd, noEtcdctl, type RealEtcd, startEtcd } from "../testing/etcd.ts";

const missing = noEtcd ?? noEtcdctl;
if (missing) console.log(`skipped: ${missing}`);

const ns = { namespace: "default" };
const meta = (name: string) => ({ name, ...ns, labels: { app: name }, annotations: { "example.com/note": "ü" } });
const template = {
  metadata: { labels: { app: "web" } },
  spec: {
    terminationGracePeriodSeconds: 0,
    containers: [
      {
        name: "web",
        image: "web:1",
        command: ["serve", ""],
        ports: [{ containerPort: 80 }],
        resources: { limits: { cpu: "100m", memory: "64Mi" }, requests: { cpu: "0.05" } },
        readinessProbe: { httpGet: { path: "/", port: "http" } },
        securityContext: {},
        volumeMounts: [{ name: "tmp", mountPath: "/tmp" }],
      },
    ],
    volumes: [{ name: "tmp", emptyDir: {} }],
  },
};

/** Object, where it goes, and its key. */
const objects: [target: Target, key: string, object: object][] = [
  [
    { group: "", version: "v1", resource: "pods", ...ns },
    "/registry/pods/default/p",
    { apiVersion: "v1", kind: "Pod", metadata: meta("p"), spec: template.spec },
  ],
  [
    { group: "apps", version: "v1", resource: "deployments", ...ns },
    "/registry/deployments/default/d",
    {
      apiVersion: "apps/v1",
      kind: "Deployment",
      metadata: meta("d"),
      spec: { replicas: 0, selector: { matchLabels: { app: "web" } }, template },
    },
  ],
  [
    { group: "", version: "v1", resource: "services", ...ns },
    "/registry/services/specs/default/s",
    {
      apiVersion: "v1",
      kind: "Service",
      metadata: meta("s"),
      spec: { selector: { app: "web" }, ports: [{ port: 80, targetPort: "http" }] },
    },
  ],
  [
    { group: "", version: "v1", resource: "configmaps", ...ns },
    "/registry/configmaps/default/c",
    { apiVersion: "v1", kind: "ConfigMap", metadata: meta("c"), data: { a: "", b: "2" }, binaryData: { c: "AAE=" } },
  ],
  [
    { group: "", version: "v1", resource: "secrets", ...ns },
    "/registry/secrets/default/k",
    { apiVersion: "v1", kind: "Secret", metadata: meta("k"), data: { token: "c2VjcmV0" } },
  ],
  [
    { group: "coordination.k8s.io", version: "v1", resource: "leases", ...ns },
    "/registry/leases/default/l",
    {
      apiVersion: "coordination.k8s.io/v1",
      kind: "Lease",
      metadata: meta("l"),
      spec: { holderIdentity: "me", leaseDurationSeconds: 15, renewTime: "2026-01-02T03:04:05.678901Z", leaseTransitions: 0 },
    },
  ],
  [
    { group: "events.k8s.io", version: "v1", resource: "events", ...ns },
    "/registry/events/default/e",
    {
      apiVersion: "events.k8s.io/v1",
      kind: "Event",
      metadata: { name: "e", ...ns },
      eventTime: "2026-01-02T03:04:05.000000Z",
      reportingController: "test.example/x",
      reportingInstance: "one",
      action: "Test",
      reason: "Tested",
      type: "Normal",
      regarding: { kind: "Pod", namespace: "default", name: "p", apiVersion: "v1" },
    },
  ],
  [
    { group: "networking.k8s.io", version: "v1", resource: "ingresses", ...ns },
    "/registry/ingress/default/i",
    {
      apiVersion: "networking.k8s.io/v1",
      kind: "Ingress",
      metadata: meta("i"),
      spec: { defaultBackend: { service: { name: "s", port: { number: 80 } } } },
    },
  ],
  [
    { group: "", version: "v1", resource: "nodes" },
    "/registry/minions/n",
    { apiVersion: "v1", kind: "Node", metadata: { name: "n" }, spec: { taints: [{ key: "a", effect: "NoSchedule" }] } },
  ],
];

describe.skipIf(missing !== undefined)("objects in a real etcd", () => {
  let etcd: RealEtcd;
  let server: TestApiServer;
  let api: ApiTransport;

  const etcdctl = (...args: string[]) => {
    const { exitCode, stdout, stderr } = Bun.spawnSync(["etcdctl", "--endpoints", etcd.endpoint, ...args], {
      env: { ...process.env, ETCDCTL_API: "3" },
    });
    expect(exitCode, stderr.toString()).toBe(0);
    return stdout;
  };
  const admin = (s: TestApiServer) => s.api.transport({ name: "admin", groups: ["system:masters"] });
  const values = (prefix: string) =>
    (JSON.parse(etcdctl("get", "--prefix", prefix, "-w", "json").toString()).kvs ?? []) as { key: string; value: string; lease?: number }[];

  beforeAll(async () => {
    etcd = await startEtcd();
    server = await startApiServer({ store: etcd.client(), storageMediaType: "application/vnd.kubernetes.protobuf" });
    api = admin(server);
    await api.create(
      { group: "", version: "v1", resource: "serviceaccounts", ...ns },
      { apiVersion: "v1", kind: "ServiceAccount", metadata: { name: "default" } },
    );
    for (const [target, , object] of objects) await api.create(target, object);
    await api.patch(
      { ...objects[3]![0], name: "c" },
      "apply",
      { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "c" }, data: { applied: "1" } },
      { fieldManager: "test", force: true },
    );
  });
  afterAll(async () => {
    await server?.[Symbol.asyncDispose]();
    await etcd?.[Symbol.asyncDispose]();
  });

  test("lie under upstream's keys, as protobuf of the kind's stored version", () => {
    for (const [, key, object] of objects) {
      const value = etcdctl("get", key, "--print-value-only");
      expect([key, value.subarray(0, 4).toString("latin1")]).toEqual([key, "k8s\0"]);
      const { apiVersion, kind } = unwrapMessage(value.subarray(0, -1));
      const wanted = object as { apiVersion: string; kind: string };
      expect([key, apiVersion, kind]).toEqual([key, wanted.kind === "Event" ? "v1" : wanted.apiVersion, wanted.kind]);
    }
  });

  test("all of them do, those that a new cluster has from the start too", () => {
    const all = values("/registry/");
    expect(all.length).toBeGreaterThan(50);
    const other = all.filter(({ value }) => Buffer.from(value, "base64").subarray(0, 4).toString("latin1") !== "k8s\0");
    expect(other.map(({ key }) => Buffer.from(key, "base64").toString())).toEqual([]);
  });

  test("hold no resourceVersion, which is the store's to tell", async () => {
    const target = { ...objects[3]![0], name: "c" };
    await api.update(target, { ...(await api.get<KubeObject>(target)), data: { changed: "yes" } });
    const { value } = values("/registry/configmaps/default/c")[0]!;
    const { decodeProtobuf, builtinMessage } = await import("../api/codec/protobuf-decode.ts");
    const stored = decodeProtobuf(Buffer.from(value, "base64"), builtinMessage) as { metadata: { resourceVersion?: string } };
    expect(stored.metadata.resourceVersion ?? "").toBe("");
  });

  test("expire with a lease of the store where they are events, or say which server runs", () => {
    const ids = etcdctl("lease", "list")
      .toString()
      .match(/^[0-9a-f]{16}$/gm)!;
    const told = ids.map((id) => etcdctl("lease", "timetolive", id, "--keys").toString());
    const granted = (key: string) => /granted with TTL\((\d+s)\)/.exec(told.find((t) => t.includes(key)) ?? "")?.[1];
    // An hour, and what the lease is shared for.
    expect(granted("/registry/events/default/e")).toBe("3660s");
    expect(granted("/registry/masterleases/192.0.2.1")).toBe("15s");
  });

  test("are read by another server as they were written", async () => {
    const examples = join(import.meta.dirname, "../../examples/hello");
    for (const name of ["configmap", "deployment", "service"]) {
      const object = parse(await Bun.file(join(examples, `${name}.yaml`)).text()) as KubeObject;
      const [group, version] = name === "deployment" ? ["apps", "v1"] : ["", "v1"];
      await api.create({ group: group!, version: version!, resource: `${name}s`, ...ns }, object);
    }
    await using second = await startApiServer({ store: etcd.client(), storageMediaType: "application/vnd.kubernetes.protobuf" });
    const other = admin(second);
    const resources: [string, string, string][] = [
      ...objects.map(([t]) => [t.group, t.version, t.resource] as [string, string, string]),
      ["rbac.authorization.k8s.io", "v1", "clusterroles"],
      ["rbac.authorization.k8s.io", "v1", "clusterrolebindings"],
      ["", "v1", "namespaces"],
      ["", "v1", "endpoints"],
      ["discovery.k8s.io", "v1", "endpointslices"],
    ];
    for (const [group, version, resource] of resources) {
      const [a, b] = await Promise.all([api.list({ group, version, resource }), other.list({ group, version, resource })]);
      expect(b.items).toEqual(a.items);
      expect([resource, a.items.length > 0]).toEqual([resource, true]);
    }
  });

  test("health is asked of etcd, and a failure of it told by name", async () => {
    const get = async (path: string) => {
      const r = await fetch(`${server.server}${path}`, { tls: { ca: server.ca, ...server.admin } });
      return [r.status, await r.text()] as const;
    };
    expect(await get("/livez/etcd")).toEqual([200, "ok"]);
    expect(await get("/readyz/etcd-readiness")).toEqual([200, "ok"]);
    expect((await get("/readyz?verbose"))[1]).toMatch(/^\[\+\]ping ok\n\[\+\]log ok\n\[\+\]etcd ok\n\[\+\]etcd-readiness ok\n/);
    process.kill(etcd.pid, "SIGSTOP");
    try {
      // A thread that runs meanwhile stops only once the signal's thread had its turn.
      const state = (thread: string) => /\) (.)/.exec(readFileSync(`/proc/${etcd.pid}/task/${thread}/stat`, "utf8"))?.[1];
      while (!readdirSync(`/proc/${etcd.pid}/task`).every((thread) => state(thread) === "T")) await Bun.sleep(5);
      const [code, text] = await get("/livez/etcd");
      expect([code, text]).toEqual([500, "internal server error: error getting data from etcd: context deadline exceeded\n"]);
      expect((await get("/readyz"))[1]).toContain("[-]etcd-readiness failed: reason withheld");
    } finally {
      process.kill(etcd.pid, "SIGCONT");
    }
    expect(await get("/livez/etcd")).toEqual([200, "ok"]);
  }, 20_000);
});
