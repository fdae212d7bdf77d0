// Compiles kubun into one executable with everything inside: `dist/kubun`, and
// links under the names that upstream's programs have.
import { mkdirSync, rmSync, symlinkSync } from "node:fs";
import { join } from "node:path";

const root = join(import.meta.dirname, "..");
const dist = join(root, "dist");
const names = ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "kubelet", "etcd"];

mkdirSync(dist, { recursive: true });
const p = Bun.spawnSync(
  [
    process.execPath,
    "build",
    "--compile",
    "--minify-syntax",
    "--bytecode",
    "--format=esm",
    "src/main.ts",
    "--outfile",
    join(dist, "kubun"),
  ],
  {
    cwd: root,
    stdout: "inherit",
    stderr: "inherit",
  },
);
if (p.exitCode !== 0) process.exit(p.exitCode);
for (const name of names) {
  rmSync(join(dist, name), { force: true });
  symlinkSync("kubun", join(dist, name));
}
