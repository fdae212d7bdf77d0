// Images for tests, built from the machine's static busybox with kubun itself.
import { copyFileSync, mkdirSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { kubun, type TestCluster } from "./cluster.ts";

export const BOX = "kubun.dev/box:local";

/** Builds an image of busybox and its applets into the cluster's runtime. */
export async function buildBox(cluster: TestCluster): Promise<void> {
  const rootfs = join(cluster.dir, "box");
  for (const d of ["bin", "tmp", "etc"]) mkdirSync(join(rootfs, d), { recursive: true });
  copyFileSync(Bun.which("busybox")!, join(rootfs, "bin/busybox"));
  for (const applet of ["sh", "wget", "nslookup", "cat", "ls", "sleep", "tar", "nc", "id", "env", "true", "false", "echo"]) {
    symlinkSync("busybox", join(rootfs, "bin", applet));
  }
  const built = await kubun(["image", "build", rootfs, "-t", BOX, `--data-dir=${cluster.dataDir}`]);
  if (built.code !== 0) throw new Error(`image build: exit code ${built.code}\n${built.stdout}${built.stderr}`);
}
