// The README's example, as a user runs it.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { ok, run, TestCluster, until } from "./support/cluster.ts";
import { BOX, buildBox } from "./support/images.ts";
import { root } from "./support/tools.ts";

let cluster: TestCluster;

beforeAll(async () => {
  cluster = await TestCluster.up();
  await buildBox(cluster);
});
afterAll(() => cluster?.[Symbol.asyncDispose]());

test("the example rolls out", async () => {
  await cluster.kubectl(["apply", "-f", join(root, "examples/hello")]);
  expect(await cluster.kubectl(["rollout", "status", "deployment/hello", "--timeout=60s"])).toContain("successfully rolled out");
  const pods = await cluster.kubectl(["get", "pods", "-l", "app=hello", "--no-headers"]);
  expect(pods.trim().split("\n")).toHaveLength(3);
  for (const line of pods.trim().split("\n")) expect(line).toMatch(/^hello-[a-z0-9]+-[a-z0-9]{5}\s+1\/1\s+Running\s+0\s/);
});

test("the page is served over the ClusterIP from the host, by more than one pod", async () => {
  const ip = (await cluster.kubectl(["get", "service", "hello", "-o", "jsonpath={.spec.clusterIP}"])).trim();
  const answers = new Set<string>();
  await until("the service to be there", () => ok(["curl", "-sS", "--max-time", "5", `http://${ip}/`]));
  // Each request goes to any of three.
  for (let i = 0; i < 100 && answers.size < 2; i++) answers.add(await ok(["curl", "-sS", "--max-time", "5", `http://${ip}/`]));
  for (const a of answers) expect(a).toMatch(/^Hello from hello-/);
  expect(answers.size).toBeGreaterThan(1);
});

test("an address that no service has is refused on the node instead of leaving it", async () => {
  const [, a, b, c] = /--service-cidr=(\d+)\.(\d+)\.(\d+)\./.exec(cluster.flags.join(" "))!.map(Number);
  const started = performance.now();
  const r = await run(["curl", "-sS", "--max-time", "20", `http://${a}.${b}.${c! + 15}.254/`]);
  expect(r.code).toBe(7);
  expect(performance.now() - started).toBeLessThan(10_000);
});

test("the page is served over a NodePort, at the node's address and on loopback", async () => {
  const port = (await cluster.kubectl(["get", "service", "hello", "-o", "jsonpath={.spec.ports[0].nodePort}"])).trim();
  const node = (
    await cluster.kubectl(["get", "nodes", "-o", 'jsonpath={.items[0].status.addresses[?(@.type=="InternalIP")].address}'])
  ).trim();
  for (const host of [node, "127.0.0.1"]) {
    expect(await ok(["curl", "-sS", "--max-time", "5", `http://${host}:${port}/`])).toMatch(/^Hello from hello-/);
  }
});

/** Runs a command in a pod of its own, once kubectl is attached: what a program writes before, an attached kubectl does not see. */
const inPod = (name: string, command: string) =>
  cluster.kubectl(
    ["run", name, "--rm", "-i", "--restart=Never", `--image=${BOX}`, "--quiet", "--", "sh", "-c", `read -r attached; ${command}`],
    { stdin: "yes\n", timeout: 60_000 },
  );

test("the page is served over its DNS name from a pod", async () => {
  expect(await inPod("client", "wget -qO- http://hello.default.svc.cluster.local")).toMatch(/^Hello from hello-/);
});

test("short names resolve through the pod's search path", async () => {
  expect(await inPod("client2", "wget -qO- http://hello")).toMatch(/^Hello from hello-/);
});

test("a pod reaches the apiserver with its service account's token", async () => {
  const script = `const d = "/var/run/secrets/kubernetes.io/serviceaccount/";
    for await (const attached of console) if (attached) break;
    const token = await Bun.file(d + "token").text();
    const r = await fetch("https://kubernetes.default.svc/api/v1/namespaces/default/pods", { headers: { authorization: "Bearer " + token }, tls: { ca: Bun.file(d + "ca.crt") } });
    console.log(r.status, (await r.json()).message);`;
  const out = await cluster.kubectl(
    [
      "run",
      "api",
      "--rm",
      "-i",
      "--restart=Never",
      "--image=kubun.dev/bun",
      "--image-pull-policy=IfNotPresent",
      "--quiet",
      '--overrides={"spec":{"runtimeClassName":"bun"}}',
      "--",
      "-e",
      script,
    ],
    { stdin: "yes\n", timeout: 60_000 },
  );
  expect(out).toContain(
    '403 pods is forbidden: User "system:serviceaccount:default:default" cannot list resource "pods" in API group "" in the namespace "default"',
  );
});

test("a deleted pod is replaced, and so is its endpoint", async () => {
  const names = async () => (await cluster.kubectl(["get", "pods", "-l", "app=hello", "-o", "name"])).trim().split("\n");
  const [victim] = await names();
  const ip = (await cluster.kubectl(["get", victim!, "-o", "jsonpath={.status.podIP}"])).trim();
  await cluster.kubectl(["delete", victim!]);
  await until("three ready pods without the deleted one", async () => {
    const now = await names();
    if (now.includes(victim!) || now.length !== 3) return false;
    return (await cluster.tryKubectl(["wait", "--for=condition=Ready", "pod", "-l", "app=hello", "--timeout=20s"])).code === 0;
  });
  await until("the endpoint to be gone", async () => {
    const slices = await cluster.kubectl([
      "get",
      "endpointslices",
      "-l",
      "kubernetes.io/service-name=hello",
      "-o",
      "jsonpath={.items[*].endpoints[*].addresses[0]}",
    ]);
    const addresses = slices.trim().split(" ");
    return addresses.length === 3 && !addresses.includes(ip);
  });
});

test("killing a container's process restarts it in the same pod", async () => {
  const pod = (await cluster.kubectl(["get", "pods", "-l", "app=hello", "-o", "jsonpath={.items[0].metadata.name}"])).trim();
  const pidOf = async () => {
    const id = (await cluster.kubectl(["get", "pod", pod, "-o", "jsonpath={.status.containerStatuses[0].containerID}"]))
      .trim()
      .split("//")[1];
    const found = await run([
      "grep",
      "-lsE",
      `${id}`,
      ...readdirSync("/proc")
        .filter((name) => /^\d+$/.test(name))
        .map((pid) => `/proc/${pid}/cgroup`),
    ]);
    return found.stdout
      .split("\n")
      .map((f) => Number(f.split("/")[2]))
      .filter((pid) => pid > 0);
  };
  const [pid] = await pidOf();
  expect(pid).toBeGreaterThan(0);
  process.kill(pid!, "SIGKILL");
  await until("a restart", async () => {
    const status = await cluster.kubectl([
      "get",
      "pod",
      pod,
      "-o",
      "jsonpath={.status.containerStatuses[0].restartCount} {.status.containerStatuses[0].ready}",
    ]);
    return status.trim() === "1 true";
  });
  expect(await cluster.kubectl(["get", "pod", pod, "-o", "jsonpath={.status.containerStatuses[0].lastState.terminated.exitCode}"])).toBe(
    "137",
  );
});
