// What people do with kubectl all day, with the kubectl of the machine and with
// kubectl 1.35.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { TestCluster, until } from "./support/cluster.ts";
import { BOX, buildBox } from "./support/images.ts";
import { kubectl135, kubectlOnPath } from "./support/tools.ts";

let cluster: TestCluster;
beforeAll(async () => {
  cluster = await TestCluster.up();
  await buildBox(cluster);
});
afterAll(() => cluster?.[Symbol.asyncDispose]());

/** A Deployment of the bun runtime whose server answers with `text`. */
const deployment = (name: string, replicas: number, text: string) => `
apiVersion: apps/v1
kind: Deployment
metadata: {name: ${name}, labels: {app: ${name}}}
spec:
  replicas: ${replicas}
  selector: {matchLabels: {app: ${name}}}
  template:
    metadata: {labels: {app: ${name}}}
    spec:
      runtimeClassName: bun
      terminationGracePeriodSeconds: 1
      containers:
      - name: server
        image: kubun.dev/bun
        imagePullPolicy: IfNotPresent
        args: ["-e", "console.log('serving'); Bun.serve({port: 8080, fetch: () => new Response(process.env.TEXT)}); setInterval(() => console.log('tick'), 200)"]
        env: [{name: TEXT, value: "${text}"}]
        ports: [{name: http, containerPort: 8080}]
        readinessProbe: {httpGet: {path: /, port: http}, periodSeconds: 1}
`;

const versions: [title: string, binary: () => string][] = [
  ["kubectl on PATH", kubectlOnPath],
  ["kubectl 1.35", kubectl135],
];

