// Run by Node: uses @kubernetes/client-node as a program would. Bun's fetch does
// not take the certificate authority that the library passes in an agent.
import assert from "node:assert/strict";
import { PassThrough } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import * as k8s from "@kubernetes/client-node";

const config = new k8s.KubeConfig();
config.loadFromFile(process.env.KUBECONFIG);
const core = config.makeApiClient(k8s.CoreV1Api);
const namespace = "default";

async function until(what, probe, timeout = 30_000) {
  const deadline = Date.now() + timeout;
  for (;;) {
    const seen = await probe();
    if (seen) return seen;
    if (Date.now() > deadline) throw new Error(`gave up waiting for ${what}`);
    await sleep(20);
  }
}

const configMap = (name, value) => ({ metadata: { name, labels: { test: "client-node" } }, data: { value } });

const parts = {
  async crud() {
    await core.createNamespacedConfigMap({ namespace, body: configMap("a", "1") });
    const read = await core.readNamespacedConfigMap({ namespace, name: "a" });
    assert.deepEqual(read.data, { value: "1" });
    const list = await core.listNamespacedConfigMap({ namespace, labelSelector: "test=client-node" });
    assert.deepEqual(
      list.items.map((i) => i.metadata.name),
      ["a"],
    );
    read.data = { value: "2" };
    await core.replaceNamespacedConfigMap({ namespace, name: "a", body: read });
    await assert.rejects(core.replaceNamespacedConfigMap({ namespace, name: "a", body: read }), { code: 409 });
    const patched = await core.patchNamespacedConfigMap(
      { namespace, name: "a", body: { data: { more: "3" } } },
      k8s.setHeaderOptions("Content-Type", k8s.PatchStrategy.MergePatch),
    );
    assert.deepEqual(patched.data, { value: "2", more: "3" });
    await core.deleteNamespacedConfigMap({ namespace, name: "a" });
    await assert.rejects(core.readNamespacedConfigMap({ namespace, name: "a" }), { code: 404 });
  },

  async watch() {
    const seen = [];
    const list = await core.listNamespacedConfigMap({ namespace });
    const abort = await new k8s.Watch(config).watch(
      `/api/v1/namespaces/${namespace}/configmaps`,
      { resourceVersion: list.metadata.resourceVersion },
      (type, object) => seen.push(`${type} ${object.metadata.name} ${object.data?.value}`),
      () => {},
    );
    await core.createNamespacedConfigMap({ namespace, body: configMap("w", "1") });
    const w = await core.readNamespacedConfigMap({ namespace, name: "w" });
    await core.replaceNamespacedConfigMap({ namespace, name: "w", body: { ...w, data: { value: "2" } } });
    await core.deleteNamespacedConfigMap({ namespace, name: "w" });
    await until("three events", () => seen.length >= 3);
    abort.abort();
    assert.deepEqual(seen, ["ADDED w 1", "MODIFIED w 2", "DELETED w 2"]);
  },

  async informer() {
    const names = new Set();
    const informer = k8s.makeInformer(config, `/api/v1/namespaces/${namespace}/configmaps`, () => core.listNamespacedConfigMap({ namespace }));
    informer.on("add", (o) => names.add(o.metadata.name));
    informer.on("delete", (o) => names.delete(o.metadata.name));
    await informer.start();
    await until("the first list", () => names.has("kube-root-ca.crt"));
    await core.createNamespacedConfigMap({ namespace, body: configMap("i", "1") });
    await until("the new one", () => names.has("i"));
    await core.deleteNamespacedConfigMap({ namespace, name: "i" });
    await until("it to go", () => !names.has("i"));
    await informer.stop();
  },

  async exec() {
    await core.createNamespacedPod({
      namespace,
      body: {
        metadata: { name: "p" },
        spec: { terminationGracePeriodSeconds: 0, containers: [{ name: "c", image: process.env.BOX, command: ["sh", "-c", "echo up; sleep 600"] }] },
      },
    });
    await until("the pod", async () => (await core.readNamespacedPod({ namespace, name: "p" })).status.phase === "Running");
    assert.equal(await until("its log", () => core.readNamespacedPodLog({ namespace, name: "p" })), "up\n");

    const followed = new PassThrough();
    let log = "";
    followed.on("data", (d) => {
      log += d;
    });
    const stop = await new k8s.Log(config).log(namespace, "p", "c", followed, { follow: true, tailLines: 10 });
    await until("the followed log", () => log === "up\n");
    stop.abort();

    const out = new PassThrough();
    let stdout = "";
    out.on("data", (d) => {
      stdout += d;
    });
    const status = await new Promise((done, fail) => {
      new k8s.Exec(config).exec(namespace, "p", "c", ["sh", "-c", "echo inside; exit 3"], out, null, null, false, done).catch(fail);
    });
    await until("its output", () => stdout === "inside\n");
    assert.equal(status.status, "Failure");
    assert.partialDeepStrictEqual?.(status.details.causes[0], { reason: "ExitCode", message: "3" });
    await core.deleteNamespacedPod({ namespace, name: "p" });
  },
};

await parts[process.argv[2]]();
process.exit(0);
