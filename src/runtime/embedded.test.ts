// The embedded runtime with real runc, conmon and CNI plugins, over gRPC.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { run } from "../platform/process.ts";
import { ContainerEventType, ContainerState, NamespaceMode, PodSandboxState } from "../rpc/gen/cri/runtime_pb.ts";
import { Code, RpcError } from "../rpc/types.ts";
import { freePort } from "../testing/ports.ts";
import * as layout from "./layout.ts";
import { removeAll } from "./remove-all.ts";
import { machineState, missing, TestHost } from "./testing/host.ts";
import { ended, logOf, podConfig, runPod, startContainer, statusOf, until } from "./testing/pods.ts";

const reason = missing();
if (reason !== undefined) console.log(`skipped: ${reason}`);

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

async function refused(call: Promise<unknown>): Promise<RpcError> {
  return await call.then(
    () => {
      throw new Error("it was not refused");
    },
    (error: unknown) => {
      if (error instanceof RpcError) return error;
      throw error;
    },
  );
}

describe.skipIf(reason !== undefined)("embedded runtime", () => {
  let host: TestHost;
  beforeAll(async () => {
    host = await new TestHost().up();
    await host.busybox();
  });
  afterAll(async () => {
    await host?.[Symbol.asyncDispose]();
  });

  test("a pod gets an address, and its containers its name, resolver and network", async () => {
    const pod = await runPod(host, { dnsConfig: { servers: ["10.96.0.10"], searches: ["svc.test"], options: ["ndots:5"] } } as never);
    const { status } = await host.runtime.podSandboxStatus({ podSandboxId: pod.id });
    expect(status?.state).toBe(PodSandboxState.SANDBOX_READY);
    expect(status?.network?.ip).toMatch(/^10\.199\.\d+\.\d+$/);
    const id = await startContainer(
      host,
      pod,
      "hostname; cat /etc/resolv.conf; ip -4 addr show eth0 | grep -o 'inet [0-9.]*'; echo $FROM_IMAGE; exit 7",
    );
    const exit = await ended(host, id);
    expect(exit.exitCode).toBe(7);
    expect(exit.reason).toBe("Error");
    expect(exit.finishedAt).toBeGreaterThanOrEqual(exit.startedAt);
    expect(await logOf(host, id)).toBe(
      `${pod.config.hostname}\nsearch svc.test\nnameserver 10.96.0.10\noptions ndots:5\ninet ${status?.network?.ip}\n1`,
    );
    await host.runtime.removePodSandbox({ podSandboxId: pod.id });
    expect((await refused(host.runtime.podSandboxStatus({ podSandboxId: pod.id }))).code).toBe(Code.NotFound);
    expect((await refused(host.runtime.containerStatus({ containerId: id }))).code).toBe(Code.NotFound);
  });

  test("a container ends no earlier than it began, though the exit file's time is of a coarser clock", async () => {
    const pod = await runPod(host);
    const id = await startContainer(host, pod, "sleep 60");
    const exits = layout.exits(host.options);
    const written = join(exits, `${id}.written`);
    writeFileSync(written, "3");
    const { startedAt } = await statusOf(host, id);
    const early = Number(startedAt / 1_000_000n - 2n) / 1000;
    utimesSync(written, early, early);
    renameSync(written, join(exits, id));
    const exit = await ended(host, id);
    expect([exit.exitCode, exit.startedAt, exit.finishedAt]).toEqual([3, startedAt, startedAt]);
    await host.runtime.removePodSandbox({ podSandboxId: pod.id });
  });

  test("stopping asks first and kills after the grace period", async () => {
    const pod = await runPod(host);
    const kind = await startContainer(host, pod, "trap 'exit 0' TERM; echo up; while :; do sleep 0.05; done");
    const stubborn = await startContainer(host, pod, "trap '' TERM; echo up; while :; do sleep 0.05; done");
    await until(async () => ((await logOf(host, kind)) && (await logOf(host, stubborn))) || undefined);
    await host.runtime.stopContainer({ containerId: kind, timeout: 10n });
    expect((await statusOf(host, kind)).exitCode).toBe(0);
    const began = performance.now();
    await host.runtime.stopContainer({ containerId: stubborn, timeout: 1n });
    // Timers may be early by their grain.
    expect(performance.now() - began).toBeGreaterThan(990);
    expect((await statusOf(host, stubborn)).exitCode).toBe(137);
    await host.runtime.stopContainer({ containerId: stubborn, timeout: 1n });
    await host.runtime.removePodSandbox({ podSandboxId: pod.id });
  });

  test("a command that doesn't exist is told at the start, and the container says so", async () => {
    const pod = await runPod(host);
    const config = { metadata: { name: "no" }, image: { image: "test.local/busybox:1" }, command: ["/no/such"], linux: {} };
    const { containerId } = await host.runtime.createContainer({ podSandboxId: pod.id, config, sandboxConfig: pod.config });
    const error = await refused(host.runtime.startContainer({ containerId }));
    expect(error.message).toContain('exec: "/no/such": stat /no/such: no such file or directory');
    expect(error.message).toStartWith("failed to create containerd task: failed to create shim task: OCI runtime create failed: ");
    const status = await statusOf(host, containerId);
    expect([status.state, status.exitCode, status.reason]).toEqual([ContainerState.CONTAINER_EXITED, 128, "StartError"]);
    await host.runtime.removePodSandbox({ podSandboxId: pod.id });
  });

  test("execSync gives both streams and the code, and ends at its timeout", async () => {
    const pod = await runPod(host);
    const containerId = await startContainer(host, pod, "sleep 100");
    const result = await host.runtime.execSync({ containerId, cmd: ["sh", "-c", "echo out; echo err >&2; exit 3"], timeout: 60n });
    expect([text(result.stdout), text(result.stderr), result.exitCode]).toEqual(["out\n", "err\n", 3]);
    const late = await refused(host.runtime.execSync({ containerId, cmd: ["sleep", "50"], timeout: 1n }));
    expect(late.code).toBe(Code.DeadlineExceeded);
    const absent = await refused(host.runtime.execSync({ containerId, cmd: ["/absent"], timeout: 60n }));
    expect(absent.message).toContain("/absent");
    const ps = await host.runtime.execSync({ containerId, cmd: ["ps"], timeout: 60n });
    expect(text(ps.stdout)).not.toContain("sleep 50");
    await host.runtime.removePodSandbox({ podSandboxId: pod.id });
  });

  test("users, groups, capabilities, read-only roots and mounts are as asked", async () => {
    const pod = await runPod(host);
    const folder = join(host.dir, "volume");
    mkdirSync(folder);
    writeFileSync(join(folder, "greeting"), "hi from the host");
    const id = await startContainer(
      host,
      pod,
      "id; cat /data/greeting; echo; (echo x > /data/no) 2>&1; (echo x > /no) 2>&1; grep CapBnd /proc/self/status; grep NoNewPrivs /proc/self/status; echo x > /rw/yes",
      {
        mounts: [
          { containerPath: "/data", hostPath: folder, readonly: true },
          { containerPath: "/rw", hostPath: join(host.dir, "made") },
        ],
        linux: {
          securityContext: {
            runAsUser: { value: 1001n },
            supplementalGroups: [2000n],
            readonlyRootfs: true,
            noNewPrivs: true,
            capabilities: { dropCapabilities: ["ALL"], addCapabilities: ["NET_BIND_SERVICE"] },
          },
        },
      } as never,
    );
    await ended(host, id);
    const log = await logOf(host, id);
    expect(log).toContain("uid=1001(app) gid=1002(app) groups=1002(app),1003(extra),2000");
    expect(log).toContain("hi from the host");
    expect(log).toContain("can't create /data/no: Read-only file system");
    expect(log).toContain("can't create /no: Read-only file system");
    expect(log).toContain("0000000000000400");
    expect(log).toContain("NoNewPrivs:\t1");
    const { user } = await statusOf(host, id);
    expect(user?.linux?.uid).toBe(1001n);
    await host.runtime.removePodSandbox({ podSandboxId: pod.id });
  });

  test("with the default seccomp profile programs run and mounting doesn't", async () => {
    const pod = await runPod(host);
    const security = { seccomp: { profileType: 0 }, capabilities: { addCapabilities: ["SYS_PTRACE"] } };
    const id = await startContainer(host, pod, "grep Seccomp: /proc/self/status; mount -t tmpfs x /tmp; ls / | head -1", {
      linux: { securityContext: security },
    } as never);
    await ended(host, id);
    const log = await logOf(host, id);
    expect(log).toContain("Seccomp:\t2");
    expect(log).toContain("permission denied");
    expect(log).toContain("bin");
    await host.runtime.removePodSandbox({ podSandboxId: pod.id });
  });

  test("resources become limits of the container's group, and can change", async () => {
    const pod = await runPod(host);
    const containerId = await startContainer(host, pod, "sleep 100", {
      linux: { resources: { memoryLimitInBytes: BigInt(64 << 20), cpuShares: 512n, cpuQuota: 50_000n, cpuPeriod: 100_000n } },
    } as never);
    const { stats } = await host.runtime.containerStats({ containerId });
    expect(stats?.memory?.workingSetBytes?.value).toBeGreaterThan(0n);
    expect(stats?.memory?.availableBytes?.value).toBeLessThan(BigInt(64 << 20));
    expect(stats?.cpu?.usageCoreNanoSeconds?.value).toBeGreaterThan(0n);
    await host.runtime.updateContainerResources({ containerId, linux: { memoryLimitInBytes: BigInt(128 << 20) } });
    const after = await host.runtime.containerStats({ containerId });
    expect(after.stats?.memory?.availableBytes?.value).toBeGreaterThan(BigInt(64 << 20));
    const podStats = await host.runtime.podSandboxStats({ podSandboxId: pod.id });
    expect(podStats.stats?.linux?.network?.defaultInterface?.name).toBe("eth0");
    expect(podStats.stats?.linux?.containers.length).toBe(1);
    await host.runtime.removePodSandbox({ podSandboxId: pod.id });
  });

  test("a container that takes too much memory is killed, and says OOMKilled", async () => {
    const pod = await runPod(host);
    const id = await startContainer(host, pod, "dd if=/dev/zero of=/dev/null bs=200M count=2", {
      linux: { resources: { memoryLimitInBytes: BigInt(16 << 20), memorySwapLimitInBytes: 0n } },
      command: ["dd", "if=/dev/zero", "of=/dev/null", "bs=200M", "count=2"],
    } as never);
    const status = await ended(host, id);
    expect([status.exitCode, status.reason]).toEqual([137, "OOMKilled"]);
    await host.runtime.removePodSandbox({ podSandboxId: pod.id });
  });

  test("containers of a pod share a PID namespace where it asks for that", async () => {
    const namespaceOptions = { pid: NamespaceMode.POD };
    const pod = await runPod(host, { linux: { securityContext: { namespaceOptions } } } as never);
    const linux = { securityContext: { namespaceOptions } };
    await startContainer(host, pod, "sleep 4321", { linux } as never);
    const second = await startContainer(host, pod, "ps", { linux } as never);
    await ended(host, second);
    const log = await logOf(host, second);
    expect(log).toContain("/pause");
    expect(log).toContain("sleep 4321");
    await host.runtime.removePodSandbox({ podSandboxId: pod.id });
  });

  test("a pod on the host's network has the host's links and no address of its own", async () => {
    const pod = await runPod(host, { linux: { securityContext: { namespaceOptions: { network: NamespaceMode.NODE } } } } as never);
    const { status } = await host.runtime.podSandboxStatus({ podSandboxId: pod.id });
    expect(status?.network?.ip).toBe("");
    const links = () => readdirSync("/sys/class/net").sort();
    // Links of others come and go, so it counts when none did meanwhile.
    const [before, inside] = await until(async () => {
      const before = links();
      const id = await startContainer(host, pod, "ls /sys/class/net");
      await ended(host, id);
      return Bun.deepEquals(before, links()) ? [before, (await logOf(host, id)).split("\n").sort()] : undefined;
    });
    expect(inside).toEqual(before!);
    await host.runtime.removePodSandbox({ podSandboxId: pod.id });
  });

  test("events tell of every change at once", async () => {
    const stop = new AbortController();
    const seen: string[] = [];
    const stream = (async () => {
      for await (const event of host.runtime.getContainerEvents({}, { signal: stop.signal })) {
        seen.push(`${event.containerId.slice(0, 6)} ${ContainerEventType[event.containerEventType]}`);
      }
    })().catch((error: unknown) => error);
    // The stream is open once an event comes through.
    const first = await runPod(host);
    const pod = await until(async () => (seen.length > 0 ? first : undefined)).catch(() => first);
    const id = await startContainer(host, pod, "exit 0");
    // The pod's own may still be on their way.
    const own = () => seen.filter((s) => s.startsWith(id.slice(0, 6)));
    await ended(host, id);
    await until(() => (own().some((s) => s.includes("STOPPED")) ? true : undefined));
    await host.runtime.removeContainer({ containerId: id });
    await until(() => (own().some((s) => s.includes("DELETED")) ? true : undefined));
    expect(own()).toEqual(["CREATED", "STARTED", "STOPPED", "DELETED"].map((e) => `${id.slice(0, 6)} CONTAINER_${e}_EVENT`));
    stop.abort();
    await stream;
    await host.runtime.removePodSandbox({ podSandboxId: pod.id });
  });

  test("a log is written on after it was renamed", async () => {
    const pod = await runPod(host);
    const containerId = await startContainer(host, pod, "echo one; while [ ! -e /tmp/go ]; do sleep 0.02; done; echo two");
    const { logPath } = await statusOf(host, containerId);
    await until(() => (readFileSync(logPath, "utf8").includes("one") ? true : undefined));
    renameSync(logPath, `${logPath}.1`);
    await host.runtime.reopenContainerLog({ containerId });
    await until(() => (existsSync(logPath) ? true : undefined));
    await host.runtime.execSync({ containerId, cmd: ["sh", "-c", "echo > /tmp/go"], timeout: 60n });
    await ended(host, containerId);
    expect(await logOf(host, containerId)).toBe("two");
    await host.runtime.removePodSandbox({ podSandboxId: pod.id });
  });

  test("kubun.dev/bun runs a TypeScript file on kubun's own Bun", async () => {
    const pod = await runPod(host, {}, "bun");
    const app = join(host.dir, "app");
    mkdirSync(app);
    writeFileSync(join(app, "main.ts"), "const answer: number = 42; console.log(answer, Bun.version, process.argv[2]);");
    const { image } = await host.images.imageStatus({ image: { image: "kubun.dev/bun" } });
    expect(image?.pinned).toBe(true);
    const id = await startContainer(host, pod, "", {
      image: { image: "kubun.dev/bun:latest" },
      command: [],
      args: ["/app/main.ts", "arg"],
      mounts: [{ containerPath: "/app", hostPath: app, readonly: true }],
    } as never);
    expect((await ended(host, id)).exitCode).toBe(0);
    expect(await logOf(host, id)).toBe(`42 ${Bun.version} arg`);
    await host.runtime.removePodSandbox({ podSandboxId: pod.id });
  });

  test.skipIf(Bun.which("nft") === null)("a host port leads into the pod, from loopback too, and is closed with it", async () => {
    const port = freePort();
    const pod = await runPod(host, { portMappings: [{ protocol: 0, hostPort: port, containerPort: 8080, hostIp: "" }] } as never);
    const shell = "while :; do echo -e 'HTTP/1.0 200 OK\\r\\n\\r\\nfrom the pod' | nc -l -p 8080; done";
    await startContainer(host, pod, shell);
    const get = (address: string) => fetch(`http://${address}:${port}/`, { signal: AbortSignal.timeout(1000) }).then((r) => r.text());
    expect(await until(() => get("127.0.0.1").catch(() => undefined))).toContain("from the pod");
    const gateway = (await host.runtime.podSandboxStatus({ podSandboxId: pod.id })).status!.network!.ip.replace(/\d+$/, "1");
    expect(await until(() => get(gateway).catch(() => undefined))).toContain("from the pod");
    await host.runtime.removePodSandbox({ podSandboxId: pod.id });
    await expect(get("127.0.0.1")).rejects.toThrow();
    expect((await run(["nft", "list", "tables"])).stdout).not.toContain(`kubun-hostport-${host.id}`);
  });

  test("a container whose monitor was killed is noticed, and can be stopped", async () => {
    const pod = await runPod(host);
    const id = await startContainer(host, pod, "trap '' PIPE; while :; do sleep 0.1; done");
    process.kill(Number(readFileSync(join(host.options.root, "containers", id, "conmon.pid"), "utf8")), "SIGKILL");
    await host.runtime.stopContainer({ containerId: id, timeout: 0n });
    const status = await statusOf(host, id);
    expect([status.state, status.exitCode, status.reason]).toEqual([ContainerState.CONTAINER_EXITED, 255, "Unknown"]);
    await host.runtime.removePodSandbox({ podSandboxId: pod.id });
  });

  test("a process that is killed from outside is told at once", async () => {
    const pod = await runPod(host);
    const id = await startContainer(host, pod, "sleep 1000");
    const { info } = await host.runtime.containerStatus({ containerId: id, verbose: true });
    process.kill((JSON.parse(info.info!) as { pid: number }).pid, "SIGKILL");
    expect((await ended(host, id)).exitCode).toBe(137);
    await host.runtime.removePodSandbox({ podSandboxId: pod.id });
  });

  test("what is missing or wrong is said in the words users know", async () => {
    const pod = await runPod(host);
    const absent = await refused(
      host.runtime.createContainer({ podSandboxId: pod.id, config: { image: { image: "absent:1" } }, sandboxConfig: pod.config }),
    );
    expect(absent.code).toBe(Code.NotFound);
    const handler = await refused(host.runtime.runPodSandbox({ config: podConfig(host), runtimeHandler: "gvisor" }));
    expect(handler.message).toBe('failed to get sandbox runtime: no runtime for "gvisor" is configured');
    expect((await refused(host.runtime.createContainer({ podSandboxId: "nope", config: {} }))).code).toBe(Code.NotFound);
    await host.runtime.removePodSandbox({ podSandboxId: pod.id });
    await host.runtime.removePodSandbox({ podSandboxId: pod.id });
    await host.runtime.stopPodSandbox({ podSandboxId: "nope" });
  });
});

