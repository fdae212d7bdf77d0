// `npm test [-- PATH…]`: the tests beside the code in one process, then those of
// the store as processes, then each end-to-end file in a process of its own, one
// after the other, because they share the machine's kernel: with the embedded
// runtime, then with Debian's containerd, and some of them with other stores. Ends with the line `N passed, N failed`.
import { dirname, join } from "node:path";

const root = join(import.meta.dirname, "..");
const wanted = process.argv.slice(2);

// Where there is no kubectl, the one that the tests fetch stands in for it.
if (!Bun.which("kubectl")) {
  const { kubectl135 } = await import("../test/e2e/support/tools.ts");
  process.env.PATH = `${process.env.PATH}:${dirname(kubectl135())}`;
}

interface Run {
  title: string;
  files: string[];
  env?: Record<string, string>;
  /** Milliseconds that a single test may take. */
  timeout: number;
}

async function files(pattern: string): Promise<string[]> {
  const found: string[] = [];
  for await (const f of new Bun.Glob(pattern).scan(root)) found.push(`./${f}`);
  return found.filter((f) => wanted.length === 0 || wanted.some((w) => f.includes(w))).sort();
}

/** What a report of `bun test` says of each test that failed: the lines since the test before it, at most 60. */
function failuresOf(report: string): string[] {
  const found: string[] = [];
  let since: string[] = [];
  for (const line of report.split("\n")) {
    since.push(line);
    // After the counts, bun repeats the failures of a long report.
    if (/^ *\d+ pass$/.test(line)) break;
    if (/^\(fail\)/.test(line)) found.push(...since.slice(-60));
    if (/^\((pass|fail|skip)\)/.test(line)) since = [];
  }
  return found.length > 0 ? found : since.slice(-60);
}

const runtimes = process.env.KUBUN_E2E_RUNTIME ? [process.env.KUBUN_E2E_RUNTIME] : ["embedded", "containerd"];
/** End-to-end files to which the runtime makes no difference, or which choose it themselves. */
const runtimeless = ["bad-input", "components", "outside-store", "control-planes"];
/** Files that run over stores other than the cluster's own too: three members of ours, and Debian's etcd. */
const storeFiles = ["hello", "kubectl", "helm", "client-node", "resilience"];
const stores = process.env.KUBUN_E2E_STORE ? [process.env.KUBUN_E2E_STORE] : ["embedded", "cluster", "etcd"];
const isFile = (path: string, name: string) => path.endsWith(`/${name}.test.ts`);
const e2e = await files("test/e2e/**/*.test.ts");
const unit = await files("{src,wasm,scripts}/**/*.test.ts");
const store = await files("test/store/**/*.test.ts");
const runs: Run[] = [
  ...(unit.length > 0 ? [{ title: "unit tests", files: unit, timeout: 60_000 }] : []),
  ...(store.length > 0 ? [{ title: "store tests", files: store, timeout: 120_000 }] : []),
  ...(stores.includes("embedded") ? runtimes : []).flatMap((runtime) =>
    e2e
      .filter((f) => runtime === "embedded" || !runtimeless.some((name) => isFile(f, name)))
      .map((f) => ({ title: `${f} (${runtime})`, files: [f], env: { KUBUN_E2E_RUNTIME: runtime }, timeout: 300_000 })),
  ),
  ...stores
    .filter((store) => store !== "embedded")
    .flatMap((store) =>
      e2e
        .filter((f) => storeFiles.some((name) => isFile(f, name)))
        .map((f) => ({
          title: `${f} (${store === "etcd" ? "Debian's etcd" : "three members"} as the store)`,
          files: [f],
          env: { KUBUN_E2E_RUNTIME: "embedded", KUBUN_E2E_STORE: store },
          timeout: 300_000,
        })),
    ),
];

const total = { pass: 0, fail: 0, skip: 0 };
let broken = 0;
const failed: string[] = [];
for (const run of runs) {
  console.log(`\n== ${run.title}`);
  const started = performance.now();
  const p = Bun.spawn([process.execPath, "test", `--timeout=${run.timeout}`, ...run.files], {
    cwd: root,
    env: { ...process.env, ...run.env },
    stdout: "inherit",
    stderr: "pipe",
  });
  let report = "";
  for await (const chunk of p.stderr.pipeThrough(new TextDecoderStream())) {
    process.stdout.write(chunk);
    report += chunk;
  }
  const code = await p.exited;
  const count = (word: string) => Number(new RegExp(`^ *(\\d+) ${word}$`, "m").exec(report)?.[1] ?? 0);
  const failures = count("fail") + (/^ *(\d+) errors?$/m.test(report) ? 1 : 0);
  total.pass += count("pass");
  total.skip += count("skip");
  total.fail += failures;
  // A run that died, or failed outside of a test, counts as a failure of its own.
  if (code !== 0 && failures === 0) broken++;
  if (code !== 0) failed.push(`== ${run.title}: ended with ${code}`, ...failuresOf(report));
  console.log(`== ${run.title}: ${((performance.now() - started) / 1000).toFixed(1)} s`);
}
total.fail += broken;
if (total.pass + total.fail === 0) {
  console.log(`no test matches ${wanted.join(" ")}`);
  process.exit(2);
}
// Whoever reads the end of a long report sees what failed.
if (failed.length > 0) console.log(["", "== failures", ...failed].join("\n"));
console.log(`\n${total.pass} passed, ${total.fail} failed${total.skip ? `, ${total.skip} skipped` : ""}`);
process.exit(total.fail > 0 ? 1 : 0);
