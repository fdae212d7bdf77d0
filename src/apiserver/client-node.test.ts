// The REST API as @kubernetes/client-node uses it.
import { afterAll, beforeAll, expect, test } from "bun:test";
import * as k8s from "@kubernetes/client-node";
import { startApiServer, type TestApiServer } from "../testing/api-server.ts";

let s: TestApiServer;
let config: k8s.KubeConfig;
let core: k8s.CoreV1Api;

beforeAll(async () => {
  s = await startApiServer();
  config = new k8s.KubeConfig();
  config.loadFromFile(s.kubeconfig);
  core = config.makeApiClient(k8s.CoreV1Api);
});
afterAll(async () => {
  await s?.[Symbol.asyncDispose]();
});

const namespace = "default";

async function until(condition: () => boolean): Promise<void> {
  const deadline = Date.now() + 10_000;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error("it did not happen within 10 s");
    await Bun.sleep(5);
  }
}

test("create, list, patch and delete", async () => {
  await core.createNamespacedConfigMap({ namespace, body: { metadata: { name: "one" }, data: { a: "1" } } });
  const list = await core.listNamespacedConfigMap({ namespace });
  expect(list.items.map((i) => i.metadata?.name)).toEqual(["one"]);
  const patched = await core.patchNamespacedConfigMap(
    { name: "one", namespace, body: [{ op: "add", path: "/data/b", value: "2" }] },
    k8s.setHeaderOptions("Content-Type", k8s.PatchStrategy.JsonPatch),
  );
  expect(patched.data).toEqual({ a: "1", b: "2" });
  await core.deleteNamespacedConfigMap({ name: "one", namespace });
  await expect(core.readNamespacedConfigMap({ name: "one", namespace })).rejects.toMatchObject({ code: 404 });
});

test("a long list comes in pages", async () => {
  for (let i = 0; i < 5; i++)
    await core.createNamespacedConfigMap({ namespace, body: { metadata: { name: `page-${i}`, labels: { page: "yes" } } } });
  const names: (string | undefined)[] = [];
  let next: string | undefined;
  do {
    const page = await core.listNamespacedConfigMap({ namespace, limit: 2, labelSelector: "page=yes", _continue: next });
    names.push(...page.items.map((i) => i.metadata?.name));
    next = page.metadata?._continue;
  } while (next);
  expect(names).toEqual(["page-0", "page-1", "page-2", "page-3", "page-4"]);
});

test("a watch hears what happens, and ends when it is aborted", async () => {
  const heard: string[] = [];
  let ended = false;
  const watch = new k8s.Watch(config);
  const request = await watch.watch(
    `/api/v1/namespaces/${namespace}/configmaps`,
    { labelSelector: "w=1" },
    (type, object) => heard.push(`${type} ${object.metadata.name}`),
    () => {
      ended = true;
    },
  );
  await core.createNamespacedConfigMap({ namespace, body: { metadata: { name: "w", labels: { w: "1" } } } });
  await core.deleteNamespacedConfigMap({ name: "w", namespace });
  await until(() => heard.length === 2);
  expect(heard).toEqual(["ADDED w", "DELETED w"]);
  request.abort();
  await until(() => ended);
});

test("an informer keeps up", async () => {
  const seen = new Map<string, string | undefined>();
  const informer = k8s.makeInformer(config, `/api/v1/namespaces/${namespace}/configmaps`, () =>
    core.listNamespacedConfigMap({ namespace }),
  );
  const note = (o: k8s.V1ConfigMap) => seen.set(o.metadata!.name!, o.data?.v);
  informer.on("add", note);
  informer.on("update", note);
  informer.on("delete", (o) => seen.delete(o.metadata!.name!));
  await informer.start();
  await core.createNamespacedConfigMap({ namespace, body: { metadata: { name: "informed" }, data: { v: "1" } } });
  await until(() => seen.get("informed") === "1");
  await core.replaceNamespacedConfigMap({ name: "informed", namespace, body: { metadata: { name: "informed" }, data: { v: "2" } } });
  await until(() => seen.get("informed") === "2");
  await core.deleteNamespacedConfigMap({ name: "informed", namespace });
  await until(() => !seen.has("informed"));
  await informer.stop();
});
