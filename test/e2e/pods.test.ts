// What a kubelet has to do for a pod, seen from outside.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { run, TestCluster, until } from "./support/cluster.ts";
import { BOX, buildBox } from "./support/images.ts";

let cluster: TestCluster;
beforeAll(async () => {
  cluster = await TestCluster.up();
  await buildBox(cluster);
});
afterAll(() => cluster?.[Symbol.asyncDispose]());

interface Pod {
  status: {
    phase: string;
    podIP?: string;
    qosClass?: string;
    conditions: { type: string; status: string }[];
    containerStatuses?: {
      name: string;
      ready: boolean;
      started: boolean;
      restartCount: number;
      state: Record<string, { reason?: string; message?: string; exitCode?: number }>;
      lastState: Record<string, { reason?: string; exitCode?: number }>;
    }[];
  };
}

const box = (script: string, more: object = {}) => ({ name: "c", image: BOX, command: ["sh", "-c", script], ...more });

async function create(name: string, spec: object, metadata: object = {}): Promise<void> {
  const manifest = { apiVersion: "v1", kind: "Pod", metadata: { name, ...metadata }, spec: { terminationGracePeriodSeconds: 1, ...spec } };
  await cluster.kubectl(["create", "-f", "-"], { stdin: JSON.stringify(manifest) });
}
const pod = (name: string) => cluster.json<Pod>(["get", "pod", name]);
const log = (name: string, ...more: string[]) => cluster.kubectl(["logs", name, ...more]);
const ended = (name: string, phase = "Succeeded") =>
  until(`pod ${name} to be ${phase}`, async () => (await pod(name)).status.phase === phase && (await pod(name)));
const ready = (name: string) => cluster.kubectl(["wait", "--for=condition=Ready", `pod/${name}`, "--timeout=30s"]);
const events = (name: string) => cluster.kubectl(["get", "events", `--field-selector=involvedObject.name=${name}`]);