for (const [title, binary] of versions) {
  describe(title, () => {
    const ns = title.endsWith("1.35") ? "v135" : "path";
    const k = (args: string[], stdin?: string) => cluster.kubectl(["-n", ns, ...args], { kubectl: binary(), stdin, timeout: 90_000 });
    const attempt = (args: string[], stdin?: string) =>
      cluster.tryKubectl(["-n", ns, ...args], { kubectl: binary(), stdin, timeout: 90_000 });
    /** One that is not about to go. */
    const podName = async (app: string) => {
      const { items } = JSON.parse(await k(["get", "pods", "-l", `app=${app}`, "-o", "json"])) as {
        items: { metadata: { name: string; deletionTimestamp?: string } }[];
      };
      return items.find((pod) => !pod.metadata.deletionTimestamp)!.metadata.name;
    };

    beforeAll(async () => {
      await k(["create", "namespace", ns]);
      await k(["apply", "-f", "-"], deployment("web", 2, "one"));
      await k(["rollout", "status", "deployment/web", "--timeout=60s"]);
    });

    test("apply says what it did, and unchanged when nothing did", async () => {
      expect(await k(["apply", "-f", "-"], deployment("web", 2, "one"))).toBe("deployment.apps/web unchanged\n");
      expect(await k(["apply", "-f", "-", "--dry-run=server"], deployment("other", 1, "x"))).toBe(
        "deployment.apps/other created (server dry run)\n",
      );
      expect((await attempt(["get", "deployment", "other"])).stderr).toContain(
        'Error from server (NotFound): deployments.apps "other" not found',
      );
    });

    test("apply --server-side owns fields and reports conflicts", async () => {
      const manifest = deployment("web", 2, "one");
      await k(["apply", "--server-side", "--force-conflicts", "-f", "-"], manifest);
      const taken = await attempt(["apply", "--server-side", "--field-manager=other", "-f", "-"], deployment("web", 3, "one"));
      expect(taken.code).toBe(1);
      expect(taken.stderr).toContain("conflict with");
      expect(taken.stderr).toContain(".spec.replicas");
    });

    test("get prints tables, wide tables and labels", async () => {
      expect(await k(["get", "deployment", "web"])).toMatch(/^NAME\s+READY\s+UP-TO-DATE\s+AVAILABLE\s+AGE\nweb\s+2\/2\s+2\s+2\s+\d+s\n$/);
      expect(await k(["get", "pods", "-o", "wide"])).toMatch(
        /^NAME\s+READY\s+STATUS\s+RESTARTS\s+AGE\s+IP\s+NODE\s+NOMINATED NODE\s+READINESS GATES\n/,
      );
      expect(await k(["get", "pods", "--show-labels"])).toContain("pod-template-hash=");
      expect(await k(["get", "nodes"])).toMatch(/Ready\s+<none>\s+\d+\w*\s+v1\.35\./);
      expect(await k(["get", "all"])).toContain("replicaset.apps/web-");
    });

    test("get prints yaml, json and jsonpath, and selects by label", async () => {
      expect(await k(["get", "deployment", "web", "-o", "yaml"])).toContain("\nkind: Deployment\n");
      expect(JSON.parse(await k(["get", "deployment", "web", "-o", "json"])).spec.replicas).toBe(2);
      expect(await k(["get", "pods", "-l", "app=web", "-o", "name"])).toMatch(/^(pod\/web-\S+\n){2}$/);
      expect(await k(["get", "pods", "-l", "app in (none)"])).toBe("");
      expect(
        await k(["get", "pods", "--field-selector=status.phase=Running", "-o", "jsonpath={range .items[*]}{.status.phase} {end}"]),
      ).toBe("Running Running ");
    });

    test("get -w follows changes", async () => {
      const watching = cluster.tryKubectl(["-n", ns, "get", "deployment", "web", "-w", "--output-watch-events", "--request-timeout=3s"], {
        kubectl: binary(),
      });
      await Bun.sleep(0);
      await until(
        "the annotation to be seen",
        async () => (await attempt(["annotate", "deployment/web", "--overwrite", `seen=${Date.now()}`])).code === 0,
      );
      expect((await watching).stdout).toContain("ADDED");
    });

    test("describe tells of containers, conditions and events", async () => {
      const pod = await k(["describe", "pod", await podName("web")]);
      expect(pod).toMatch(/Status:\s+Running/);
      expect(pod).toMatch(/Normal\s+Scheduled\s+.*Successfully assigned/);
      expect(pod).toMatch(/Normal\s+Started\s+/);
      expect(await k(["describe", "deployment", "web"])).toMatch(/2 desired \| 2 updated \| 2 total \| 2 available \| 0 unavailable/);
      expect(await k(["describe", "node"])).toContain("Allocated resources:");
    });

    test("logs, with --tail, --since, -f and --timestamps", async () => {
      const pod = await podName("web");
      await until("two ticks", async () => (await k(["logs", pod])).split("tick").length > 3);
      expect((await k(["logs", pod])).startsWith("serving\n")).toBe(true);
      expect(await k(["logs", pod, "--tail=1"])).toBe("tick\n");
      expect(await k(["logs", pod, "--tail=1", "--timestamps"])).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+Z tick\n$/);
      expect(await k(["logs", pod, "--since=1h"])).toContain("serving");
      const followed = await attempt(["logs", "-f", pod, "--request-timeout=2s"]);
      expect(followed.stdout.split("tick").length).toBeGreaterThan(5);
      expect(await k(["logs", "deployment/web", "--tail=1"])).toBe("tick\n");
    });

    test("exec runs a program, passes its input and its exit code", async () => {
      const pod = await podName("web");
      expect(await k(["exec", pod, "--", "bun", "-e", "console.log(process.env.TEXT)"])).toBe("one\n");
      const echoed = await k(
        ["exec", "-i", pod, "--", "bun", "-e", "process.stdout.write((await Bun.stdin.text()).toUpperCase())"],
        "shout",
      );
      expect(echoed).toBe("SHOUT");
      expect(await attempt(["exec", pod, "--", "bun", "-e", "process.exit(7)"])).toMatchObject({ code: 7 });
      const big = await k(["exec", pod, "--", "bun", "-e", "process.stdout.write('x'.repeat(3_000_000))"]);
      expect(big).toHaveLength(3_000_000);
    });

    test("port-forward carries a request", async () => {
      const p = Bun.spawn([binary(), "-n", ns, "port-forward", "deployment/web", ":8080"], {
        env: { ...process.env, ...cluster.env() },
        stdout: "pipe",
        stderr: "pipe",
      });
      try {
        let text = "";
        // The pipe stays open: kubectl ends when it can't print.
        const out = p.stdout.pipeThrough(new TextDecoderStream()).getReader();
        while (!text.includes("\n")) text += (await out.read()).value ?? "";
        const port = /127\.0\.0\.1:(\d+)/.exec(text)![1];
        for (let i = 0; i < 3; i++) expect(await (await fetch(`http://127.0.0.1:${port}/`, { keepalive: false })).text()).toBe("one");
      } finally {
        p.kill();
        await p.exited;
      }
    });

    test("scale, set env, rollout status, history, undo and restart", async () => {
      expect(await k(["scale", "deployment/web", "--replicas=3"])).toBe("deployment.apps/web scaled\n");
      await k(["rollout", "status", "deployment/web", "--timeout=60s"]);
      await k(["set", "env", "deployment/web", "TEXT=two"]);
      await k(["rollout", "status", "deployment/web", "--timeout=60s"]);
      expect(await k(["exec", await podName("web"), "--", "bun", "-e", "console.log(process.env.TEXT)"])).toBe("two\n");
      expect(await k(["rollout", "history", "deployment/web"])).toMatch(/REVISION\s+CHANGE-CAUSE\n1\s+<none>\n2\s+<none>\n/);
      expect(await k(["rollout", "undo", "deployment/web"])).toBe("deployment.apps/web rolled back\n");
      await k(["rollout", "status", "deployment/web", "--timeout=60s"]);
      expect(await k(["get", "deployment", "web", "-o", "jsonpath={.spec.template.spec.containers[0].env[0].value}"])).toBe("one");
      await k(["rollout", "restart", "deployment/web"]);
      await k(["rollout", "status", "deployment/web", "--timeout=60s"]);
    });

    test("set image to one that does not exist keeps the old pods and says why", async () => {
      await k(["apply", "-f", "-"], deployment("pull", 1, "x"));
      await k(["rollout", "status", "deployment/pull", "--timeout=60s"]);
      await k(["set", "image", "deployment/pull", "server=127.0.0.1:9/missing:v1"]);
      await until("the pull error", async () => /ErrImagePull|ImagePullBackOff/.test(await k(["get", "pods", "-l", "app=pull"])));
      expect(await k(["get", "deployment", "pull", "-o", "jsonpath={.status.availableReplicas}"])).toBe("1");
      // Events are written beside the status.
      const why = /Failed to pull image "127\.0\.0\.1:9\/missing:v1"/;
      await until("the event that says why", async () => why.test(await k(["describe", "pod", "-l", "app=pull"])));
      await k(["delete", "deployment", "pull", "--wait=false"]);
    });

    test("label, annotate, edit and patch in every type", async () => {
      expect(await k(["label", "deployment/web", "tier=front"])).toBe("deployment.apps/web labeled\n");
      expect((await attempt(["label", "deployment/web", "tier=back"])).stderr).toContain(
        "already has a value (front), and --overwrite is false",
      );
      expect(await k(["annotate", "deployment/web", "note=hi"])).toBe("deployment.apps/web annotated\n");
      const editor = join(cluster.dir, "editor.sh");
      writeFileSync(editor, '#!/bin/sh\nsed -i "s/tier: front/tier: back/" "$1"\n', { mode: 0o755 });
      expect(await cluster.kubectl(["-n", ns, "edit", "deployment/web"], { kubectl: binary(), env: { KUBE_EDITOR: editor } })).toBe(
        "deployment.apps/web edited\n",
      );
      expect(await k(["get", "deployment", "web", "-o", "jsonpath={.metadata.labels.tier}"])).toBe("back");
      await k(["patch", "deployment/web", "--type=json", "-p", '[{"op":"replace","path":"/metadata/labels/tier","value":"a"}]']);
      await k(["patch", "deployment/web", "--type=merge", "-p", '{"metadata":{"labels":{"tier":null}}}']);
      await k([
        "patch",
        "deployment/web",
        "-p",
        '{"spec":{"template":{"spec":{"containers":[{"name":"server","env":[{"name":"EXTRA","value":"1"}]}]}}}}',
      ]);
      const d = JSON.parse(await k(["get", "deployment", "web", "-o", "json"]));
      expect(d.metadata.labels.tier).toBeUndefined();
      expect(d.spec.template.spec.containers[0].env.map((e: { name: string }) => e.name).sort()).toEqual(["EXTRA", "TEXT"]);
      await k(["rollout", "status", "deployment/web", "--timeout=60s"]);
    });

    test("cp copies into a container and out of it", async () => {
      const rootfs = join(cluster.dir, `in-${ns}.txt`);
      writeFileSync(rootfs, "there and back\n");
      await k(["run", "box", `--image=${BOX}`, "--restart=Never", "--", "sleep", "600"]);
      await k(["wait", "--for=condition=Ready", "pod/box", "--timeout=30s"]);
      await k(["cp", rootfs, `${ns}/box:/tmp/copied.txt`]);
      await k(["cp", `${ns}/box:/tmp/copied.txt`, `${rootfs}.out`]);
      expect(readFileSync(`${rootfs}.out`, "utf8")).toBe("there and back\n");
      await k(["delete", "pod", "box", "--grace-period=0", "--force"]);
    });

    test("explain, api-resources, api-versions, version and cluster-info", async () => {
      expect(await k(["explain", "deployment.spec.strategy"])).toContain("FIELDS:");
      expect(await k(["explain", "pod.spec.containers.livenessProbe"])).toMatch(/httpGet\s+<HTTPGetAction>/);
      expect(await k(["api-resources"])).toMatch(/deployments\s+deploy\s+apps\/v1\s+true\s+Deployment/);
      expect(await k(["api-versions"])).toContain("discovery.k8s.io/v1\n");
      expect(await k(["version"])).toContain("Server Version: v1.35");
      expect(await k(["cluster-info"])).toContain("is running at");
    });

    test("events, top's error, auth can-i and whoami", async () => {
      expect(await k(["events"])).toContain("Successfully assigned");
      expect(await k(["get", "events"])).toContain("ScalingReplicaSet");
      expect((await attempt(["top", "pods"])).stderr).toContain("error: Metrics API not available");
      expect(await k(["auth", "can-i", "delete", "nodes"])).toBe("yes\n");
      expect((await attempt(["auth", "can-i", "delete", "nodes", "--as=nobody"])).stdout).toBe("no\n");
      expect(await k(["auth", "whoami"])).toContain("kubernetes-admin");
    });

    test("wait and delete", async () => {
      await k(["wait", "--for=condition=Available", "deployment/web", "--timeout=30s"]);
      expect(await k(["delete", "deployment", "web"])).toContain('deployment.apps "web" deleted');
      expect(await k(["wait", "--for=delete", "pod", "-l", "app=web", "--timeout=60s"])).not.toContain("error");
      await until("the replica sets to be collected", async () => (await k(["get", "rs,pods", "-l", "app=web", "-o", "name"])) === "");
      expect(await k(["delete", "namespace", ns])).toContain("deleted");
      expect((await attempt(["get", "namespace", ns])).stderr).toContain("NotFound");
    });
  });
}
