// The controllers against kubun's own apiserver and the real kubectl, over both
// transports. The test plays the kubelet: it says which pods run, and lets go
// those that are deleted.
import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { generateKeyPairSync } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type * as appsV1 from "../api/gen/apps/v1.ts";
import type * as coreV1 from "../api/gen/core/v1.ts";
import { isConflict, isNotFound } from "../api/status.ts";
import { ApiServer } from "../apiserver/mod.ts";
import { HttpTransport } from "../client/http.ts";
import { InformerFactory } from "../client/informer.ts";
import { deployments, endpointSlices, endpoints, jobs, namespaces, nodes, pods, replicaSets, resource } from "../client/resources.ts";
import type { ApiTransport } from "../client/transport.ts";
import { ControllerManager } from "../controllers/mod.ts";
import { testPki } from "./certificates.ts";
import { MemoryStore } from "./memory-store.ts";

setDefaultTimeout(60_000);

interface TestCluster {
  admin: ApiTransport;
  /** Runs kubectl and returns what it prints. Throws with its errors when it fails. */
  kubectl(...args: string[]): Promise<string>;
  stop(): Promise<void>;
}

const keys = generateKeyPairSync("ec", { namedCurve: "P-256" });

async function cluster(over: "direct" | "http"): Promise<TestCluster> {
  const dir = mkdtempSync(join(tmpdir(), "kubun-controllers-"));
  const pki = await testPki();
  const [serving, client] = await Promise.all([pki.issue("kube-apiserver"), pki.issue("admin", "system:masters")]);
  const api = new ApiServer({
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
  const server = `https://127.0.0.1:${new URL(api.address ?? "https://127.0.0.1:1").port}`;
  const http = new HttpTransport({ server, ca: pki.ca, ...client }, { userAgent: "kube-controller-manager/v1.35.0" });
  const direct = api.transport({ name: "admin", groups: ["system:masters", "system:authenticated"] });
  const manager = new ControllerManager({
    transport: over === "http" ? http : direct,
    rootCaPem: pki.ca,
    clusterCidr: "10.244.0.0/16",
  });
  await manager.start();
  const kubelet = await fakeKubelet(direct);
  const b64 = (text: string) => Buffer.from(text).toString("base64");
  const kubeconfig = join(dir, "kubeconfig");
  writeFileSync(
    kubeconfig,
    JSON.stringify({
      apiVersion: "v1",
      kind: "Config",
      "current-context": "test",
      clusters: [{ name: "test", cluster: { server, "certificate-authority-data": b64(pki.ca) } }],
      users: [{ name: "test", user: { "client-certificate-data": b64(client.cert), "client-key-data": b64(client.key) } }],
      contexts: [{ name: "test", context: { cluster: "test", user: "test" } }],
    }),
  );
  return {
    admin: direct,
    async kubectl(...args) {
      const p = Bun.spawn(["kubectl", "--kubeconfig", kubeconfig, "--cache-dir", join(dir, "cache"), ...args], {
        stdout: "pipe",
        stderr: "pipe",
      });
      const [out, err, code] = await Promise.all([new Response(p.stdout).text(), new Response(p.stderr).text(), p.exited]);
      if (code !== 0) throw new Error(`kubectl ${args.join(" ")}: ${err}${out}`);
      return out.trim();
    },
    async stop() {
      await kubelet.stop();
      await manager.stop();
      http.close();
      await api.stop();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

/** One node, ready; every pod is put on it and runs, unless its image is "broken"; deleted pods go at once. */
async function fakeKubelet(transport: ApiTransport): Promise<{ stop(): Promise<void> }> {
  const now = () => `${new Date().toISOString().slice(0, 19)}Z`;
  await resource(transport, nodes).create({ apiVersion: "v1", kind: "Node", metadata: { name: "node-1" }, spec: {} });
  const node = await resource(transport, nodes).get("node-1");
  const ready: coreV1.NodeCondition = {
    type: "Ready",
    status: "True",
    lastHeartbeatTime: now(),
    lastTransitionTime: now(),
    reason: "KubeletReady",
  };
  await transport
    .update({ ...nodes, name: "node-1", subresource: "status" }, { ...node, status: { conditions: [ready] } })
    .catch(async () => {
      // The controllers have changed it in the meantime.
      const latest = await resource(transport, nodes).get("node-1");
      await resource(transport, nodes).updateStatus({ ...latest, status: { conditions: [ready] } });
    });
  const factory = new InformerFactory(transport);
  const ips = new Map<string, string>();
  let next = 1;
  const tend = async (pod: coreV1.Pod): Promise<void> => {
    const at = { ...pods, namespace: pod.metadata.namespace, name: pod.metadata.name! };
    try {
      if (pod.metadata.deletionTimestamp) {
        await transport.delete(at, { gracePeriodSeconds: 0, preconditions: { uid: pod.metadata.uid } });
      } else if (!pod.spec.nodeName) {
        const binding = {
          apiVersion: "v1",
          kind: "Binding",
          metadata: { name: pod.metadata.name },
          target: { kind: "Node", name: "node-1" },
        };
        await transport.create({ ...at, subresource: "binding" }, binding);
      } else if (!pod.status?.podIP && pod.spec.containers[0]?.image !== "broken") {
        const ip = ips.get(pod.metadata.uid!) ?? `10.244.0.${next++}`;
        ips.set(pod.metadata.uid!, ip);
        const once = pod.spec.restartPolicy === "Never";
        const condition = (type: coreV1.PodConditionType) => ({
          type,
          status: (once ? "False" : "True") as coreV1.ConditionStatus,
          lastTransitionTime: now(),
        });
        const status: coreV1.PodStatus = {
          phase: once ? "Succeeded" : "Running",
          podIP: ip,
          podIPs: [{ ip }],
          conditions: [condition("Ready"), condition("ContainersReady")],
        };
        await transport.patch({ ...at, subresource: "status" }, "strategic", { status });
      }
    } catch (error) {
      if (!isNotFound(error) && !isConflict(error)) throw error;
    }
  };
  const pending = new Set<Promise<void>>();
  const later = (pod: coreV1.Pod) => {
    const p = tend(pod).finally(() => pending.delete(p));
    pending.add(p);
  };
  factory.for(pods).on({ add: later, update: (_, pod) => later(pod) });
  factory.start();
  return {
    async stop() {
      await factory.stop();
      await Promise.all(pending);
    },
  };
}

async function until<T>(what: string, look: () => Promise<T | undefined | false>): Promise<T> {
  const deadline = Date.now() + 30_000;
  for (;;) {
    const found = await look();
    if (found) return found;
    if (Date.now() > deadline) throw new Error(`never happened: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

const absent = async (get: Promise<unknown>): Promise<boolean> => {
  try {
    await get;
    return false;
  } catch (error) {
    if (isNotFound(error)) return true;
    throw error;
  }
};

const kubectlPath = Bun.which("kubectl");
if (!kubectlPath) console.log("skipped what needs kubectl: it is not on PATH");

for (const over of ["direct", "http"] as const) {
  describe(`over ${over}`, () => {
    let made: Promise<TestCluster> | undefined;
    const shared = () => {
      made ??= cluster(over);
      return made;
    };
    afterAll(async () => {
      await (await made)?.stop();
    });

    test("a Deployment's pods are there once it was created, and gone with it", async () => {
      const { admin } = await shared();
      const web: appsV1.Deployment = {
        apiVersion: "apps/v1",
        kind: "Deployment",
        metadata: { name: "quick", namespace: "default" },
        spec: {
          replicas: 3,
          selector: { matchLabels: { app: "quick" } },
          template: { metadata: { labels: { app: "quick" } }, spec: { containers: [{ name: "c", image: "i" }] } },
        },
      };
      await resource(admin, deployments, "default").create(web);
      await until(
        "three pods",
        async () => (await resource(admin, pods, "default").list({ labelSelector: "app=quick" })).items.length === 3,
      );
      await admin.delete({ ...deployments, namespace: "default", name: "quick" }, { propagationPolicy: "Background" });
      await until(
        "its pods collected",
        async () => (await resource(admin, pods, "default").list({ labelSelector: "app=quick" })).items.length === 0,
      );
      expect((await resource(admin, replicaSets, "default").list({ labelSelector: "app=quick" })).items).toEqual([]);
    });

    test("a node that becomes ready loses its taints and gets its range of pod addresses", async () => {
      const { admin } = await shared();
      const node = await until("a range", async () => {
        const n = await resource(admin, nodes).get("node-1");
        return !!n.spec.podCIDR && (n.spec.taints ?? []).length === 0 && n;
      });
      expect(node.spec.podCIDRs).toEqual(["10.244.0.0/24"]);
    });

    test("a Service's endpoints follow its pods", async () => {
      const { admin } = await shared();
      await resource(admin, deployments, "default").create({
        apiVersion: "apps/v1",
        kind: "Deployment",
        metadata: { name: "back", namespace: "default" },
        spec: {
          replicas: 2,
          selector: { matchLabels: { app: "back" } },
          template: {
            metadata: { labels: { app: "back" } },
            spec: { containers: [{ name: "c", image: "i", ports: [{ name: "web", containerPort: 8080 }] }] },
          },
        },
      });
      await admin.create(
        { group: "", version: "v1", resource: "services", namespace: "default" },
        {
          apiVersion: "v1",
          kind: "Service",
          metadata: { name: "back" },
          spec: { selector: { app: "back" }, ports: [{ port: 80, targetPort: "web" }] },
        },
      );
      const slices = () => resource(admin, endpointSlices, "default").list({ labelSelector: "kubernetes.io/service-name=back" });
      const ready = async () => (await slices()).items.flatMap((s) => s.endpoints ?? []).filter((e) => e.conditions?.ready).length;
      await until("two endpoints", async () => (await ready()) === 2);
      expect((await slices()).items.length).toBe(1);
      expect((await slices()).items[0]!.ports).toMatchObject([{ port: 8080, protocol: "TCP" }]);
      const classic = await until("classic endpoints", async () => {
        const e = await resource(admin, endpoints, "default").get("back");
        return e.subsets?.[0]?.addresses?.length === 2 && e;
      });
      expect(classic.subsets?.[0]?.ports?.[0]?.port).toBe(8080);
      await admin.patch({ ...deployments, namespace: "default", name: "back", subresource: "scale" }, "merge", { spec: { replicas: 1 } });
      await until("one endpoint", async () => (await ready()) === 1 && (await slices()).items[0]!.endpoints?.length === 1);
      await admin.delete({ group: "", version: "v1", resource: "services", namespace: "default", name: "back" });
      await until("no slices", async () => (await slices()).items.length === 0);
      await until("no endpoints", () => absent(resource(admin, endpoints, "default").get("back")));
    });

    test("a namespace has its account and authority, and goes with all that is in it", async () => {
      const { admin } = await shared();
      await resource(admin, namespaces).create({ apiVersion: "v1", kind: "Namespace", metadata: { name: "team" }, spec: {} });
      await until(
        "its account",
        async () =>
          !(await absent(admin.get({ group: "", version: "v1", resource: "serviceaccounts", namespace: "team", name: "default" }))),
      );
      await until(
        "its authority",
        async () =>
          !(await absent(admin.get({ group: "", version: "v1", resource: "configmaps", namespace: "team", name: "kube-root-ca.crt" }))),
      );
      await resource(admin, deployments, "team").create({
        apiVersion: "apps/v1",
        kind: "Deployment",
        metadata: { name: "web", namespace: "team" },
        spec: {
          replicas: 2,
          selector: { matchLabels: { a: "b" } },
          template: { metadata: { labels: { a: "b" } }, spec: { containers: [{ name: "c", image: "i" }] } },
        },
      });
      await until("its pods", async () => (await resource(admin, pods, "team").list()).items.length === 2);
      await admin.delete({ ...namespaces, name: "team" });
      await until("the end of it", () => absent(resource(admin, namespaces).get("team")));
      expect((await resource(admin, pods, "team").list()).items).toEqual([]);
    });

    test("a Job counts each of its pods once and completes", async () => {
      const { admin } = await shared();
      await resource(admin, jobs, "default").create({
        apiVersion: "batch/v1",
        kind: "Job",
        metadata: { name: "sum", namespace: "default" },
        spec: { completions: 3, parallelism: 2, template: { spec: { restartPolicy: "Never", containers: [{ name: "c", image: "i" }] } } },
      });
      const job = await until("its completion", async () => {
        const j = await resource(admin, jobs, "default").get("sum");
        return j.status?.conditions?.some((c) => c.type === "Complete" && c.status === "True") && j;
      });
      expect(job.status).toMatchObject({ succeeded: 3, uncountedTerminatedPods: {} });
      const all = await resource(admin, pods, "default").list({ labelSelector: "job-name=sum" });
      expect(all.items.length).toBe(3);
      await until("pods that nothing holds", async () =>
        (await resource(admin, pods, "default").list({ labelSelector: "job-name=sum" })).items.every((p) => !p.metadata.finalizers?.length),
      );
    });

    test.skipIf(!kubectlPath)("kubectl creates, scales, rolls out, undoes, pauses and restarts", async () => {
      const { kubectl } = await shared();
      await kubectl("create", "deployment", "web", "--image=v1", "--replicas=3");
      expect(await kubectl("rollout", "status", "deployment/web", "--timeout=30s")).toContain('deployment "web" successfully rolled out');
      await kubectl("scale", "deployment/web", "--replicas=5");
      await kubectl("rollout", "status", "deployment/web", "--timeout=30s");
      expect((await kubectl("get", "pods", "-l", "app=web", "-o", "name")).split("\n").length).toBe(5);
      await kubectl("set", "image", "deployment/web", "*=v2");
      await kubectl("rollout", "status", "deployment/web", "--timeout=30s");
      const history = await kubectl("rollout", "history", "deployment/web");
      expect(history).toMatch(/^1\s/m);
      expect(history).toMatch(/^2\s/m);
      expect(await kubectl("rollout", "undo", "deployment/web")).toContain("rolled back");
      await kubectl("rollout", "status", "deployment/web", "--timeout=30s");
      const images = "-o=jsonpath={.items[*].spec.containers[0].image}";
      // Pods that a rollout has deleted may be there for a moment longer than it takes.
      const run = (expected: string) =>
        until(expected, async () => {
          return (await kubectl("get", "pods", "-l", "app=web", "--field-selector=status.phase=Running", images)) === expected;
        });
      await run("v1 v1 v1 v1 v1");
      expect(await kubectl("get", "deployment", "web", "-o=jsonpath={.metadata.annotations.deployment\\.kubernetes\\.io/revision}")).toBe(
        "3",
      );
      await kubectl("rollout", "pause", "deployment/web");
      await kubectl("set", "image", "deployment/web", "*=v3");
      expect(await kubectl("get", "rs", "-l", "app=web", "-o=jsonpath={.items[*].spec.template.spec.containers[0].image}")).not.toContain(
        "v3",
      );
      await kubectl("rollout", "resume", "deployment/web");
      await kubectl("rollout", "status", "deployment/web", "--timeout=30s");
      await run("v3 v3 v3 v3 v3");
      await kubectl("rollout", "restart", "deployment/web");
      await kubectl("rollout", "status", "deployment/web", "--timeout=30s");
      expect(await kubectl("describe", "deployment", "web")).toContain("ScalingReplicaSet");
      expect(await kubectl("wait", "--for=condition=Available", "deployment/web", "--timeout=30s")).toContain("condition met");
      await kubectl("set", "image", "deployment/web", "*=broken");
      const stuck = kubectl("rollout", "status", "deployment/web", "--timeout=1s");
      expect(stuck).rejects.toThrow(/timed out/);
      await stuck.catch(() => undefined);
      await kubectl("rollout", "undo", "deployment/web");
      await kubectl("rollout", "status", "deployment/web", "--timeout=30s");
      await kubectl("delete", "deployment", "web", "--cascade=foreground", "--timeout=30s");
      expect(await kubectl("get", "rs,pods", "-l", "app=web", "-o", "name")).toBe("");
    });
  });
}