describe("configuration", () => {
  test("environment from values, fields, resources, ConfigMaps and Secrets", async () => {
    await cluster.kubectl(["create", "configmap", "settings", "--from-literal=colour=blue", "--from-literal=SIZE=xl"]);
    await cluster.kubectl(["create", "secret", "generic", "keys", "--from-literal=token=s3cret"]);
    await create("env", {
      restartPolicy: "Never",
      containers: [
        box("env", {
          env: [
            { name: "PLAIN", value: "a$(COLOUR)c" },
            { name: "COLOUR", valueFrom: { configMapKeyRef: { name: "settings", key: "colour" } } },
            { name: "LATER", value: "$(COLOUR)-$(NOPE)-$$(COLOUR)" },
            { name: "TOKEN", valueFrom: { secretKeyRef: { name: "keys", key: "token" } } },
            { name: "GONE", valueFrom: { configMapKeyRef: { name: "settings", key: "none", optional: true } } },
            { name: "NAME", valueFrom: { fieldRef: { fieldPath: "metadata.name" } } },
            { name: "IP", valueFrom: { fieldRef: { fieldPath: "status.podIP" } } },
            { name: "LIMIT", valueFrom: { resourceFieldRef: { resource: "limits.memory", divisor: "1Mi" } } },
          ],
          envFrom: [{ configMapRef: { name: "settings" }, prefix: "S_" }],
          resources: { limits: { memory: "64Mi" } },
        }),
      ],
    });
    await ended("env");
    const lines = (await log("env")).split("\n");
    for (const line of [
      "PLAIN=a$(COLOUR)c",
      "COLOUR=blue",
      "LATER=blue-$(NOPE)-$(COLOUR)",
      "TOKEN=s3cret",
      "NAME=env",
      "LIMIT=64",
      "S_SIZE=xl",
    ])
      expect(lines).toContain(line);
    expect(lines.find((l) => l.startsWith("IP="))).toBe(`IP=${(await pod("env")).status.podIP}`);
    expect(lines.some((l) => l.startsWith("GONE="))).toBe(false);
    expect(lines.some((l) => l.startsWith("KUBERNETES_SERVICE_HOST="))).toBe(true);
  });

  test("volumes of every kind, with modes, and updates of a ConfigMap", async () => {
    await cluster.kubectl(["create", "configmap", "live", "--from-literal=word=old"]);
    await create(
      "volumes",
      {
        securityContext: { fsGroup: 2000 },
        containers: [
          box("sleep 600", {
            volumeMounts: [
              { name: "config", mountPath: "/config" },
              { name: "secret", mountPath: "/secret", readOnly: true },
              { name: "empty", mountPath: "/empty" },
              { name: "memory", mountPath: "/memory" },
              { name: "down", mountPath: "/down" },
              { name: "all", mountPath: "/all" },
              { name: "host", mountPath: "/host", readOnly: true },
              { name: "config", mountPath: "/one/word", subPath: "word" },
            ],
          }),
        ],
        volumes: [
          { name: "config", configMap: { name: "live" } },
          { name: "secret", secret: { secretName: "keys", defaultMode: 0o400 } },
          { name: "empty", emptyDir: {} },
          { name: "memory", emptyDir: { medium: "Memory" } },
          { name: "down", downwardAPI: { items: [{ path: "labels", fieldRef: { fieldPath: "metadata.labels" } }] } },
          {
            name: "all",
            projected: {
              sources: [
                { configMap: { name: "live" } },
                { secret: { name: "keys" } },
                { serviceAccountToken: { path: "jwt", audience: "vault" } },
              ],
            },
          },
          { name: "host", hostPath: { path: "/etc", type: "Directory" } },
        ],
      },
      { labels: { app: "volumes" } },
    );
    await ready("volumes");
    const sh = (script: string) => cluster.kubectl(["exec", "volumes", "--", "sh", "-c", script]);
    expect(
      await sh("cat /config/word; echo; cat /one/word; echo; cat /secret/token; echo; cat /down/labels; echo; cat /all/word /all/token"),
    ).toBe('old\nold\ns3cret\napp="volumes"\nolds3cret');
    expect((await sh("cat /all/jwt")).split(".")).toHaveLength(3);
    expect(await sh("cat /host/hostname")).toBe(await Bun.file("/etc/hostname").text());
    expect(await sh("echo x > /empty/f && cat /empty/f")).toBe("x\n");
    expect((await cluster.tryKubectl(["exec", "volumes", "--", "sh", "-c", "echo x > /secret/f"])).stderr).toContain(
      "Read-only file system",
    );
    expect(await sh("busybox mount | busybox grep ' /memory '")).toContain("tmpfs");
    expect(await sh("busybox stat -c '%g' /empty")).toBe("2000\n");
    await cluster.kubectl(["patch", "configmap", "live", "-p", '{"data":{"word":"new"}}']);
    await until("the new word", async () => (await sh("cat /config/word")) === "new", 90_000);
    expect(await sh("cat /one/word")).toBe("old");
  });

  test("a missing ConfigMap keeps the pod waiting, and says why", async () => {
    await create("missing", { containers: [box("true", { envFrom: [{ configMapRef: { name: "absent" } }] })] });
    await until(
      "the reason",
      async () => (await pod("missing")).status.containerStatuses?.[0]?.state.waiting?.reason === "CreateContainerConfigError",
    );
    expect((await pod("missing")).status.containerStatuses![0]!.state.waiting!.message).toContain('configmap "absent" not found');
    await cluster.kubectl(["create", "configmap", "absent", "--from-literal=a=b"]);
    await until(
      "it to run",
      async () => (await pod("missing")).status.containerStatuses?.[0]?.state.waiting?.reason !== "CreateContainerConfigError",
      60_000,
    );
  });

  test("user, group, working directory, hostname and read-only root", async () => {
    await create("security", {
      restartPolicy: "Never",
      hostname: "chosen",
      hostAliases: [{ ip: "10.9.8.7", hostnames: ["alias.example"] }],
      containers: [
        box("id -u; id -g; pwd; busybox hostname; cat /etc/hosts | busybox grep alias; echo x > /file", {
          workingDir: "/tmp",
          securityContext: { runAsUser: 1234, runAsGroup: 4321, readOnlyRootFilesystem: true },
        }),
      ],
    });
    await ended("security", "Failed");
    // Standard output and errors come by two ways, in whatever order.
    const lines = (await log("security")).trim().split("\n");
    const refused = "Read-only file system";
    expect(lines.filter((l) => !l.includes(refused))).toEqual(["1234", "4321", "/tmp", "chosen", "10.9.8.7\talias.example"]);
    expect(lines.filter((l) => l.includes(refused))).toHaveLength(1);
  });

  test("limits are the container's cgroup", async () => {
    await create("limits", {
      restartPolicy: "Never",
      containers: [
        box("cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/memory.max", {
          resources: { limits: { memory: "48Mi", cpu: "500m" } },
        }),
      ],
    });
    await ended("limits");
    expect((await log("limits")).trim()).toBe(String(48 * 1024 * 1024));
    expect((await pod("limits")).status.qosClass).toBe("Guaranteed");
  });

  test("a container that takes too much memory is killed and says so", async () => {
    await create("oom", {
      restartPolicy: "Never",
      containers: [box("busybox tail /dev/zero", { resources: { limits: { memory: "24Mi" } } })],
    });
    const p = await ended("oom", "Failed");
    expect(p.status.containerStatuses![0]!.state.terminated).toMatchObject({ reason: "OOMKilled", exitCode: 137 });
  });
});

