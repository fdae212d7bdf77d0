// @kubernetes/client-node, the client that Node programs use.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { PassThrough } from "node:stream";
import * as k8s from "@kubernetes/client-node";
import { TestCluster, until } from "./support/cluster.ts";
import { BOX, buildBox } from "./support/images.ts";

let cluster: TestCluster;
let config: k8s.KubeConfig;
let core: k8s.CoreV1Api;
const namespace = "default";

beforeAll(async () => {
  cluster = await TestCluster.up();
  await buildBox(cluster);
  config = new k8s.KubeConfig();
  config.loadFromFile(cluster.kubeconfig);
  core = config.makeApiClient(k8s.CoreV1Api);
});
afterAll(() => cluster?.[Symbol.asyncDispose]());

const configMap = (name: string, value: string): k8s.V1ConfigMap => ({
  metadata: { name, labels: { test: "client-node" } },
  data: { value },
});

test("create, read, list, replace, patch and delete", async () => {
  await core.createNamespacedConfigMap({ namespace, body: configMap("a", "1") });
  const read = await core.readNamespacedConfigMap({ namespace, name: "a" });
  expect(read.data).toEqual({ value: "1" });
  const list = await core.listNamespacedConfigMap({ namespace, labelSelector: "test=client-node" });
  expect(list.items.map((i) => i.metadata?.name)).toEqual(["a"]);
  read.data = { value: "2" };
  await core.replaceNamespacedConfigMap({ namespace, name: "a", body: read });
  await expect(core.replaceNamespacedConfigMap({ namespace, name: "a", body: read })).rejects.toMatchObject({ code: 409 });
  const patched = await core.patchNamespacedConfigMap(
    { namespace, name: "a", body: { data: { more: "3" } } },
    k8s.setHeaderOptions("Content-Type", k8s.PatchStrategy.MergePatch),
  );
  expect(patched.data).toEqual({ value: "2", more: "3" });
  await core.deleteNamespacedConfigMap({ namespace, name: "a" });
  await expect(core.readNamespacedConfigMap({ namespace, name: "a" })).rejects.toMatchObject({ code: 404 });
});

test("watch sees each change in order", async () => {
  const seen: string[] = [];
  const list = await core.listNamespacedConfigMap({ namespace });
  const abort = await new k8s.Watch(config).watch(
    `/api/v1/namespaces/${namespace}/configmaps`,
    { resourceVersion: list.metadata?.resourceVersion },
    (type, object: k8s.V1ConfigMap) => seen.push(`${type} ${object.metadata?.name} ${object.data?.value}`),
    () => {},
  );
  await core.createNamespacedConfigMap({ namespace, body: configMap("w", "1") });
  const w = await core.readNamespacedConfigMap({ namespace, name: "w" });
  await core.replaceNamespacedConfigMap({ namespace, name: "w", body: { ...w, data: { value: "2" } } });
  await core.deleteNamespacedConfigMap({ namespace, name: "w" });
  await until("three events", () => seen.length >= 3);
  abort.abort();
  expect(seen).toEqual(["ADDED w 1", "MODIFIED w 2", "DELETED w 2"]);
});

test("an informer keeps up", async () => {
  const names = new Set<string>();
  const informer = k8s.makeInformer(config, `/api/v1/namespaces/${namespace}/configmaps`, () =>
    core.listNamespacedConfigMap({ namespace }),
  );
  informer.on("add", (o) => names.add(o.metadata?.name ?? ""));
  informer.on("delete", (o) => names.delete(o.metadata?.name ?? ""));
  await informer.start();
  await until("the first list", () => names.has("kube-root-ca.crt"));
  await core.createNamespacedConfigMap({ namespace, body: configMap("i", "1") });
  await until("the new one", () => names.has("i"));
  await core.deleteNamespacedConfigMap({ namespace, name: "i" });
  await until("it to go", () => !names.has("i"));
  await informer.stop();
});

test("exec and logs of a pod", async () => {
  await core.createNamespacedPod({
    namespace,
    body: {
      metadata: { name: "p" },
      spec: { terminationGracePeriodSeconds: 0, containers: [{ name: "c", image: BOX, command: ["sh", "-c", "echo up; sleep 600"] }] },
    },
  });
  await until("the pod", async () => (await core.readNamespacedPod({ namespace, name: "p" })).status?.phase === "Running");
  const text = await until("its log", () => core.readNamespacedPodLog({ namespace, name: "p" }));
  expect(text).toBe("up\n");
  const out = new PassThrough();
  let stdout = "";
  out.on("data", (d) => {
    stdout += d;
  });
  const status = await new Promise<k8s.V1Status>((done, fail) => {
    new k8s.Exec(config).exec(namespace, "p", "c", ["sh", "-c", "echo inside; exit 3"], out, null, null, false, done).catch(fail);
  });
  await until("its output", () => stdout === "inside\n");
  expect(status.status).toBe("Failure");
  expect(status.details?.causes?.[0]).toMatchObject({ reason: "ExitCode", message: "3" });
  await core.deleteNamespacedPod({ namespace, name: "p" });
});
