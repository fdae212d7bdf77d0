// The embedded runtime for tests: in this process, with a root, bridge and
// address range of its own.
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { busyboxArchive } from "../kubelet/testing/images.ts";
import type { TestRuntime } from "../kubelet/testing/node.ts";
import { removeCgroup } from "../platform/cgroup.ts";
import { connect, createClient } from "../rpc/client.ts";
import { Images } from "../rpc/gen/kubun/runtime/images_pb.ts";
import { EmbeddedRuntime, removeAll } from "../runtime/mod.ts";

/** Why a test with the embedded runtime can't run here; undefined when it can. */
export function missing(): string | undefined {
  if (process.getuid?.() !== 0) return "needs root";
  const absent = ["/usr/bin/conmon", "/usr/sbin/runc", "/usr/lib/cni/bridge", "/bin/busybox"].filter((p) => !existsSync(p));
  return absent.length > 0
    ? `needs ${absent.join(", ")} (apt-get install conmon runc containernetworking-plugins busybox-static)`
    : undefined;
}

export async function startEmbedded(): Promise<TestRuntime> {
  const dir = mkdtempSync(join(tmpdir(), "ke-"));
  const clusterId = crypto.getRandomValues(new Uint8Array(4)).toHex();
  const prefix = `10.${150 + Math.floor(Math.random() * 80)}`;
  const bridge = `kbt${clusterId}`;
  const cgroupRoot = `/kubun-test-${clusterId}`;
  const paths = { root: join(dir, "root"), runDir: join(dir, "run") };
  mkdirSync(join(dir, "cni"));
  const ipam = {
    type: "host-local",
    dataDir: join(dir, "ipam"),
    ranges: [[{ subnet: `${prefix}.0.0/24` }]],
    routes: [{ dst: "0.0.0.0/0" }],
  };
  const plugins = [{ type: "bridge", bridge, isGateway: true, ipMasq: false, ipam }];
  writeFileSync(join(dir, "cni/10-test.conflist"), JSON.stringify({ cniVersion: "0.4.0", name: `test-${clusterId}`, plugins }));
  const socketPath = join(dir, "cri.sock");
  const runtime = new EmbeddedRuntime({
    ...paths,
    clusterId,
    socketPath,
    cniConfDir: join(dir, "cni"),
    cniBinDirs: ["/usr/lib/cni"],
    cgroupParent: cgroupRoot,
  });
  await runtime.start();
  const archive = join(dir, "busybox.tar");
  writeFileSync(archive, await busyboxArchive(["kubun.test/busybox:1"]));
  const channel = connect({ unix: socketPath });
  await createClient(Images, channel).import({ path: archive, names: [] });
  await channel.close();
  return {
    dir,
    socket: socketPath,
    cgroupRoot,
    prefix,
    async [Symbol.asyncDispose]() {
      await runtime.stop();
      await removeAll({ ...paths, clusterId });
      Bun.spawnSync(["ip", "link", "del", bridge]);
      await removeCgroup(cgroupRoot);
      rmSync(dir, { recursive: true, force: true });
    },
  };
}
