// What CI checks besides the tests: lint and format, types, generated code, and
// which way dependencies point. Each prints its own findings.
import { join } from "node:path";

const root = join(import.meta.dirname, "..");
const bin = (name: string) => join(root, "node_modules/.bin", name);

const checks: [title: string, ...command: string[]][] = [
  ["lint and format", bin("biome"), "check", "--error-on-warnings", "."],
  ["types", bin("tsc"), "-p", "."],
  ["generated code", process.execPath, "scripts/generate.ts", "--check"],
  ["dependency directions", process.execPath, "scripts/check-imports.ts"],
];

let failed = 0;
for (const [title, ...command] of checks) {
  const started = performance.now();
  const p = Bun.spawnSync(command, { cwd: root, stdout: "inherit", stderr: "inherit" });
  if (p.exitCode !== 0) failed++;
  console.log(`${p.exitCode === 0 ? "✓" : "✗"} ${title} (${((performance.now() - started) / 1000).toFixed(1)} s)`);
}
process.exit(failed > 0 ? 1 : 0);
