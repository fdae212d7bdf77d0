// What a kubelet does on a runtime, whichever that is.
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { configMaps, pods } from "../../client/resources.ts";
import { mountsUnder } from "../../platform/mount.ts";
import { dialExec, dialPortForward, exitCode } from "../../rpc/remotecommand/mod.ts";
import { dial } from "../cri/client.ts";
import { removeAllPods } from "../remove-all.ts";
import { container, eventually, TestNode, type TestRuntime } from "./node.ts";

const forever = "trap 'exit 0' TERM; while true; do sleep 0.05; done";

setDefaultTimeout(30_000);

/** Makes the tests; `why` says why they can't run here. */
export function kubeletSuite(name: string, why: string | undefined, start: () => Promise<TestRuntime>): void {
  if (why) console.warn(`skipped: a kubelet on ${name}: ${why}`);
  describe.skipIf(why !== undefined)(`a kubelet on ${name}`, () => tests(name, start));
}

function tests(name: string, start: () => Promise<TestRuntime>): void {
  let runtime: TestRuntime;
  let node: TestNode;
  beforeAll(async () => {
    runtime = await start();
    node = await TestNode.start(runtime);
  }, 30_000);
  afterAll(async () => {
    await node?.[Symbol.asyncDispose]();
    await runtime?.[Symbol.asyncDispose]();
  }, 30_000);

  test("registers a node that is Ready, with a lease", async () => {
    const { status, metadata } = await node.node();
    expect(status?.conditions?.find((c) => c.type === "Ready")).toMatchObject({ status: "True", reason: "KubeletReady" });
    expect(metadata.labels).toMatchObject({ "kubernetes.io/hostname": "n1", "kubernetes.io/os": "linux" });
    expect(status?.nodeInfo?.containerRuntimeVersion).toStartWith(`${name}://`);
    expect(status?.capacity).toMatchObject({ pods: "110" });
    const lease = await eventually("a lease", () =>
      node.api
        .get<{ spec: { holderIdentity: string } }>({
          group: "coordination.k8s.io",
          version: "v1",
          resource: "leases",
          namespace: "kube-node-lease",
          name: "n1",
        })
        .catch(() => undefined),
    );
    expect(lease.spec.holderIdentity).toBe("n1");
  });

  test("gives a container its environment, volumes, names and address", async () => {
    await node.configMap("config", { key: "from map", "file.txt": "map file" });
    await node.secret("secret", { password: "from secret" });
    const script = [
      "echo env $KEY $PASSWORD $POD $IP $CPU $TWICE $P_key",
      "cat /map/file.txt; echo; cat /proj/token; echo; cat /proj/labels; echo",
      "cat /sub; echo; stat -f -c %T /mem; stat -c %a /secret/..data/password",
      "echo $0 $1; hostname; grep search /etc/resolv.conf; tail -n 1 /etc/hosts; id -u; pwd",
      "echo last words > /dev/termination-log",
    ].join("; ");
    await node.run(
      "full",
      script,
      {
        command: ["sh", "-c", script, "$(KEY)"],
        args: ["$$(KEY)"],
        workingDir: "/tmp",
        env: [
          { name: "KEY", valueFrom: { configMapKeyRef: { name: "config", key: "key" } } },
          { name: "PASSWORD", valueFrom: { secretKeyRef: { name: "secret", key: "password" } } },
          { name: "POD", valueFrom: { fieldRef: { fieldPath: "metadata.name" } } },
          { name: "IP", valueFrom: { fieldRef: { fieldPath: "status.podIP" } } },
          { name: "CPU", valueFrom: { resourceFieldRef: { resource: "limits.cpu", divisor: "1m" } } },
          { name: "TWICE", value: "<$(POD)>" },
        ],
        envFrom: [{ prefix: "P_", configMapRef: { name: "config" } }],
        resources: { limits: { cpu: "250m", memory: "64Mi" } },
        securityContext: { runAsUser: 1234 },
        volumeMounts: [
          { name: "map", mountPath: "/map" },
          { name: "proj", mountPath: "/proj" },
          { name: "map", mountPath: "/sub", subPath: "key" },
          { name: "mem", mountPath: "/mem" },
          { name: "secret", mountPath: "/secret" },
        ],
      },
      {
        restartPolicy: "Never",
        volumes: [
          { name: "map", configMap: { name: "config" } },
          {
            name: "proj",
            projected: {
              sources: [
                { serviceAccountToken: { path: "token", expirationSeconds: 3600 } },
                { downwardAPI: { items: [{ path: "labels", fieldRef: { fieldPath: "metadata.labels" } }] } },
              ],
            },
          },
          { name: "mem", emptyDir: { medium: "Memory", sizeLimit: "1Mi" } },
          { name: "secret", secret: { secretName: "secret", defaultMode: 0o444 } },
        ],
      },
      { labels: { app: "full" } },
    );
    const pod = await node.ended("full");
    const ip = pod.status!.podIP!;
    expect((await node.logs("full")).split("\n")).toEqual([
      `env from map from secret full ${ip} 250 <full> from map`,
      "map file",
      "token-1-for-default",
      'app="full"',
      "from map",
      "tmpfs",
      "444",
      "from map $(KEY)",
      "full",
      "search default.svc.cluster.local svc.cluster.local cluster.local",
      `${ip}\tfull`,
      "1234",
      "/tmp",
      "",
    ]);
    expect(ip).toStartWith(runtime.prefix);
    expect(pod.status).toMatchObject({ phase: "Succeeded", qosClass: "Guaranteed" });
    expect(container(pod).state?.terminated).toMatchObject({ exitCode: 0, reason: "Completed", message: "last words\n" });
    await node.delete("full");
    await node.gone("full");
  });

  test("shows a running container the new content of a ConfigMap", async () => {
    await node.configMap("live", { a: "old" });
    await node.run(
      "live",
      "while [ $(cat /v/a) = old ]; do sleep 0.02; done; cat /v/a; ls /v",
      { volumeMounts: [{ name: "v", mountPath: "/v" }] },
      {
        restartPolicy: "Never",
        volumes: [{ name: "v", configMap: { name: "live" } }],
      },
    );
    await node.until("live", "runs", (p) => p.status?.phase === "Running");
    await node.api.update(
      { ...configMaps, namespace: "default", name: "live" },
      { metadata: { name: "live", namespace: "default" }, data: { a: "new", b: "more" } },
    );
    await node.ended("live");
    expect(await node.logs("live")).toBe("newa\nb\n");
    await node.delete("live");
  });

  test("waits for a ConfigMap with FailedMount, and starts once it is there", async () => {
    await node.run(
      "waits",
      forever,
      { volumeMounts: [{ name: "v", mountPath: "/v" }] },
      { volumes: [{ name: "v", configMap: { name: "later" } }] },
    );
    await eventually(
      "an event",
      async () =>
        (await node.events("waits")).includes('FailedMount: MountVolume.SetUp failed for volume "v" : configmap "later" not found') ||
        undefined,
    );
    expect(container(await node.pod("waits")).state?.waiting?.reason).toBe("ContainerCreating");
    await node.configMap("later", { a: "1" });
    await node.ready("waits");
    await node.delete("waits");
  });

  test("restarts what ended, then backs off, and keeps the log of the one before", async () => {
    await node.run("crash", "echo run; echo oh no > /dev/termination-log; exit 3");
    const pod = await node.until("crash", "backs off", (p) => container(p)?.state?.waiting?.reason === "CrashLoopBackOff");
    const status = container(pod);
    expect(status.restartCount).toBe(1);
    expect(status.lastState?.terminated).toMatchObject({ exitCode: 3, reason: "Error", message: "oh no\n" });
    expect(status.state?.waiting?.message).toBe(`back-off 10s restarting failed container=c pod=crash_default(${pod.metadata.uid})`);
    expect(pod.status?.phase).toBe("Running");
    expect(await node.logs("crash", "?previous=true")).toBe("run\n");
    await node.delete("crash");
    await node.gone("crash");
  });

  test("runs init containers in order, before the others", async () => {
    await node.run(
      "inits",
      "cat /e/log",
      { volumeMounts: [{ name: "e", mountPath: "/e" }] },
      {
        restartPolicy: "Never",
        volumes: [{ name: "e", emptyDir: {} }],
        initContainers: ["one", "two"].map((name) => ({
          name,
          image: "kubun.test/busybox:1",
          command: ["sh", "-c", `echo ${name} >> /e/log`],
          volumeMounts: [{ name: "e", mountPath: "/e" }],
        })),
      },
    );
    const pod = await node.ended("inits");
    expect(await node.logs("inits")).toBe("one\ntwo\n");
    expect(pod.status?.initContainerStatuses?.map((s) => s.state?.terminated?.reason)).toEqual(["Completed", "Completed"]);
    await node.delete("inits");
  });

  test("leaves containers alone when it is started again, and takes them up", async () => {
    await node.run("adopted", forever, { readinessProbe: { exec: { command: ["true"] }, periodSeconds: 1 } });
    const before = container(await node.ready("adopted"));
    const unready: string[] = [];
    const undo = node.api.writes.length;
    await node.restart();
    await eventually("the pod is known again", async () => (await (await node.get("/pods")).json()).items.length > 0 || undefined);
    const after = container(await node.ready("adopted"));
    for (const w of node.api.writes.slice(undo)) {
      const status = (w.object as { status?: { conditions?: { type: string; status: string }[] } }).status;
      if (
        w.target.resource === "pods" &&
        w.target.name === "adopted" &&
        status?.conditions?.some((c) => c.type === "Ready" && c.status === "False")
      )
        unready.push(w.verb);
    }
    expect([after.containerID, after.restartCount]).toEqual([before.containerID, 0]);
    expect(unready).toEqual([]);
    expect((await node.events("adopted")).filter((e) => e.startsWith("Started")).length).toBe(1);
    await node.delete("adopted");
    await node.gone("adopted");
  });

  test("ends a pod with its preStop hook, then its stop signal, then takes it out of the API", async () => {
    await node.configMap("hook", {});
    await node.run(
      "hooked",
      "trap 'echo term; sleep 0.1; exit 0' TERM; while true; do sleep 0.05; done",
      {
        lifecycle: {
          postStart: { exec: { command: ["sh", "-c", "echo post > /proc/1/fd/1"] } },
          preStop: { exec: { command: ["sh", "-c", "echo pre > /proc/1/fd/1"] } },
        },
      },
      { terminationGracePeriodSeconds: 5 },
    );
    await node.ready("hooked");
    // A deletion does not wait for a postStart hook that still runs.
    await eventually("the hook has written", async () => (await node.logs("hooked")) === "post\n" || undefined);
    const log = (await node.get("/containerLogs/default/hooked/c?follow=true")).text();
    await node.delete("hooked");
    await node.gone("hooked");
    expect(await log).toBe("post\npre\nterm\n");
    expect(await node.events("hooked")).toContain("Killing: Stopping container c");
    expect(existsSync(join(node.rootDir, "pods", "hooked"))).toBe(false);
  });

  test("restarts a container whose liveness probe fails", async () => {
    await node.run("sick", `touch /tmp/ok; ${forever}`, {
      livenessProbe: { exec: { command: ["cat", "/tmp/sick"] }, periodSeconds: 1, failureThreshold: 1 },
    });
    const pod = await node.until("sick", "was restarted", (p) => (container(p)?.restartCount ?? 0) > 0);
    expect(pod.status?.phase).toBe("Running");
    const events = await node.events("sick");
    expect(events.some((e) => e.startsWith("Unhealthy: Liveness probe failed: cat: can't open '/tmp/sick'"))).toBe(true);
    expect(events).toContain("Killing: Container c failed liveness probe, will be restarted");
    await node.delete("sick");
  });

  test("finds a server ready soon after it listens, though the period is long", async () => {
    await node.run("web", "sleep 0.3; mkdir /tmp/w; echo hello > /tmp/w/index.html; httpd -f -p 8080 -h /tmp/w", {
      ports: [{ name: "http", containerPort: 8080 }],
      readinessProbe: { httpGet: { path: "/", port: "http" }, periodSeconds: 300 },
    });
    await node.ready("web", 20_000);
    const forward = await dialPortForward({ url: node.url("/portForward/default/web"), tls: await node.clientTls(), method: "POST" });
    const connection = await forward.connect(8080);
    connection.write(Buffer.from("GET / HTTP/1.0\r\n\r\n"));
    let page = "";
    for await (const chunk of connection.readable) page += Buffer.from(chunk).toString();
    forward.close();
    expect(page).toEndWith("hello\n");
    await node.delete("web");
  });

  test("passes exec through to the runtime, with its exit code", async () => {
    await node.run("shell", forever);
    await node.ready("shell");
    const query = new URLSearchParams([
      ["command", "sh"],
      ["command", "-c"],
      ["command", "cat; echo err >&2; exit 7"],
      ["input", "1"],
      ["output", "1"],
      ["error", "1"],
    ]);
    const streams = { stdin: true, stdout: true, stderr: true, tty: false };
    const command = await dialExec(
      { url: node.url(`/exec/default/shell/c?${query}`), tls: await node.clientTls(), method: "POST" },
      streams,
    );
    const read = async (stream: AsyncIterable<Uint8Array>) => {
      let text = "";
      for await (const chunk of stream) text += Buffer.from(chunk).toString();
      return text;
    };
    command.stdin!.write(Buffer.from("typed"));
    command.stdin!.end();
    expect(await Promise.all([read(command.stdout!), read(command.stderr!)])).toEqual(["typed", "err\n"]);
    expect(exitCode(await command.status)).toBe(7);
    command.close();
  });

  test("refuses its API to those without the right, and tells what is not there", async () => {
    expect((await fetch(node.url("/pods"), { tls: { rejectUnauthorized: false } })).status).toBe(401);
    expect((await node.get("/pods", "developers")).status).toBe(403);
    expect((await node.get("/containerLogs/default/nobody/c")).status).toBe(404);
    expect((await node.get("/exec/default/shell/c")).status).toBe(400);
    expect(await (await node.get("/healthz")).text()).toBe("ok");
  });

  test("tells what its pods use", async () => {
    const stats = await (await node.get("/stats/summary")).json();
    const shell = stats.pods.find((p: { podRef: { name: string } }) => p.podRef.name === "shell");
    expect(shell.containers[0].memory.workingSetBytes).toBeGreaterThan(0);
    expect(await (await node.get("/metrics/resource")).text()).toMatch(
      /container_memory_working_set_bytes\{container="c",namespace="default",pod="shell"\} \d+/,
    );
    expect(await (await node.get("/metrics")).text()).toContain('kubelet_node_name{node="n1"} 1');
    await node.delete("shell");
  });

  test("says why an image can't be had", async () => {
    await node.run("noimage", forever, { image: "127.0.0.1:1/none:1" });
    await node.until("noimage", "shows the failure", (p) => container(p)?.state?.waiting?.reason === "ErrImagePull");
    const pod = await node.until("noimage", "backs off", (p) => container(p)?.state?.waiting?.reason === "ImagePullBackOff");
    expect(container(pod).state?.waiting?.message).toStartWith('Back-off pulling image "127.0.0.1:1/none:1"');
    const events = await node.events("noimage");
    expect(events).toContain('Pulling: Pulling image "127.0.0.1:1/none:1"');
    expect(events.some((e) => e.startsWith('Failed: Failed to pull image "127.0.0.1:1/none:1": rpc error: code = '))).toBe(true);
    expect((await node.logs("noimage")).trim()).toBe(
      'container "c" in pod "noimage" is waiting to start: trying and failing to pull image',
    );
    await node.delete("noimage");
    await node.gone("noimage");
  });

  test("refuses to start what its spec can't give, in upstream's words", async () => {
    await node.run("badenv", forever, { env: [{ name: "X", valueFrom: { configMapKeyRef: { name: "config", key: "none" } } }] });
    const pod = await node.until("badenv", "is refused", (p) => container(p)?.state?.waiting?.reason === "CreateContainerConfigError");
    expect(container(pod).state?.waiting?.message).toBe("couldn't find key none in ConfigMap default/config");
    await node.run("badroot", forever, { securityContext: { runAsNonRoot: true } });
    const other = await node.until("badroot", "is refused", (p) => container(p)?.state?.waiting?.reason === "CreateContainerConfigError");
    expect(container(other).state?.waiting?.message).toContain("container has runAsNonRoot and image will run as root");
    await Promise.all(["badenv", "badroot"].map((n) => node.delete(n)));
  });

  test("refuses a pod that it has no room for, and starts none of it", async () => {
    await node.run("huge", forever, { resources: { requests: { cpu: "1000" } } });
    const pod = await node.ended("huge");
    expect(pod.status).toMatchObject({ phase: "Failed", reason: "OutOfcpu" });
    expect(pod.status?.message).toStartWith("Pod was rejected: Node didn't have enough resource: cpu, requested: 1000000, used: ");
    expect(pod.status?.containerStatuses).toBeUndefined();
    expect((await node.events("huge")).filter((e) => e.startsWith("OutOfcpu: Node didn't have enough resource: cpu"))).toHaveLength(1);
    await node.delete("huge");
    await node.gone("huge");
  });

  test("attaches from the beginning to a container that takes input once, also when it has ended", async () => {
    const streams = { stdin: true, stdout: true, stderr: true, tty: false };
    const attach = async (name: string) =>
      dialExec(
        { url: node.url(`/attach/default/${name}/c?input=1&output=1&error=1`), tls: await node.clientTls(), method: "POST" },
        streams,
      );
    const read = async (stream: AsyncIterable<Uint8Array>) => {
      let text = "";
      for await (const chunk of stream) text += Buffer.from(chunk).toString();
      return text;
    };
    const once = { stdin: true, stdinOnce: true };
    await node.run("once", "echo early; echo err >&2; cat; printf late", once, { restartPolicy: "Never" });
    await node.ready("once");
    await eventually("the first line", async () => (await node.logs("once")).includes("early") || undefined);
    const live = await attach("once");
    live.stdin!.write(Buffer.from("typed\n"));
    live.stdin!.end();
    expect(await Promise.all([read(live.stdout!), read(live.stderr!)])).toEqual(["early\ntyped\nlate", "err\n"]);
    expect(exitCode(await live.status)).toBe(0);
    await node.ended("once");
    const after = await attach("once");
    // From the log alone some runtimes leave open whether the last line has an end.
    const [out, err] = await Promise.all([read(after.stdout!), read(after.stderr!)]);
    expect([out.replace(/late\n$/, "late"), err]).toEqual(["early\ntyped\nlate", "err\n"]);
    expect(exitCode(await after.status)).toBe(0);
    await node.delete("once");
  });

  test("keeps a sidecar beside the containers, started before and ended after them", async () => {
    const say = (name: string) =>
      `trap 'echo ${name} down >> /e/log; exit 0' TERM; echo ${name} up >> /e/log; while true; do sleep 0.02; done`;
    const volumeMounts = [{ name: "e", mountPath: "/e" }];
    await node.run(
      "beside",
      say("main"),
      { volumeMounts },
      {
        volumes: [{ name: "e", hostPath: { path: join(runtime.dir, "sidecar"), type: "DirectoryOrCreate" } }],
        initContainers: [
          { name: "side", image: "kubun.test/busybox:1", restartPolicy: "Always", command: ["sh", "-c", say("side")], volumeMounts },
          { name: "init", image: "kubun.test/busybox:1", command: ["sh", "-c", "echo init >> /e/log"], volumeMounts },
        ],
        terminationGracePeriodSeconds: 5,
      },
    );
    const pod = await node.ready("beside");
    expect(container(pod, "side")).toMatchObject({ ready: true, started: true });
    await eventually("main is up", () => readFileSync(join(runtime.dir, "sidecar/log"), "utf8").includes("main up") || undefined);
    await node.delete("beside");
    await node.gone("beside");
    expect(readFileSync(join(runtime.dir, "sidecar/log"), "utf8").split("\n")).toEqual([
      "side up",
      "init",
      "main up",
      "main down",
      "side down",
      "",
    ]);
  });

  test("runs a pod on the host's network, with the node's addresses", async () => {
    await node.run("host", "hostname; cat /etc/resolv.conf", {}, { hostNetwork: true, restartPolicy: "Never" });
    const pod = await node.ended("host");
    expect([pod.status?.podIP, pod.status?.hostIP]).toEqual(["127.0.0.1", "127.0.0.1"]);
    expect((await node.logs("host")).split("\n")[0]).toBe(hostname());
    await node.delete("host");
  });

  test("gives volumes to the group of the pod", async () => {
    await node.configMap("group", { k: "v" });
    await node.run(
      "group",
      "stat -c '%g %a' /e; stat -Lc '%g %a' /m/k; touch /e/f; stat -c %g /e/f; id",
      {
        volumeMounts: [
          { name: "e", mountPath: "/e" },
          { name: "m", mountPath: "/m" },
        ],
      },
      {
        restartPolicy: "Never",
        securityContext: { runAsUser: 1000, runAsGroup: 2000, fsGroup: 3000, supplementalGroups: [4000] },
        volumes: [
          { name: "e", emptyDir: {} },
          { name: "m", configMap: { name: "group", defaultMode: 0o400 } },
        ],
      },
    );
    await node.ended("group");
    expect(await node.logs("group")).toMatch(/^3000 2777\n3000 440\n3000\nuid=1000 gid=2000 groups=.*3000.*4000\n$/);
    await node.delete("group");
  });

  test("replaces a sandbox that died, and starts its containers again", async () => {
    await node.run("phoenix", forever);
    const before = await node.ready("phoenix");
    const cri = await dial(runtime.socket);
    const { items } = await cri.runtime.listPodSandbox({ filter: { labelSelector: { "io.kubernetes.pod.name": "phoenix" } } });
    await cri.runtime.stopPodSandbox({ podSandboxId: items[0]!.id });
    await cri.close();
    const after = await node.until(
      "phoenix",
      "runs again",
      (p) => container(p)?.ready && container(p).containerID !== container(before).containerID,
    );
    // One more where the container's end was seen before the sandbox's.
    expect(container(after).restartCount).toBeGreaterThanOrEqual(1);
    expect(await node.events("phoenix")).toContain("SandboxChanged: Pod sandbox changed, it will be killed and re-created.");
    await node.delete("phoenix");
  });

  test("ends a container sooner when a shorter grace period comes meanwhile", async () => {
    await node.run(
      "stubborn",
      "trap '' TERM; while true; do sleep 0.05; done",
      { livenessProbe: { exec: { command: ["false"] }, failureThreshold: 1 } },
      { terminationGracePeriodSeconds: 60 },
    );
    await eventually("the kill", async () => (await node.events("stubborn")).some((e) => e.startsWith("Killing")) || undefined);
    const began = Date.now();
    await node.api.delete({ ...pods, namespace: "default", name: "stubborn" }, { gracePeriodSeconds: 1 });
    await node.gone("stubborn");
    expect(Date.now() - began).toBeLessThan(25_000);
  });

  test("removes what nobody wants any more", async () => {
    const pod = await node.run("orphan", forever);
    await node.ready("orphan");
    await node.kubelet.stop();
    await node.api.delete({ ...pods, namespace: "default", name: "orphan" }, { gracePeriodSeconds: 0 });
    await node.restart();
    await eventually("the folder is gone", () => !existsSync(join(node.rootDir, "pods", pod.metadata.uid!)) || undefined);
  });

  test("runs a pod from a file, and shows it as a mirror that it replaces when someone deletes it", async () => {
    const manifests = node.manifests;
    const spec = {
      restartPolicy: "Always",
      terminationGracePeriodSeconds: 1,
      containers: [{ name: "c", image: "kubun.test/busybox:1", command: ["sh", "-c", forever] }],
    };
    writeFileSync(join(manifests, "static.yaml"), JSON.stringify({ apiVersion: "v1", kind: "Pod", metadata: { name: "static" }, spec }));
    const ready = () => eventually("the mirror is ready", () => node.ready("static-n1", 100).catch(() => undefined));
    const mirror = await ready();
    expect(mirror.metadata.annotations).toHaveProperty(["kubernetes.io/config.mirror"]);
    await node.api.delete({ ...pods, namespace: "default", name: "static-n1" }, { gracePeriodSeconds: 0 });
    const again = await ready();
    expect(again.metadata.uid).not.toBe(mirror.metadata.uid);
    expect(container(again).containerID).toBe(container(mirror).containerID);
    rmSync(join(manifests, "static.yaml"));
    await node.gone("static-n1");
  });

  test("ends a pod at its deadline", async () => {
    await node.run("late", forever, {}, { activeDeadlineSeconds: 1 });
    const pod = await node.ended("late");
    expect(pod.status).toMatchObject({ phase: "Failed", reason: "DeadlineExceeded" });
    await node.delete("late");
  });

  test("leaves nothing behind: no sandbox, no mount, no folder", async () => {
    await node.run(
      "left",
      forever,
      { volumeMounts: [{ name: "m", mountPath: "/m" }] },
      { volumes: [{ name: "m", emptyDir: { medium: "Memory" } }] },
    );
    await node.ready("left");
    await node.kubelet.stop();
    expect(mountsUnder(node.rootDir).length).toBeGreaterThan(0);
    await removeAllPods({ rootDir: node.rootDir, runtimeEndpoint: runtime.socket });
    await removeAllPods({ rootDir: node.rootDir, runtimeEndpoint: runtime.socket });
    const cri = await dial(runtime.socket);
    const { items } = await cri.runtime.listPodSandbox({});
    await cri.close();
    expect([items.length, mountsUnder(node.rootDir).length]).toEqual([0, 0]);
    expect(await readdir(node.rootDir)).toEqual([]);
  });
}
