// How containers are probed, restarted and ended.
import { expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { pods } from "../../../client/resources.ts";
import { dialPortForward } from "../../../rpc/remotecommand/mod.ts";
import { container, eventually } from "../node.ts";
import { forever, type Subject } from "./subject.ts";

export function lifecycleTests(subject: () => Subject): void {
  test("restarts what ended, then backs off, and keeps the log of the one before", async () => {
    const { node } = subject();
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

  test("ends a pod with its preStop hook, then its stop signal, then takes it out of the API", async () => {
    const { node } = subject();
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
      { terminationGracePeriodSeconds: 30 },
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
    const { node } = subject();
    await node.run("sick", `touch /tmp/ok; ${forever}`, {
      livenessProbe: { exec: { command: ["cat", "/tmp/sick"] }, periodSeconds: 1, failureThreshold: 1, timeoutSeconds: 20 },
    });
    const pod = await node.until("sick", "was restarted", (p) => (container(p)?.restartCount ?? 0) > 0);
    expect(pod.status?.phase).toBe("Running");
    const events = await node.events("sick");
    expect(events.some((e) => e.startsWith("Unhealthy: Liveness probe failed: cat: can't open '/tmp/sick'"))).toBe(true);
    expect(events).toContain("Killing: Container c failed liveness probe, will be restarted");
    await node.delete("sick");
  });

  test("finds a server ready soon after it listens, though the period is long", async () => {
    const { node } = subject();
    await node.run("web", "sleep 0.3; mkdir /tmp/w; echo hello > /tmp/w/index.html; httpd -f -p 8080 -h /tmp/w", {
      ports: [{ name: "http", containerPort: 8080 }],
      readinessProbe: { httpGet: { path: "/", port: "http" }, periodSeconds: 300, timeoutSeconds: 20 },
    });
    await node.ready("web");
    const forward = await dialPortForward({ url: node.url("/portForward/default/web"), tls: await node.clientTls(), method: "POST" });
    const connection = await forward.connect(8080);
    connection.write(Buffer.from("GET / HTTP/1.0\r\n\r\n"));
    let page = "";
    for await (const chunk of connection.readable) page += Buffer.from(chunk).toString();
    forward.close();
    expect(page).toEndWith("hello\n");
    await node.delete("web");
  });

  test("ends a container sooner when a shorter grace period comes meanwhile", async () => {
    const { node } = subject();
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

  test("ends a pod at its deadline", async () => {
    const { node } = subject();
    await node.run("late", forever, {}, { activeDeadlineSeconds: 1 });
    const pod = await node.ended("late");
    expect(pod.status).toMatchObject({ phase: "Failed", reason: "DeadlineExceeded" });
    await node.delete("late");
  });
}
