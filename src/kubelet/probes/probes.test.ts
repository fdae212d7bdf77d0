import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type * as coreV1 from "../../api/gen/core/v1.ts";
import { Health, HealthCheckResponse_ServingStatus as Serving } from "../../rpc/gen/grpc/health/v1/health_pb.ts";
import { createRpcServer } from "../../rpc/server.ts";
import { service } from "../../rpc/service.ts";
import type { Cri } from "../cri/client.ts";
import { eventually } from "../testing/node.ts";
import { container, makePod, runtimePod, sandbox } from "../testing/pods.ts";
import { type Outcome, runProbe } from "./actions.ts";
import { ProbeCounter } from "./counter.ts";
import { ProbeManager } from "./manager.ts";

describe("a probe's result", () => {
  const run = (outcomes: string, success: number, failure: number, initial: "success" | "failure") => {
    const counter = new ProbeCounter({ success, failure }, initial);
    return [...outcomes]
      .map((o) => {
        counter.record(o === "+" ? "success" : "failure");
        return counter.result === "success" ? "+" : "-";
      })
      .join("");
  };
  test("changes after as many outcomes in a row as its thresholds ask for", () => {
    expect(run("---+-+--", 1, 3, "success")).toBe("++-+++++");
    expect(run("+-++-", 2, 1, "failure")).toBe("---+-");
  });
});

describe("probe actions", () => {
  let server: ReturnType<typeof Bun.serve>;
  let seen: Headers;
  beforeAll(() => {
    server = Bun.serve({
      port: 0,
      hostname: "127.0.0.1",
      fetch: (request) => {
        seen = request.headers;
        const path = new URL(request.url).pathname;
        if (path === "/moved") return new Response("", { status: 302, headers: { Location: "/ok" } });
        if (path === "/away") return new Response("", { status: 302, headers: { Location: "http://192.0.2.9/" } });
        if (path === "/slow") return new Promise<Response>(() => {});
        return new Response(path, { status: path === "/ok" ? 200 : 500 });
      },
    });
  });
  afterAll(() => server.stop(true));
  const probe = (p: coreV1.Probe): Promise<Outcome> =>
    runProbe(p, {
      cri: {} as Cri,
      container: { name: "c", ports: [{ name: "web", containerPort: server.port! }] },
      containerId: "c1",
      podIP: "127.0.0.1",
    });
  const get = (path: string, rest: Partial<coreV1.HTTPGetAction> = {}, timeoutSeconds = 20) =>
    probe({ httpGet: { path, port: "web", ...rest }, timeoutSeconds });

  test("httpGet succeeds from 200 to 399, by a named port and with headers", async () => {
    expect(await get("/ok", { httpHeaders: [{ name: "X-A", value: "1" }] })).toEqual({ ok: true, output: "/ok" });
    expect([seen.get("x-a"), seen.get("user-agent")]).toEqual(["1", "kube-probe/1.35"]);
    expect(await get("/bad")).toEqual({ ok: false, output: "HTTP probe failed with statuscode: 500" });
  });
  test("httpGet follows redirects on the host, and takes others as an answer", async () => {
    expect((await get("/moved")).output).toBe("/ok");
    expect((await get("/away")).ok).toBe(true);
  });
  test("httpGet says that time is up, or that nobody listens", async () => {
    expect((await get("/slow", {}, 1)).output).toEndWith("context deadline exceeded (Client.Timeout exceeded while awaiting headers)");
    expect(await get("/", { port: 1 })).toEqual({
      ok: false,
      output: 'Get "http://127.0.0.1:1/": dial tcp 127.0.0.1:1: connect: connection refused',
      refused: true,
    });
  });
  test("tcpSocket asks for a connection only", async () => {
    expect((await probe({ tcpSocket: { port: server.port! }, timeoutSeconds: 20 })).ok).toBe(true);
    expect(await probe({ tcpSocket: { port: 1 }, timeoutSeconds: 20 })).toMatchObject({
      ok: false,
      output: "dial tcp 127.0.0.1:1: connect: connection refused",
      refused: true,
    });
  });
  test("a port that has no such name fails", async () => {
    expect((await probe({ tcpSocket: { port: "none" } })).output).toBe('couldn\'t find port: "none" in container c');
  });

  test("grpc asks the health service", async () => {
    let serving = Serving.SERVING;
    const rpc = createRpcServer({ services: [service(Health, { check: () => ({ status: serving }) })] });
    const listener = await rpc.listen({ host: "127.0.0.1", port: 0 });
    try {
      const { port } = listener.address as { port: number };
      expect(await probe({ grpc: { port }, timeoutSeconds: 20 })).toMatchObject({ ok: true });
      serving = Serving.NOT_SERVING;
      expect(await probe({ grpc: { port }, timeoutSeconds: 20 })).toEqual({
        ok: false,
        output: 'service unhealthy (responded with "NOT_SERVING")',
      });
    } finally {
      await listener.close();
    }
    expect(await probe({ grpc: { port: 1 }, timeoutSeconds: 20 })).toMatchObject({ ok: false, refused: true });
  });
});

