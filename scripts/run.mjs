// `run.mjs TASK [ARGS]`: installs what the task needs and is missing, then runs
// it. Plain JavaScript without packages, because nothing is installed yet when
// it starts. A second run only compares stamps.
import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { debianPackages } from "./packages.mjs";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const at = (...parts) => join(root, ...parts);
const bun = at("node_modules/bun/bin/bun.exe");
const stamp = at("node_modules/.kubun-stamp");

/** What each task runs, and which Debian packages it is to find. */
const tasks = {
  kubun: { script: "src/main.ts", needs: (args) => needsOfCommand(args) },
  test: { script: "scripts/test.ts", needs: () => ["node", "containerd", "test"] },
  bench: { script: "bench/run.ts", needs: () => ["node", "bench"] },
  sim: { script: "scripts/sim.ts", needs: () => [] },
  check: { script: "scripts/check.ts", needs: () => [] },
  generate: { script: "scripts/generate.ts", needs: () => [] },
  "build-wasm": { script: "scripts/build-wasm.ts", needs: () => [] },
  build: { script: "scripts/build.ts", needs: () => [] },
  exec: { script: undefined, needs: () => [] },
};

function needsOfCommand([command, ...flags]) {
  const has = (flag) => flags.some((f, i) => f === flag || f.startsWith(`${flag}=`) || flags[i - 1] === flag);
  if (flags.includes("--help") || flags.includes("-h")) return [];
  if (command === "up" && !has("--control-plane-only")) {
    const runtime = flags.find((f) => f.startsWith("--runtime="))?.slice(10) ?? flags[flags.indexOf("--runtime") + 1];
    return has("--runtime") && runtime === "containerd" ? ["node", "containerd"] : ["node"];
  }
  return command === "kubelet" || command === "proxy" || command === "flannel" || command === "calico" ? ["node"] : [];
}

function fail(message) {
  process.stderr.write(`kubun: ${message}\n`);
  process.exit(1);
}

function step(title, command, args, options = {}) {
  process.stderr.write(`kubun: ${title} ...\n`);
  const started = Date.now();
  const p = spawnSync(command, args, { cwd: root, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"], ...options });
  if (p.error || p.status !== 0) {
    const why = p.error ? p.error.message : `${p.stdout ?? ""}${p.stderr ?? ""}`.trim().split("\n").slice(0, 20).join("\n");
    fail(`${title} failed: '${[command, ...args].join(" ")}' ${p.error ? "did not start" : `ended with exit code ${p.status}`}\n${why}`);
  }
  process.stderr.write(`kubun: ${title}: done in ${((Date.now() - started) / 1000).toFixed(1)} s\n`);
}

function onPath(name) {
  return (process.env.PATH ?? "").split(":").some((d) => d !== "" && existsSync(join(d, name)));
}

function ensurePackages() {
  const wanted = createHash("sha256")
    .update(readFileSync(at("package-lock.json")))
    .update(readFileSync(at("package.json")))
    .digest("hex");
  if (existsSync(bun) && existsSync(stamp) && readFileSync(stamp, "utf8") === wanted) return;
  // `npm ci` would insist on packages for other platforms, which not every mirror has; the lock file holds either way.
  if (onPath("npm")) step("installing npm packages", "npm", ["install", "--no-save", "--no-audit", "--no-fund", "--loglevel=error"]);
  else if (process.versions.bun) step("installing npm packages", process.execPath, ["install", "--frozen-lockfile"]);
  else fail("npm is missing, which installs Bun and the other packages: apt-get install npm, then run this again");
  if (!existsSync(bun)) fail(`the npm package 'bun' has no binary for this machine (${process.platform} ${process.arch})`);
  writeFileSync(stamp, wanted);
}

function ensureDebianPackages(needs) {
  const missing = debianPackages.filter((p) => p.for.some((f) => needs.includes(f)) && !p.file.some((f) => existsSync(f)));
  if (missing.length === 0) return;
  const names = missing.map((p) => p.package);
  const list = missing.map((p) => `  ${p.package}: ${p.why}`).join("\n");
  const command = `apt-get install --no-install-recommends ${names.join(" ")}`;
  if (!onPath("apt-get")) fail(`these programs are missing, and this is no Debian:\n${list}\nInstall them, then run this again.`);
  if (process.getuid?.() !== 0) fail(`these Debian packages are missing:\n${list}\nRun as root: ${command}`);
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  const simulated = spawnSync("apt-get", ["install", "-s", "-qq", ...names], { env, stdio: "ignore" });
  if (simulated.status !== 0) step("reading Debian's package lists", "apt-get", ["update", "-qq"], { env });
  // Several installs at once wait for each other's lock.
  step(
    `installing Debian packages (${names.join(", ")})`,
    "apt-get",
    ["-o", "DPkg::Lock::Timeout=300", "install", "-y", "-qq", "--no-install-recommends", ...names],
    { env },
  );
}

function newest(dir) {
  let time = 0;
  for (const e of readdirSync(dir, { withFileTypes: true, recursive: true })) {
    if (e.isFile() && e.name.endsWith(".ts")) time = Math.max(time, statSync(join(e.parentPath ?? e.path, e.name)).mtimeMs);
  }
  return time;
}

function ensureWasm() {
  const kernels = readdirSync(at("wasm"), { withFileTypes: true }).filter(
    (d) => d.isDirectory() && existsSync(at("wasm", d.name, "index.ts")),
  );
  const sources = newest(at("wasm"));
  const stale = kernels.some((k) => {
    const built = at("wasm/build", `${k.name}.wasm`);
    return !existsSync(built) || statSync(built).mtimeMs < sources;
  });
  if (stale) step("building the WebAssembly kernels", bun, ["scripts/build-wasm.ts"]);
}

const [name, ...args] = process.argv.slice(2);
const task = tasks[name];
if (!task) fail(`unknown task ${JSON.stringify(name)}; there are: ${Object.keys(tasks).join(", ")}`);
ensurePackages();
ensureDebianPackages(task.needs(args));
if (name !== "build-wasm") ensureWasm();

// Where npm was called, not the repository: relative paths in flags are the user's.
const cwd = process.env.INIT_CWD ?? process.cwd();
const child = spawn(bun, task.script ? [at(task.script), ...args] : args, { stdio: "inherit", cwd });
// A terminal's Ctrl-C reaches the child by itself; the others are passed on.
process.on("SIGINT", () => {});
for (const signal of ["SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
child.on("error", (e) => fail(`${bun} did not start: ${e.message}`));
child.on("exit", (code, signal) => process.exit(signal ? 128 + 15 : (code ?? 1)));
