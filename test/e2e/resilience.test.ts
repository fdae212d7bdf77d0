// What must survive a crash, and what must not stay behind.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { kubun, TestCluster, until } from "./support/cluster.ts";
import { machineState, settledMachine } from "./support/machine.ts";
import { root } from "./support/tools.ts";

let cluster: TestCluster;
const before = await settledMachine();
beforeAll(async () => {
  cluster = await TestCluster.up();
  await cluster.kubectl(["apply", "-f", join(root, "examples/hello")]);
  await cluster.kubectl(["rollout", "status", "deployment/hello", "--timeout=60s"]);
});
afterAll(() => cluster?.[Symbol.asyncDispose]());

interface PodList {
  items: {
    metadata: { name: string; uid: string };
    status: {
      podIP: string;
      containerStatuses: { containerID: string; restartCount: number; state: { running: { startedAt: string } } }[];
    };
  }[];
}
const pods = async () =>
  (await cluster.json<PodList>(["get", "pods", "-l", "app=hello"])).items
    .map((p) => ({
      name: p.metadata.name,
      uid: p.metadata.uid,
      ip: p.status.podIP,
      container: p.status.containerStatuses[0]!.containerID,
      restarts: p.status.containerStatuses[0]!.restartCount,
      since: p.status.containerStatuses[0]!.state.running.startedAt,
    }))
    .sort((a, b) => (a.name < b.name ? -1 : 1));

const page = async () => {
  const port = (await cluster.kubectl(["get", "service", "hello", "-o", "jsonpath={.spec.ports[0].nodePort}"])).trim();
  return (await fetch(`http://127.0.0.1:${port}/`, { keepalive: false, signal: AbortSignal.timeout(10_000) })).text();
};

test("kill -9 of kubun and up again finds every object, and no container was restarted", async () => {
  const running = await pods();
  await cluster.kubectl(["create", "configmap", "last", "--from-literal=word=kept"]);
  const { pid } = cluster.state;
  process.kill(pid, "SIGKILL");
  await until("the process to end", () => !existsSync(`/proc/${pid}`));
  await cluster.start();
  expect(cluster.state.pid).not.toBe(pid);
  expect(await cluster.kubectl(["get", "configmap", "last", "-o", "jsonpath={.data.word}"])).toBe("kept");
  await until("the node", async () => (await cluster.kubectl(["get", "nodes"])).includes(" Ready "));
  expect(await pods()).toEqual(running);
  expect(await page()).toMatch(/^Hello from hello-/);
  const pod = running[0]!.name;
  expect(await cluster.kubectl(["logs", pod])).toContain("listening on port 8080");
  expect(await cluster.kubectl(["exec", pod, "--", "bun", "-e", "console.log(6 * 7)"])).toBe("42\n");
});

test("a container that ended while kubun was away is restarted, and its exit code is known", async () => {
  const running = await pods();
  const victim = running[0]!;
  const pid = await containerPid(victim.container.split("//")[1]!);
  process.kill(cluster.state.pid, "SIGKILL");
  process.kill(pid, "SIGKILL");
  await cluster.start();
  await until("the restart", async () => (await pods()).find((p) => p.name === victim.name)?.restarts === victim.restarts + 1);
  expect(
    await cluster.kubectl(["get", "pod", victim.name, "-o", "jsonpath={.status.containerStatuses[0].lastState.terminated.exitCode}"]),
  ).toBe("137");
});

test("SIGTERM leaves containers running too", async () => {
  const running = await pods();
  const { pid } = cluster.state;
  process.kill(pid, "SIGTERM");
  await until("the process to end", () => !existsSync(`/proc/${pid}`));
  await cluster.start();
  expect(await pods()).toEqual(running);
});

test("up on a running cluster says so", async () => {
  const again = await kubun(["up", "--detach", ...cluster.flags]);
  expect(again.code).toBe(0);
  expect(again.stdout).toContain("already running");
});

test("down leaves the machine as it was, running it twice is fine, and it works after a crash", async () => {
  process.kill(cluster.state.pid, "SIGKILL");
  const first = await kubun(["down", `--data-dir=${cluster.dataDir}`], { timeout: 60_000 });
  expect(first, first.stderr).toMatchObject({ code: 0 });
  expect(machineState()).toEqual(before);
  const second = await kubun(["down", `--data-dir=${cluster.dataDir}`]);
  expect(second, second.stderr).toMatchObject({ code: 0 });
  expect(machineState()).toEqual(before);
});

test("up after down starts the stored pods again", async () => {
  await cluster.start();
  await until(
    "the pods",
    async () => (await cluster.kubectl(["get", "deployment", "hello", "-o", "jsonpath={.status.readyReplicas}"])) === "3",
    60_000,
  );
  expect(await until("the page", page)).toMatch(/^Hello from hello-/);
});

test("down --purge deletes the data", async () => {
  const r = await kubun(["down", "--purge", `--data-dir=${cluster.dataDir}`], { timeout: 60_000 });
  expect(r, r.stderr).toMatchObject({ code: 0 });
  expect(existsSync(cluster.dataDir)).toBe(false);
  expect(machineState()).toEqual(before);
});

/** The first process of a container, found by the container's id in its cgroup. */
async function containerPid(id: string): Promise<number> {
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    const text = await Bun.file(`/proc/${pid}/cgroup`)
      .text()
      .catch(() => "");
    if (text.includes(id)) return Number(pid);
  }
  throw new Error(`no process is in a cgroup of container ${id}`);
}