describe.skipIf(reason !== undefined)("after kill -9", () => {
  async function serve(host: TestHost) {
    const child = Bun.spawn([process.execPath, join(import.meta.dir, "testing/serve.ts"), JSON.stringify(host.options)], {
      stdout: "pipe",
      stderr: "ignore",
    });
    const { value } = await child.stdout.getReader().read();
    expect(text(value!)).toBe("ready\n");
    return child;
  }

  test("containers run on, the next runtime adopts them, and no exit code is lost", async () => {
    await using host = new TestHost();
    const first = await serve(host);
    host.connect();
    await host.busybox();
    const pod = await runPod(host);
    const runs = await startContainer(host, pod, "echo alive; while :; do sleep 0.1; done");
    const ends = await startContainer(host, pod, "while [ ! -e /tmp/go ]; do sleep 0.02; done; exit 9");
    const before = await statusOf(host, runs);
    await host.runtime.execSync({ containerId: runs, cmd: ["sh", "-c", "echo kept > /tmp/kept"], timeout: 60n });
    first.kill("SIGKILL");
    await first.exited;
    await host.down();
    writeFileSync(join(host.options.root, "containers", ends, "rootfs/tmp/go"), "");
    await until(() => (existsSync(join(host.options.root, "exits", ends)) ? true : undefined));

    await host.up();
    const after = await statusOf(host, runs);
    expect([after.state, after.startedAt]).toEqual([ContainerState.CONTAINER_RUNNING, before.startedAt]);
    const kept = await host.runtime.execSync({ containerId: runs, cmd: ["cat", "/tmp/kept"], timeout: 60n });
    expect(text(kept.stdout)).toBe("kept\n");
    expect((await statusOf(host, ends)).exitCode).toBe(9);
    const { status } = await host.runtime.podSandboxStatus({ podSandboxId: pod.id });
    expect(status?.state).toBe(PodSandboxState.SANDBOX_READY);
    await host.runtime.stopContainer({ containerId: runs, timeout: 0n });
    expect((await statusOf(host, runs)).exitCode).toBe(137);
    await host.runtime.removePodSandbox({ podSandboxId: pod.id });
  });

  test("a pod whose record a power cut has emptied is taken away, with its links and its address", async () => {
    await using host = await new TestHost().up();
    await host.busybox();
    const pod = await runPod(host);
    await startContainer(host, pod, "sleep 1000");
    const links = await host.podLinks();
    expect(links.length).toBe(1);
    await host.down();
    const addresses = join(host.dir, "ipam", `kubun-${host.id}`);
    const taken = () => readdirSync(addresses).filter((name) => name.startsWith("10."));
    expect(taken().length).toBe(1);
    writeFileSync(join(host.options.root, "sandboxes", pod.id, "state.json"), "");
    await host.up();
    expect((await host.runtime.listPodSandbox({})).items).toEqual([]);
    expect((await host.runtime.listContainers({})).containers).toEqual([]);
    expect([taken(), await host.podLinks()]).toEqual([[], []]);
    const again = await runPod(host);
    expect((await host.runtime.podSandboxStatus({ podSandboxId: again.id })).status?.state).toBe(PodSandboxState.SANDBOX_READY);
  });

  test("removeAll leaves the machine as it was, half-written files included", async () => {
    await using host = new TestHost();
    const marks = [host.id, host.dir];
    const before = await machineState(marks);
    const server = await serve(host);
    host.connect();
    await host.busybox();
    const pod = await runPod(host);
    await startContainer(host, pod, "sleep 1000");
    await startContainer(host, await runPod(host), "sleep 1000");
    // By name, since others make and remove links of their own meanwhile.
    const links = await host.podLinks();
    expect(links.length).toBe(2);
    server.kill("SIGKILL");
    await server.exited;
    await host.down();
    const [victim] = readdirSync(join(host.options.root, "sandboxes"));
    writeFileSync(join(host.options.root, "sandboxes", victim!, "state.json"), "{");
    mkdirSync(join(host.options.root, "containers", "f".repeat(64)));
    await removeAll(host.options);
    await removeAll(host.options);
    const bridge = `link kb-${host.id}`;
    expect((await machineState([...marks, ...links])).filter((line) => line !== bridge)).toEqual(before);
    expect(readdirSync(join(host.dir, "ipam"))).toEqual([]);
    await host.up();
    expect((await host.runtime.listPodSandbox({})).items).toEqual([]);
    expect((await host.images.listImages({})).images.length).toBe(2);
  });
});
