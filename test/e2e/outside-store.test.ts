// `up --etcd-servers`: a cluster whose objects lie in an etcd of somebody else.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { noEtcd, type RealEtcd, startEtcd } from "../../src/testing/etcd.ts";
import { kubun, ok, run, until } from "./support/cluster.ts";
import { kubectlOnPath } from "./support/tools.ts";

if (noEtcd) console.log(`skipped: ${noEtcd}`);

describe.skipIf(noEtcd !== undefined)("a cluster on somebody's etcd", () => {
  let etcd: RealEtcd;
  const dir = mkdtempSync(join(tmpdir(), "kubun-outside-"));
  const data = join(dir, "data");
  const own = join(dir, "own");
  const up = (dataDir: string, ...flags: string[]) =>
    kubun(["up", "--detach", "--control-plane-only", "--port=0", `--data-dir=${dataDir}`, ...flags], { timeout: 60_000 });
  const servers = () => `--etcd-servers=http://${etcd.endpoint}`;
  const kubectl = (...args: string[]) => ok([kubectlOnPath(), `--kubeconfig=${join(data, "admin.kubeconfig")}`, ...args]);
  const stored = (prefix: string) =>
    ok(["etcdctl", `--endpoints=${etcd.endpoint}`, "get", "--prefix", prefix, "--keys-only"], { env: { ETCDCTL_API: "3" } });

  beforeAll(async () => {
    etcd = await startEtcd();
  });
  afterAll(async () => {
    for (const d of [data, own]) await kubun(["down", "--purge", `--data-dir=${d}`]);
    await etcd?.[Symbol.asyncDispose]();
    rmSync(dir, { recursive: true, force: true });
  });

  test("an etcd that is not there is told within seconds, and leaves no data directory behind", async () => {
    const started = performance.now();
    const r = await up(data, "--etcd-servers=http://127.0.0.1:1");
    expect(r.stderr).toMatch(
      /^kubun: etcd at http:\/\/127\.0\.0\.1:1 can't be used: connection to 127\.0\.0\.1:1 failed: .*\(--etcd-servers\)\n$/,
    );
    expect(r.code).toBe(1);
    expect(performance.now() - started).toBeLessThan(15_000);
    expect(existsSync(data)).toBe(false);
  }, 30_000);

  test("flags that make no sense are refused by name", async () => {
    for (const [flags, message] of [
      [["--etcd-servers=ftp://a:1"], 'invalid value "ftp://a:1" for flag --etcd-servers'],
      [[servers(), "--etcd-cafile=/none/ca.crt"], 'invalid value "/none/ca.crt" for flag --etcd-cafile: no such file'],
      [[servers(), "--etcd-certfile=/none/a"], "--etcd-certfile and --etcd-keyfile go together"],
      [["--etcd-cafile=/none/ca.crt"], "--etcd-cafile needs --etcd-servers"],
    ] as const) {
      const r = await up(data, ...flags);
      expect(r.stderr).toContain(message);
      expect(r.code).toBe(2);
    }
  }, 60_000);

  test("up keeps the objects there, below the prefix, and nowhere else", async () => {
    const r = await up(data, servers(), "--etcd-prefix=/clusters/one");
    expect(r, r.stderr).toMatchObject({ code: 0 });
    await kubectl("create", "configmap", "kept", "--from-literal=a=1");
    expect(await stored("/clusters/one/configmaps/default/kept")).toBe("/clusters/one/configmaps/default/kept\n\n");
    expect(await stored("/registry")).toBe("");
    expect(existsSync(join(data, "etcd"))).toBe(false);
  }, 60_000);

  test("status tells of it, also while it is away", async () => {
    const row = async () => {
      const { stdout } = await kubun(["status", `--data-dir=${data}`, "-o", "json"]);
      const components = (JSON.parse(stdout) as { components: { name: string; address: string; healthy: boolean; pid: number }[] })
        .components;
      return components.find((c) => c.name === "etcd")!;
    };
    expect(await row()).toMatchObject({ address: `http://${etcd.endpoint}`, healthy: true, pid: 0 });
    process.kill(etcd.pid, "SIGSTOP");
    try {
      expect(await row()).toMatchObject({ healthy: false });
    } finally {
      process.kill(etcd.pid, "SIGCONT");
    }
    await until("it to be well again", async () => (await row()).healthy);
  }, 60_000);

  test("down leaves it alone, and up without flags goes on where it was", async () => {
    const down = await kubun(["down", `--data-dir=${data}`]);
    expect(down.stdout).toContain(`the objects stay in the etcd at http://${etcd.endpoint} below /clusters/one`);
    expect(await stored("/clusters/one/configmaps/default/kept")).not.toBe("");
    const again = await up(data);
    expect(again, again.stderr).toMatchObject({ code: 0 });
    expect(await kubectl("get", "configmap", "kept", "-o", "jsonpath={.data.a}")).toBe("1");
    await kubun(["down", `--data-dir=${data}`]);
  }, 60_000);

  test("a data directory stays with the store that it was made with", async () => {
    const back = await up(data, "--etcd-servers=");
    expect(back.stderr).toContain(`${data} keeps its objects in the etcd at http://${etcd.endpoint}, not in a store of its own`);
    const elsewhere = await up(data, servers(), "--etcd-prefix=/clusters/two");
    expect(elsewhere.stderr).toContain("--etcd-prefix /clusters/two");
    expect((await up(own)).code).toBe(0);
    await kubun(["down", `--data-dir=${own}`]);
    const away = await up(own, servers());
    expect(away.stderr).toContain(`${own} keeps its objects in a store of its own, and they would be missing there`);
    expect([back.code, elsewhere.code, away.code]).toEqual([2, 2, 2]);
  }, 60_000);

  test("two clusters share one etcd by their prefixes", async () => {
    expect((await run(["rm", "-rf", own])).code).toBe(0);
    expect((await up(own, servers(), "--etcd-prefix=/clusters/two")).code).toBe(0);
    expect((await up(data)).code).toBe(0);
    const other = [kubectlOnPath(), `--kubeconfig=${join(own, "admin.kubeconfig")}`];
    expect((await run([...other, "get", "configmap", "kept"])).stderr).toContain("NotFound");
    const listed = async () => (await ok([...other, "get", "configmaps", "-o", "name"])).trim();
    await until("the second to have what every namespace gets", async () => (await listed()) !== "");
    // Writes of the one move the revision on under the other, whose lists stay right all the same.
    for (let i = 0; i < 5; i++) {
      await kubectl("create", "configmap", `c${i}`);
      expect(await listed()).toBe("configmap/kube-root-ca.crt");
    }
  }, 60_000);
});