describe("life of a pod", () => {
  test("init containers run in order, sidecars beside the others", async () => {
    await create("init", {
      restartPolicy: "Never",
      volumes: [{ name: "v", emptyDir: {} }],
      initContainers: [
        { ...box("echo one >> /v/f", { volumeMounts: [{ name: "v", mountPath: "/v" }] }), name: "first" },
        {
          ...box("echo side >> /v/f; sleep 600", { volumeMounts: [{ name: "v", mountPath: "/v" }] }),
          name: "side",
          restartPolicy: "Always",
        },
        {
          ...box("until busybox grep -q side /v/f; do sleep 0.05; done; echo two >> /v/f", {
            volumeMounts: [{ name: "v", mountPath: "/v" }],
          }),
          name: "second",
        },
      ],
      containers: [box("cat /v/f", { volumeMounts: [{ name: "v", mountPath: "/v" }] })],
    });
    await ended("init");
    expect(await log("init", "-c", "c")).toBe("one\nside\ntwo\n");
  });

  test("a failing container is restarted with backoff, and its last log is kept", async () => {
    await create("crash", { containers: [box("echo attempt; exit 3")] });
    await until(
      "the backoff",
      async () => (await pod("crash")).status.containerStatuses?.[0]?.state.waiting?.reason === "CrashLoopBackOff",
    );
    const status = (await pod("crash")).status.containerStatuses![0]!;
    expect(status.restartCount).toBeGreaterThan(0);
    expect(status.lastState.terminated).toMatchObject({ exitCode: 3, reason: "Error" });
    expect(await log("crash", "--previous")).toBe("attempt\n");
    await until("the event", async () => (await events("crash")).includes("Back-off restarting failed container"));
  });

  test("restartPolicy OnFailure ends with a success", async () => {
    await create("onfailure", {
      restartPolicy: "OnFailure",
      volumes: [{ name: "v", emptyDir: {} }],
      containers: [
        box("[ -f /v/f ] || { touch /v/f; exit 1; }; busybox touch /v/f", {
          volumeMounts: [{ name: "v", mountPath: "/v" }],
          command: ["sh", "-c", "[ -f /v/f ] && exit 0; echo x > /v/f; exit 1"],
        }),
      ],
    });
    const p = await ended("onfailure");
    expect(p.status.containerStatuses![0]!.restartCount).toBe(1);
  });

  test("liveness restarts, readiness holds back, startup protects", async () => {
    await create("probes", {
      containers: [
        box("echo x > /tmp/alive; sleep 600", {
          // On a busy machine, a second is little for a program.
          startupProbe: { exec: { command: ["cat", "/tmp/alive"] }, periodSeconds: 1, timeoutSeconds: 20 },
          livenessProbe: { exec: { command: ["cat", "/tmp/alive"] }, periodSeconds: 1, timeoutSeconds: 20, failureThreshold: 1 },
          readinessProbe: { exec: { command: ["cat", "/tmp/ready"] }, periodSeconds: 1, timeoutSeconds: 20 },
        }),
      ],
    });
    await until("it to have started", async () => (await pod("probes")).status.containerStatuses?.[0]?.started === true);
    expect((await pod("probes")).status.containerStatuses![0]!.ready).toBe(false);
    await cluster.kubectl(["exec", "probes", "--", "sh", "-c", "echo x > /tmp/ready"]);
    await ready("probes");
    await cluster.kubectl(["exec", "probes", "--", "sh", "-c", "busybox rm /tmp/alive"]);
    await until("the restart", async () => (await pod("probes")).status.containerStatuses?.[0]?.restartCount === 1);
    await until("the event", async () => /Unhealthy.*Liveness probe failed/.test(await events("probes")));
  });

  test("hooks run after the start and before the stop, and termination waits for its grace", async () => {
    await create("hooks", {
      terminationGracePeriodSeconds: 20,
      volumes: [{ name: "v", hostPath: { path: cluster.dir } }],
      containers: [
        box("trap 'echo term >> /v/hooks; exit 0' TERM; while true; do sleep 0.1; done", {
          volumeMounts: [{ name: "v", mountPath: "/v" }],
          lifecycle: {
            postStart: { exec: { command: ["sh", "-c", "echo post >> /v/hooks"] } },
            preStop: { exec: { command: ["sh", "-c", "echo pre >> /v/hooks"] } },
          },
        }),
      ],
    });
    await ready("hooks");
    const started = performance.now();
    await cluster.kubectl(["delete", "pod", "hooks"]);
    expect(await Bun.file(`${cluster.dir}/hooks`).text()).toBe("post\npre\nterm\n");
    expect(performance.now() - started).toBeLessThan(15_000);
  });

  test("a pod that ignores SIGTERM is killed after its grace", async () => {
    await create("stubborn", { terminationGracePeriodSeconds: 1, containers: [box("trap '' TERM; while true; do sleep 0.1; done")] });
    await ready("stubborn");
    await cluster.kubectl(["delete", "pod", "stubborn", "--timeout=20s"]);
  });

  test("a termination message is read from its file", async () => {
    await create("message", { restartPolicy: "Never", containers: [box("echo gone > /dev/termination-log; exit 4")] });
    const p = await ended("message", "Failed");
    expect(p.status.containerStatuses![0]!.state.terminated).toMatchObject({ exitCode: 4, message: "gone\n" });
  });

  test("a pod that fits nowhere waits, and the event says why", async () => {
    await create("huge", { containers: [box("true", { resources: { requests: { cpu: "1000" } } })] });
    await until("the event", async () => (await events("huge")).includes("0/1 nodes are available: 1 Insufficient cpu."));
    await create("picky", { nodeSelector: { disk: "fast" }, containers: [box("sleep 600")] });
    await until("the event", async () => (await events("picky")).includes("1 node(s) didn't match Pod's node affinity/selector"));
    await cluster.kubectl(["label", "nodes", "--all", "disk=fast"]);
    await ready("picky");
  });
});

