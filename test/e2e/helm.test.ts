// The chart in examples/, through its whole life with Helm 4.1.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { join } from "node:path";
import { ok, run, TestCluster } from "./support/cluster.ts";
import { helm as helmBinary, root } from "./support/tools.ts";

let cluster: TestCluster;
const chart = join(root, "examples/chart");
beforeAll(async () => {
  cluster = await TestCluster.up();
});
afterAll(() => cluster?.[Symbol.asyncDispose]());

const helm = (...args: string[]) => ok([helmBinary(), ...args], { env: cluster.env(), timeout: 120_000 });
const greeting = () => cluster.kubectl(["get", "deployment", "demo", "-o", "jsonpath={.spec.template.spec.containers[0].env[0].value}"]);

test("install runs the hook and waits until the release is up", async () => {
  expect(await helm("install", "demo", chart, "--wait", "--timeout=60s")).toContain("STATUS: deployed");
  expect(await cluster.kubectl(["get", "deployment", "demo", "-o", "jsonpath={.status.readyReplicas}"])).toBe("2");
  expect((await cluster.tryKubectl(["get", "pod", "demo-check"])).stderr).toContain("NotFound");
});

test("the release's test passes", async () => {
  expect(await helm("test", "demo", "--timeout=60s")).toMatch(/Phase:\s+Succeeded/);
});

test("upgrade changes a value, and a failing hook changes nothing", async () => {
  await helm("upgrade", "demo", chart, "--set=greeting=Hi", "--wait", "--timeout=60s");
  expect(await greeting()).toBe("Hi");
  const failed = await run([helmBinary(), "upgrade", "demo", chart, "--set=greeting=", "--timeout=30s"], { env: cluster.env() });
  expect(failed.code).not.toBe(0);
  expect(failed.stderr).toContain("pre-upgrade");
  expect(await greeting()).toBe("Hi");
});

test("rollback goes back to the first revision", async () => {
  await helm("rollback", "demo", "1", "--wait", "--timeout=60s");
  expect(await greeting()).toBe("Hello");
  expect(await helm("history", "demo")).toContain("Rollback to 1");
});

test("list, status and get read the release", async () => {
  expect(await helm("list")).toContain("hello-0.1.0");
  expect(await helm("status", "demo")).toContain("STATUS: deployed");
  expect(await helm("get", "manifest", "demo")).toContain("kind: Deployment");
});

test("uninstall leaves nothing of the release", async () => {
  await helm("uninstall", "demo", "--wait", "--timeout=60s");
  expect(await cluster.kubectl(["get", "deployments,services,configmaps", "-l", "app.kubernetes.io/instance=demo", "-o", "name"])).toBe("");
});