describe("the probe manager", () => {
  const setUp = (probes: Partial<coreV1.Container>, answer: () => Outcome) => {
    const unhealthy: string[] = [];
    let runs = 0;
    let changes = 0;
    const manager = new ProbeManager({
      run: async () => {
        runs++;
        return answer();
      },
      changed: () => changes++,
      unhealthy: (_, __, message) => unhealthy.push(message),
    });
    const pod = makePod({ containers: [{ name: "a", image: "img:1", ...probes }] });
    manager.sync(pod, runtimePod([sandbox()], [container("a", { startedAt: Date.now() })]), false);
    return { manager, pod, unhealthy, runs: () => runs, changes: () => changes };
  };

  test("probes at once, and a container is not ready before", async () => {
    const t = setUp({ readinessProbe: { exec: {}, periodSeconds: 300 } }, () => ({ ok: true, output: "" }));
    expect(t.manager.ready("a-0")).toBe(false);
    await eventually("ready", () => t.manager.ready("a-0") || undefined);
    expect([t.runs(), t.changes()]).toEqual([1, 1]);
    t.manager.stop();
  });

  test("tries again soon while nobody listens, without an event", async () => {
    const began = Date.now();
    const t = setUp({ readinessProbe: { tcpSocket: { port: 1 }, periodSeconds: 300 } }, () =>
      Date.now() - began < 100 ? { ok: false, output: "refused", refused: true } : { ok: true, output: "" },
    );
    await eventually("ready", () => t.manager.ready("a-0") || undefined);
    expect(t.unhealthy).toEqual([]);
    t.manager.stop();
  });

  test("holds readiness and liveness back until the startup probe passed", async () => {
    let up = false;
    const t = setUp(
      {
        startupProbe: { exec: {}, periodSeconds: 1, failureThreshold: 10 },
        livenessProbe: { exec: {}, failureThreshold: 1 },
        readinessProbe: { exec: {} },
      },
      () => ({ ok: up, output: "not yet" }),
    );
    await eventually("a failure", () => t.unhealthy.length > 0 || undefined);
    expect([t.manager.started("a-0"), t.manager.livenessFailed("a-0"), t.unhealthy[0]]).toEqual([
      false,
      false,
      "Startup probe failed: not yet",
    ]);
    up = true;
    await eventually("ready", () => (t.manager.started("a-0") && t.manager.ready("a-0")) || undefined);
    t.manager.stop();
  });

  test("a failed liveness probe is final for its container", async () => {
    const t = setUp({ livenessProbe: { exec: {}, failureThreshold: 1, periodSeconds: 1 } }, () => ({ ok: false, output: "x" }));
    await eventually("failed", () => t.manager.livenessFailed("a-0") || undefined);
    expect(t.changes()).toBe(1);
    t.manager.sync(t.pod, runtimePod([sandbox()], [container("a", { id: "a-1", startedAt: Date.now() })]), false);
    expect([t.manager.livenessFailed("a-0"), t.manager.livenessFailed("a-1")]).toEqual([false, false]);
    t.manager.stop();
  });

  test("a container that was ready before the kubelet began still is", () => {
    const manager = new ProbeManager({ run: () => new Promise(() => {}), changed: () => {}, unhealthy: () => {} });
    const status = { name: "a", ready: true, started: true, restartCount: 0, image: "", imageID: "", containerID: "containerd://a-0" };
    const pod = {
      ...makePod({ containers: [{ name: "a", image: "img:1", readinessProbe: { exec: {} }, startupProbe: { exec: {} } }] }),
      status: { containerStatuses: [status] },
    };
    manager.sync(pod, runtimePod([sandbox()], [container("a")]), false);
    expect([manager.ready("a-0"), manager.started("a-0")]).toEqual([true, true]);
    manager.stop();
  });
});
