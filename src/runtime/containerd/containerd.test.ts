// Debian's containerd, started, used, adopted and taken away.
import { expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { removeCgroup } from "../../platform/cgroup.ts";
import { run } from "../../platform/process.ts";
import { machineState, missing, TestHost } from "../testing/host.ts";
import { ended, logOf, runPod, startContainer } from "../testing/pods.ts";
import { Containerd } from "./mod.ts";

const reason = missing() ?? (Bun.which("containerd") === null ? "the Debian package containerd is missing" : undefined);
if (reason !== undefined) console.log(`skipped: ${reason}`);

test.skipIf(reason !== undefined)(
  "a private containerd runs kubun.dev/bun, is found again, and leaves nothing behind",
  async () => {
    await using host = new TestHost();
    const dir = mkdtempSync(join(tmpdir(), "kubun-containerd-"));
    const options = {
      ...host.options,
      root: join(dir, "root"),
      state: join("/run/kubun", host.id, "containerd"),
      socket: host.options.socketPath,
    };
    const marks = [host.id, host.dir, dir];
    const before = await machineState(marks);
    const links: string[] = [];
    try {
      const first = new Containerd(options);
      await first.start();
      host.connect();
      const { runtimeName } = await host.runtime.version({});
      expect(runtimeName).toBe("containerd");
      const pod = await runPod(host, { linux: { cgroupParent: `/kubun-${host.id}/pod` } } as never, "bun");
      // By name, since others make and remove links of their own meanwhile.
      links.push(...(await host.podLinks()));
      expect(links.length).toBe(1);
      const app = join(host.dir, "app");
      mkdirSync(app);
      writeFileSync(join(app, "main.ts"), "console.log(Bun.version, process.argv[2] as string);");
      const mounts = [{ containerPath: "/app", hostPath: app, readonly: true }];
      const image = { image: "kubun.dev/bun" };
      const id = await startContainer(host, pod, "", { image, command: [], args: ["/app/main.ts", "x"], mounts } as never);
      expect((await ended(host, id)).exitCode).toBe(0);
      expect(await logOf(host, id)).toBe(`${Bun.version} x`);

      const pid = (await run(["cat", join(options.state, "containerd.pid")])).stdout;
      await first.stop();
      const over = Promise.withResolvers<string>();
      const again = new Containerd(options, over.resolve);
      await again.start();
      expect((await run(["cat", join(options.state, "containerd.pid")])).stdout).toBe(pid);
      expect(again.notReady()).toBeUndefined();

      const short = await startContainer(host, pod, "", { image, command: [], args: ["-e", "0"], metadata: { name: "short" } } as never);
      expect(await over.promise).toBe(short);

      process.kill(Number(pid), "SIGKILL");
      while ((await run(["cat", join(options.state, "containerd.pid")])).stdout === pid || again.notReady() !== undefined)
        await Bun.sleep(10);
      expect((await host.images.imageStatus({ image }, { waitForReady: true })).image).toBeDefined();
      await again.stop();
    } finally {
      await host.down();
      await Containerd.removeAll(options);
      await Containerd.removeAll(options);
      await removeCgroup(`/kubun-${host.id}`);
      rmSync(dir, { recursive: true, force: true });
    }
    expect((await machineState([...marks, ...links])).filter((line) => line !== `link kb-${host.id}`)).toEqual(before);
  },
  60_000,
);