describe("services", () => {
  const server = (name: string, script: string, labels: object) =>
    create(
      name,
      { containers: [box(script, { readinessProbe: { exec: { command: ["true"] }, periodSeconds: 1, timeoutSeconds: 20 } })] },
      { labels },
    );

  test("UDP, headless names, SRV and PTR records, and a service without endpoints", async () => {
    const echo = "Bun.udpSocket({ port: 5000, socket: { data: (socket, data, port, ip) => socket.send('pong ' + data, port, ip) } })";
    const bun = { name: "c", image: "kubun.dev/bun", imagePullPolicy: "IfNotPresent", args: ["-e", echo] };
    await create("udp", { runtimeClassName: "bun", containers: [bun] }, { labels: { app: "udp" } });
    const spec = { selector: { app: "udp" }, ports: [{ name: "ping", protocol: "UDP", port: 53, targetPort: 5000 }] };
    const service = (name: string, more: object) => ({ apiVersion: "v1", kind: "Service", metadata: { name }, spec: { ...spec, ...more } });
    for (const s of [
      service("udp", {}),
      service("udp-headless", { clusterIP: "None" }),
      service("nobody", { selector: { app: "nobody" }, ports: [{ port: 80 }] }),
    ]) {
      await cluster.kubectl(["create", "-f", "-"], { stdin: JSON.stringify(s) });
    }
    await ready("udp");
    const ip = (await pod("udp")).status.podIP!;
    const dns = (await cluster.kubectl(["get", "service", "-n", "kube-system", "kube-dns", "-o", "jsonpath={.spec.clusterIP}"])).trim();
    const dig = async (...args: string[]) => (await run(["dig", "+short", `@${dns}`, ...args])).stdout.trim();
    await until("the endpoint's name", async () => (await dig("udp-headless.default.svc.cluster.local")) === ip);
    expect(await dig("SRV", "_ping._udp.udp.default.svc.cluster.local")).toBe("0 100 53 udp.default.svc.cluster.local.");
    const clusterIp = (await cluster.kubectl(["get", "service", "udp", "-o", "jsonpath={.spec.clusterIP}"])).trim();
    expect(await dig("-x", clusterIp)).toBe("udp.default.svc.cluster.local.");
    expect(await dig(`${ip.replaceAll(".", "-")}.default.pod.cluster.local`)).toBe(ip);
    const nobody = (await cluster.kubectl(["get", "service", "nobody", "-o", "jsonpath={.spec.clusterIP}"])).trim();
    await until("a refusal", async () => {
      const { code, stderr } = await run(["curl", "-sSv", "--max-time", "5", `http://${nobody}/`]);
      return code === 7 && stderr.includes("Connection refused");
    });
    let answer = "";
    const heard = (_: unknown, data: Buffer) => {
      answer = data.toString();
    };
    const client = await Bun.udpSocket({ socket: { data: heard } });
    try {
      await until("an answer over UDP", () => {
        client.send("ping", 53, clusterIp);
        return answer;
      });
    } finally {
      client.close();
    }
    expect(answer).toBe("pong ping");
  });

  test("session affinity keeps a client with one pod", async () => {
    const names = ["aff-1", "aff-2", "aff-3"];
    for (const n of names) await server(n, `while true; do printf 'HTTP/1.0 200 OK\\r\\n\\r\\n${n}' | nc -l -p 8080; done`, { app: "aff" });
    await cluster.kubectl(["create", "-f", "-"], {
      stdin: JSON.stringify({
        apiVersion: "v1",
        kind: "Service",
        metadata: { name: "aff" },
        spec: { selector: { app: "aff" }, sessionAffinity: "ClientIP", ports: [{ port: 80, targetPort: 8080 }] },
      }),
    });
    for (const n of names) await ready(n);
    const ip = (await cluster.kubectl(["get", "service", "aff", "-o", "jsonpath={.spec.clusterIP}"])).trim();
    await until(
      "all endpoints",
      async () =>
        (await cluster.kubectl(["get", "endpoints", "aff", "-o", "jsonpath={.subsets[0].addresses[*].ip}"])).split(" ").length === 3,
    );
    const seen = new Set<string>();
    for (let i = 0; i < 10; i++)
      seen.add(await until("an answer", async () => (await run(["curl", "-s", "--max-time", "3", `http://${ip}/`])).stdout));
    expect(seen.size).toBe(1);
  });
});
