// `bun mutant.ts INDEX SEEDS`: puts a mistake into our source, and runs the
// scripts of testdata/ and so many seeds, until one fails. Prints
// {"script"}, {"seed", "error"}, or {} if nothing shows it.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { mutants } from "./mutants.ts";

const [, , index, seeds] = process.argv;
const raft = join(import.meta.dirname, "..");

/** The changed sources, by path. */
const changed = new Map<string, string>();
for (const { file, find, replace } of mutants[Number(index)]!.edits) {
  const path = join(raft, file);
  const source = changed.get(path) ?? readFileSync(path, "utf8");
  if (source.split(find).length !== 2) throw new Error(`${file} has not exactly once: ${find}`);
  changed.set(
    path,
    source.replace(find, () => replace),
  );
}

Bun.plugin({
  name: "mutant",
  setup(build) {
    for (const [path, contents] of changed) {
      build.onLoad({ filter: new RegExp(`${RegExp.escape(path)}$`) }, () => ({ contents, loader: "ts" }));
    }
  },
});

async function failingScript(): Promise<string | undefined> {
  const { rewrite } = await import("../testing/script.ts");
  const dir = join(raft, "testdata");
  return readdirSync(dir).find((name) => {
    const script = readFileSync(join(dir, name), "utf8");
    return rewrite(script) !== script;
  });
}

async function failingSeed(most: number): Promise<{ seed?: number; error?: string }> {
  const { simulate } = await import("./simulation.ts");
  for (let seed = 1; seed <= most; seed++) {
    try {
      simulate(seed);
    } catch (error) {
      return { seed, error: String(error) };
    }
  }
  return {};
}

console.log(JSON.stringify({ script: await failingScript(), ...(await failingSeed(Number(seeds))) }));
