// A cluster of separate processes, joined by the wire protocols alone: once
// over our store, once over Debian's etcd.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { noEtcd } from "../../src/testing/etcd.ts";
import { ok, until } from "./support/cluster.ts";
import { answerOf } from "./support/component-process.ts";
import { ComponentCluster, type ComponentsOptions } from "./support/components.ts";
import { root } from "./support/tools.ts";

interface PodList {
  items: {
    metadata: { name: string; uid: string };
    status: { podIP: string; containerStatuses: { containerID: string; restartCount: number; ready: boolean }[] };
  }[];
}

const runs: (ComponentsOptions & { title: string; missing: string | undefined })[] = [
  { title: "over our store", store: "kubun", kubeletCertificate: false, missing: undefined },
  { title: "over Debian's etcd", store: "etcd", kubeletCertificate: true, missing: noEtcd },
];

for (const { title, missing, ...options } of runs) {
  if (missing) console.log(`skipped: ${missing}`);
  describe.skipIf(missing !== undefined)(`separate processes ${title}`, () => {
    let cluster: ComponentCluster;
    beforeAll(async () => {
      cluster = await ComponentCluster.start(options);
    }, 120_000);
    afterAll(() => cluster?.[Symbol.asyncDispose](), 60_000);

    const pods = async () =>
      (JSON.parse(await cluster.kubectl(["get", "pods", "-l", "app=hello", "-o", "json"])) as PodList).items
        .map((p) => ({
          name: p.metadata.name,
          uid: p.metadata.uid,
          ip: p.status.podIP,
          ...p.status.containerStatuses.map((c) => ({ container: c.containerID, restarts: c.restartCount }))[0]!,
        }))
        .sort((a, b) => (a.name < b.name ? -1 : 1));
    let address = "";
    const page = () => ok(["curl", "-sS", "--max-time", "5", `http://${address}/`]);
    /** Refusals of requests for resources since the apiserver started, as its metrics count them. */
    const refusals = async () => {
      const { probes } = cluster.process("kube-apiserver").spec;
      const text = await answerOf(probes.find((p) => p.url.endsWith("/metrics"))!);
      return text.split("\n").filter((l) => /^apiserver_request_total\{.*resource="\w.*code="403"/.test(l));
    };
    const nobodyRefused = async () => {
      expect(await refusals()).toEqual([]);
      for (const p of cluster.processes.values())
        expect(`${p.name}: ${/^.*forbidden.*$/im.exec(p.log())?.[0]}`).toBe(`${p.name}: undefined`);
    };

    test("the example rolls out, and its page is served over the ClusterIP", async () => {
      await cluster.kubectl(["apply", "-f", join(root, "examples/hello")]);
      await cluster.kubectl(["rollout", "status", "deployment/hello", "--timeout=60s"]);
      address = (await cluster.kubectl(["get", "service", "hello", "-o", "jsonpath={.spec.clusterIP}"])).trim();
      expect(await until("the page", page)).toMatch(/^Hello from hello-/);
    }, 90_000);

    test("logs and exec reach the kubelet, and a pod finds the page by its name", async () => {
      const [pod] = await pods();
      expect(await cluster.kubectl(["logs", pod!.name])).toContain("listening on port 8080");
      const script = "console.log(await (await fetch('http://hello.default.svc.cluster.local')).text())";
      expect(await cluster.kubectl(["exec", pod!.name, "--", "bun", "-e", script])).toMatch(/^Hello from hello-/);
    });

    test("every component tells its health and its metrics", async () => {
      for (const { spec } of cluster.processes.values())
        for (const probe of spec.probes) expect(await answerOf(probe)).toContain(probe.holds as string);
    });

    test("kubectl watches what it applies, changes and deletes", async () => {
      const watch = Bun.spawn(["kubectl", "get", "configmaps", "-l", "of=watch", "--watch", "--output-watch-events", "--no-headers"], {
        env: { ...process.env, KUBECONFIG: cluster.kubeconfig, HOME: cluster.dir },
        stdout: "pipe",
        stderr: "inherit",
      });
      try {
        let seen = "";
        const reading = (async () => {
          for await (const chunk of watch.stdout) seen += Buffer.from(chunk).toString();
        })();
        await cluster.kubectl(["create", "configmap", "w", "--from-literal=a=1"]);
        await cluster.kubectl(["label", "configmap", "w", "of=watch"]);
        await until("ADDED", () => seen.includes("ADDED"));
        await cluster.kubectl(["patch", "configmap", "w", "-p", '{"data":{"a":"2"}}']);
        await cluster.kubectl(["delete", "configmap", "w"]);
        await until("DELETED", () => seen.includes("DELETED"));
        expect(seen.match(/^\w+/gm)).toEqual(["ADDED", "MODIFIED", "DELETED"]);
        watch.kill();
        await reading;
      } finally {
        watch.kill();
        await watch.exited;
      }
    });

    test("a change of the template rolls out", async () => {
      const before = await pods();
      await cluster.kubectl(["set", "env", "deployment/hello", "ROUND=2"]);
      await cluster.kubectl(["rollout", "status", "deployment/hello", "--timeout=60s"]);
      await until("only new pods", async () => {
        const now = await pods();
        return now.length === 3 && now.every((p) => before.every((b) => b.name !== p.name));
      });
      expect(await until("the page", page)).toMatch(/^Hello from hello-/);
    }, 120_000);

    test("no component asked for what its role does not allow", nobodyRefused);

    test("every identity holds its role and no more", async () => {
      const may = async (as: string, ...what: string[]) => (await cluster.tryKubectl(["auth", "can-i", ...what], as)).stdout.trim();
      expect(await may("kube-scheduler", "create", "pods", "--subresource=binding")).toBe("yes");
      expect(await may("kube-scheduler", "get", "secrets")).toBe("no");
      expect(await may("kube-proxy", "watch", "endpointslices.discovery.k8s.io")).toBe("yes");
      expect(await may("kube-proxy", "delete", "pods")).toBe("no");
      expect(await may("kube-controller-manager", "create", "replicasets.apps")).toBe("yes");
      expect(await may("kube-controller-manager", "create", "clusterrolebindings")).toBe("no");
      expect(await may("kubelet", "update", "nodes", "--subresource=status")).toBe("yes");
      expect(await may("kubelet", "create", "deployments.apps")).toBe("no");
    });

    test("kill -9 of any component and a new start leave the page served and every container running", async () => {
      const running = await pods();
      expect(running).toHaveLength(3);
      for (const p of cluster.processes.values()) {
        const { pid } = p;
        await p.end("SIGKILL");
        expect(await page()).toMatch(/^Hello from hello-/);
        p.start();
        await p.ready();
        expect(p.pid).not.toBe(pid);
        await until(`the node after ${p.name}`, async () => (await cluster.kubectl(["get", "nodes"])).includes(" Ready "));
        expect(await pods()).toEqual(running);
        expect(await page()).toMatch(/^Hello from hello-/);
      }
      for (const p of cluster.processes.values()) expect(p.running, `${p.name}\n${p.log()}`).toBe(true);
    }, 180_000);

    test("afterwards every part still works", async () => {
      await cluster.kubectl(["scale", "deployment/hello", "--replicas=4"]);
      await cluster.kubectl(["rollout", "status", "deployment/hello", "--timeout=60s"]);
      const all = await pods();
      expect(all).toHaveLength(4);
      const script = "console.log(await (await fetch('http://hello')).text())";
      for (const p of all) expect(await cluster.kubectl(["exec", p.name, "--", "bun", "-e", script])).toMatch(/^Hello from hello-/);
      await nobodyRefused();
    }, 90_000);

    test("deleting the example ends its pods", async () => {
      await cluster.kubectl(["delete", "-f", join(root, "examples/hello")]);
      await until("no pods", async () => (await cluster.kubectl(["get", "pods", "-o", "name"])) === "", 60_000);
    }, 90_000);

    test(`SIGTERM ends each component with exit code 0, ${options.store === "etcd" ? "also once what it needs is gone" : "one after another"}`, async () => {
      const order = [...cluster.processes.values()];
      if (options.store === "kubun") order.reverse();
      const codes: Record<string, number | undefined> = {};
      for (const p of order) codes[p.name] = await p.end("SIGTERM");
      // Debian's etcd ends itself by the same signal once it has closed its files.
      const wanted = order.map((p) => [p.name, p.name === "etcd" && options.store === "etcd" ? undefined : 0]);
      expect(codes).toEqual(Object.fromEntries(wanted));
    }, 60_000);

    test("nothing of it stays on the machine", async () => {
      await cluster[Symbol.asyncDispose]();
      expect(await cluster.leftovers()).toEqual([]);
    }, 60_000);
  });
}
