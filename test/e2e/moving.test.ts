// From a cluster's own store to three of Debian's etcd, as docs/high-availability.md says.
import { afterAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { KubeObject } from "../../src/api/object.ts";
import { noEtcd, noEtcdctl } from "../../src/testing/etcd.ts";
import { freePorts } from "../../src/testing/ports.ts";
import { kubun, ok, TestCluster, until } from "./support/cluster.ts";
import { storeKind } from "./support/stores.ts";
import { kubectlOnPath, root } from "./support/tools.ts";

const skipped = noEtcd ?? noEtcdctl ?? (storeKind === "embedded" ? undefined : "the cluster has no store of its own");
if (skipped) console.log(`skipped: moving to an etcd: ${skipped}`);

const KINDS = "pods,replicasets,deployments,services,configmaps,secrets";

describe.skipIf(skipped !== undefined)("a cluster that moves from its own store to an etcd of three", () => {
  const dir = mkdtempSync(join(tmpdir(), "kubun-moving-"));
  const moved = join(dir, "new");
  const processes: Bun.Subprocess[] = [];
  afterAll(async () => {
    await kubun(["down", "--purge", `--data-dir=${moved}`]);
    for (const p of processes) p.kill("SIGKILL");
    await Promise.all(processes.map((p) => p.exited));
    rmSync(dir, { recursive: true, force: true });
  }, 60_000);

  test("has every object as it was, runs its pods again, and goes on from there", async () => {
    await using cluster = await TestCluster.up();
    await cluster.kubectl(["apply", "-f", join(root, "examples/hello")]);
    await cluster.kubectl(["create", "secret", "generic", "kept", "--from-literal=a=b"]);
    await cluster.kubectl(["rollout", "status", "deployment/hello", "--timeout=60s"]);
    const before = (await cluster.json<{ items: KubeObject[] }>(["get", KINDS])).items;
    await ok([process.execPath, join(root, "src/main.ts"), "down", `--data-dir=${cluster.dataDir}`]);

    const snapshot = join(dir, "snapshot.db");
    const saved = await kubun(["store", "snapshot", "save", snapshot, `--data-dir=${cluster.dataDir}`]);
    expect(saved).toEqual({ code: 0, stdout: `Snapshot saved at ${snapshot}\n`, stderr: "" });
    const ports = freePorts(6);
    const members = ["a", "b", "c"].map((name, i) => ({
      name,
      client: `http://127.0.0.1:${ports[2 * i]}`,
      peer: `http://127.0.0.1:${ports[2 * i + 1]}`,
      data: join(dir, name),
    }));
    const all = members.map((m) => `${m.name}=${m.peer}`).join(",");
    for (const { name, peer, data } of members) {
      const flags = [`--name=${name}`, `--data-dir=${data}`, `--initial-advertise-peer-urls=${peer}`, `--initial-cluster=${all}`];
      await ok(["etcdctl", "snapshot", "restore", snapshot, ...flags], { env: { ETCDCTL_API: "3" } });
    }
    for (const { name, client, peer, data } of members) {
      const own = [`--name=${name}`, `--data-dir=${data}`, `--listen-client-urls=${client}`, `--advertise-client-urls=${client}`];
      const peers = [`--listen-peer-urls=${peer}`, `--initial-advertise-peer-urls=${peer}`, `--initial-cluster=${all}`];
      const command = ["setpriv", "--pdeathsig", "KILL", "etcd", ...own, ...peers, "--logger=zap", "--log-level=error"];
      processes.push(Bun.spawn(command, { stdout: "ignore", stderr: "ignore" }));
    }
    const servers = members.map((m) => m.client);
    await until("the etcds to serve", async () => (await Promise.all(servers.map((s) => fetch(`${s}/health`)))).every((r) => r.ok), 60_000);

    const others = cluster.flags.filter((f) => !f.startsWith("--data-dir="));
    const up = await kubun(["up", "--detach", ...others, `--data-dir=${moved}`, `--etcd-servers=${servers.join(",")}`], {
      timeout: 60_000,
    });
    expect(up, up.stderr).toMatchObject({ code: 0 });
    const kubectl = (...args: string[]) => ok([kubectlOnPath(), `--kubeconfig=${join(moved, "admin.kubeconfig")}`, ...args]);
    const list = async () => (JSON.parse(await kubectl("get", KINDS, "-o", "json")) as { items: KubeObject[] }).items;
    const after = await list();
    const names = (items: KubeObject[]) => items.map((o) => `${o.kind} ${o.metadata.name} ${o.metadata.uid}`);
    expect(names(before).length).toBeGreaterThan(8);
    expect(names(after)).toEqual(names(before));
    // What no controller writes to since has its resource version, and all that was written later a higher one.
    const version = (items: KubeObject[], name: string) =>
      Number(items.find((o) => o.kind === "Secret" && o.metadata.name === name)!.metadata.resourceVersion);
    expect(version(after, "kept")).toBe(version(before, "kept"));
    await kubectl("create", "secret", "generic", "later");
    const newest = Math.max(...before.map((o) => Number(o.metadata.resourceVersion)));
    expect(version(await list(), "later")).toBeGreaterThan(newest);

    await kubectl("rollout", "status", "deployment/hello", "--timeout=90s");
    const address = (await kubectl("get", "service", "hello", "-o", "jsonpath={.spec.clusterIP}")).trim();
    const page = () => ok(["curl", "-sS", "--max-time", "5", `http://${address}/`]);
    await until("the page", async () => (await page()).startsWith("Hello from hello-"), 60_000);
    await kubectl("scale", "deployment/hello", "--replicas=4");
    await kubectl("rollout", "status", "deployment/hello", "--timeout=90s");
    expect(await kubectl("get", "secret", "kept", "-o", "jsonpath={.data.a}")).toBe(btoa("b"));
  }, 240_000);
});
