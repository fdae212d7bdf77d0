// What a container is given, and how containers of a pod go together.
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { container, eventually } from "../node.ts";
import type { Subject } from "./subject.ts";

export function containerTests(subject: () => Subject): void {
  test("gives a container its environment, volumes, names and address", async () => {
    const { node, runtime } = subject();
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

  test("runs init containers in order, before the others", async () => {
    const { node } = subject();
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

  test("keeps a sidecar beside the containers, started before and ended after them", async () => {
    const { node, runtime } = subject();
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
    const { node } = subject();
    await node.run("host", "hostname; cat /etc/resolv.conf", {}, { hostNetwork: true, restartPolicy: "Never" });
    const pod = await node.ended("host");
    expect([pod.status?.podIP, pod.status?.hostIP]).toEqual(["127.0.0.1", "127.0.0.1"]);
    expect((await node.logs("host")).split("\n")[0]).toBe(hostname());
    await node.delete("host");
  });
}
