// Debian's containerd as a peer of tests: one of our own with its own root,
// state, socket, bridge and address range, gone with all of them at the end.
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { removeCgroup } from "../../platform/cgroup.ts";
import { detachAllUnder } from "../../platform/mount.ts";
import { busyboxArchive } from "./images.ts";
import type { TestRuntime } from "./node.ts";

const needed = ["/usr/bin/containerd", "/usr/sbin/runc", "/usr/lib/cni/bridge", "/bin/busybox"];

/** Why a test with containerd can't run here; undefined when it can. */
export function missing(): string | undefined {
  if (process.getuid?.() !== 0) return "needs root";
  const absent = needed.filter((p) => !existsSync(p));
  return absent.length > 0
    ? `needs ${absent.join(", ")} (apt-get install containerd containernetworking-plugins busybox-static)`
    : undefined;
}

const config = (dir: string, socket: string) => `
version = 2
root = "${dir}/root"
state = "${dir}/state"
oom_score = 0
[grpc]
  address = "${socket}"
[plugins."io.containerd.internal.v1.opt"]
  path = "${dir}/opt"
[plugins."io.containerd.grpc.v1.cri"]
  restrict_oom_score_adj = true
  sandbox_image = "kubun.dev/pause:test"
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "/usr/lib/cni"
  conf_dir = "${dir}/cni"
[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = "overlayfs"
`;

async function run(cmd: string[], input?: Buffer): Promise<void> {
  const p = Bun.spawn(cmd, { stdin: input ?? "ignore", stdout: "pipe", stderr: "pipe" });
  const [code, err] = await Promise.all([p.exited, new Response(p.stderr).text()]);
  if (code !== 0) throw new Error(`${cmd.join(" ")} ended with ${code}: ${err}`);
}

export async function startContainerd(): Promise<TestRuntime> {
  const dir = mkdtempSync(join(tmpdir(), "kl-"));
  const id = crypto.getRandomValues(new Uint8Array(4)).toHex();
  const socket = join(dir, "c.sock");
  const prefix = `10.${150 + Math.floor(Math.random() * 80)}`;
  const bridge = `kbt${id}`;
  mkdirSync(join(dir, "cni"));
  writeFileSync(join(dir, "config.toml"), config(dir, socket));
  writeFileSync(
    join(dir, "cni/10-test.conflist"),
    JSON.stringify({
      cniVersion: "0.4.0",
      name: `test-${id}`,
      plugins: [
        {
          type: "bridge",
          bridge,
          isGateway: true,
          ipMasq: false,
          ipam: {
            type: "host-local",
            dataDir: join(dir, "ipam"),
            ranges: [[{ subnet: `${prefix}.0.0/24` }]],
            routes: [{ dst: "0.0.0.0/0" }],
          },
        },
        { type: "portmap", capabilities: { portMappings: true } },
      ],
    }),
  );
  const logFile = join(dir, "containerd.log");
  const daemon = Bun.spawn(["containerd", "-c", join(dir, "config.toml")], { stdout: Bun.file(logFile), stderr: Bun.file(logFile) });
  const ctr = ["ctr", "-a", socket, "-n", "k8s.io"];
  const cgroupRoot = `/kubun-test-${id}`;

  const stop = async () => {
    daemon.kill("SIGTERM");
    await daemon.exited;
    detachAllUnder(dir);
    for (const link of [bridge]) await run(["ip", "link", "del", link]).catch(() => {});
    await removeCgroup(cgroupRoot).catch(() => {});
    rmSync(dir, { recursive: true, force: true });
  };
  try {
    const deadline = Date.now() + 60_000;
    while (!existsSync(socket)) {
      if (Date.now() > deadline || daemon.exitCode !== null) throw new Error(`containerd did not start: ${readFileSync(logFile, "utf8")}`);
      await Bun.sleep(10);
    }
    const pause = await busyboxArchive(["kubun.dev/pause:test"], { Entrypoint: ["/bin/busybox", "sleep", "2147483647"] });
    await run([...ctr, "images", "import", "-"], pause);
    await run([...ctr, "images", "import", "-"], await busyboxArchive(["kubun.test/busybox:1"]));
  } catch (error) {
    await stop();
    throw error;
  }
  return { dir, socket, cgroupRoot, prefix, [Symbol.asyncDispose]: stop };
}
