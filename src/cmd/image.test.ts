// `kubun image` as a user runs it, against a running embedded runtime, one
// that is down, and containerd.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { removeCgroup } from "../platform/cgroup.ts";
import { run } from "../platform/process.ts";
import { missing, TestHost } from "../runtime/testing/host.ts";
import { ended, logOf, runPod, startContainer } from "../runtime/testing/pods.ts";

const reason = missing();
if (reason !== undefined) console.log(`skipped: ${reason}`);

const main = join(import.meta.dir, "../main.ts");
const kubun = (...args: string[]) => run([process.execPath, main, "image", ...args]);

/** A data folder as `up` leaves it. */
function dataDir(at: string, host: TestHost, runtime: string, endpoint = host.options.socketPath): string {
  mkdirSync(at, { recursive: true });
  const file = {
    format: 1,
    id: host.id,
    podCidr: "10.244.0.0/16",
    serviceCidr: "10.96.0.0/16",
    clusterDomain: "cluster.local",
    createdAt: "2026-01-01T00:00:00Z",
    runDir: `/run/kubun/${host.id}`,
    runtime,
    runtimeEndpoint: endpoint,
  };
  writeFileSync(join(at, "cluster.json"), JSON.stringify(file));
  return at;
}

describe.skipIf(reason !== undefined)("kubun image", () => {
  let host: TestHost;
  let dir: string;
  let app: string;
  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), "kubun-image-"));
    app = join(dir, "app");
    mkdirSync(app);
    writeFileSync(join(app, "main.ts"), "console.log('built', process.env.WHO);");
    writeFileSync(join(app, "Dockerfile"), 'FROM kubun.dev/bun\nENV WHO=me\nWORKDIR /srv\nCOPY main.ts .\nCMD ["main.ts"]\n');
    host = await new TestHost().up();
  });
  afterAll(async () => {
    await host?.[Symbol.asyncDispose]();
    rmSync(dir, { recursive: true, force: true });
  });

  test("builds on kubun.dev/bun into the running runtime, lists, and removes", async () => {
    const data = dataDir(join(dir, "data"), host, "embedded");
    const built = await kubun("build", app, "-t", "app:1", "--data-dir", data);
    expect([built.stdout, built.stderr, built.code]).toEqual(["docker.io/library/app:1\n", "", 0]);
    const pod = await runPod(host);
    const id = await startContainer(host, pod, "", { image: { image: "app:1" }, command: [] } as never);
    await ended(host, id);
    expect(await logOf(host, id)).toBe("built me");
    await host.runtime.removePodSandbox({ podSandboxId: pod.id });
    const listed = await kubun("list", "--data-dir", data);
    expect(listed.stdout).toMatch(/^docker.io\/library\/app:1 +[0-9a-f]{12} +10\d\.\d MiB$/m);
    expect(listed.stdout).toContain("kubun.dev/bun:latest");
    const removed = await kubun("rm", "app:1", "absent:1", "--data-dir", data);
    expect([removed.stdout, removed.stderr, removed.code]).toEqual(["app:1\n", "kubun: absent:1: no such image\n", 1]);
    expect((await kubun("rm", "kubun.dev/bun", "--data-dir", data)).stderr).toContain("is part of kubun");
  });

  test("an archive written by build is imported under another name", async () => {
    const data = dataDir(join(dir, "data"), host, "embedded");
    const root = join(dir, "rootfs");
    mkdirSync(join(root, "etc"), { recursive: true });
    writeFileSync(join(root, "etc/x"), "x");
    const file = join(dir, "out.tar.gz");
    expect((await kubun("build", root, "-t", "x:1", "-o", file)).code).toBe(0);
    const imported = await kubun("import", file, "-t", "test.local/y:2", "--data-dir", data);
    expect(imported.stdout).toBe("test.local/y:2\n");
    const json = JSON.parse((await kubun("list", "-o", "json", "--data-dir", data)).stdout) as { names: string[] }[];
    expect(json.some((i) => i.names.includes("test.local/y:2"))).toBe(true);
  });

  test("works on the store itself while the cluster is down", async () => {
    const data = dataDir(join(dir, "down"), host, "embedded", "/run/kubun/none.sock");
    const root = join(dir, "rootfs2");
    mkdirSync(root);
    writeFileSync(join(root, "f"), "f");
    expect((await kubun("build", root, "-t", "z:1", "--data-dir", data)).stdout).toBe("docker.io/library/z:1\n");
    expect((await kubun("list", "--data-dir", data)).stdout).toContain("docker.io/library/z:1");
    expect((await kubun("rm", "z:1", "--data-dir", data)).code).toBe(0);
  });

  test.each([
    [["build"], "expected the folder to build, got nothing"],
    [["build", "."], "needs a name for the image: -t NAME"],
    [["build", ".", "-t", "Bad Name"], 'invalid value "Bad Name" for flag --tag'],
    [["import", "/no/such/file"], "/no/such/file: no such file"],
    [["fly"], 'expected build, import, list or rm, got "fly"'],
    [["list", "--data-dir", "/no/such/dir"], "no cluster in /no/such/dir"],
  ])("%j ends with code 2 and says why", async (args, message) => {
    const { code, stderr } = await kubun(...args);
    expect(stderr).toContain(message);
    expect(code).toBe(2);
  });

  test.skipIf(Bun.which("containerd") === null)(
    "builds on kubun.dev/bun into containerd",
    async () => {
      const { Containerd } = await import("../runtime/containerd/mod.ts");
      await using other = new TestHost();
      const options = {
        ...other.options,
        root: join(other.dir, "containerd"),
        state: `/run/kubun/${other.id}/containerd`,
        socket: other.options.socketPath,
      };
      const data = dataDir(join(dir, "containerd"), other, "containerd");
      const containerd = new Containerd(options);
      try {
        await containerd.start();
        const built = await kubun("build", app, "-t", "app:1", "--data-dir", data);
        expect([built.stdout, built.stderr]).toEqual(["docker.io/library/app:1\n", ""]);
        other.connect();
        const pod = await runPod(other, { linux: { cgroupParent: `/kubun-${other.id}/pod` } } as never);
        const id = await startContainer(other, pod, "", { image: { image: "app:1" }, command: [] } as never);
        await ended(other, id);
        expect(await logOf(other, id)).toBe("built me");
        expect((await kubun("rm", "app:1", "--data-dir", data)).code).toBe(0);
      } finally {
        await other.down();
        // Stopped first: whoever keeps it would start it again.
        await containerd.stop();
        await Containerd.removeAll(options);
        await removeCgroup(`/kubun-${other.id}`);
      }
    },
    60_000,
  );
});
