// `bun mutant.ts INDEX SEEDS`: puts a mistake into our source, and runs the
// scripts of testdata/ and, if SEEDS is not 0, the seed that is known to show
// it and so many others, until one fails. Prints
// {"script"}, {"seed", "error"}, or {} if nothing shows it.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { mutants } from "./mutants.ts";

const [, , index, seeds] = process.argv;
const raft = join(import.meta.dirname, "..");

/** The changed sources, by path. */
const changed = new Map<string, string>();
const { edits, shownBy } = mutants[Number(index)]!;
for (const { file, find, replace } of edits) {
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
  if (most === 0) return {};
  const { simulate } = await import("./simulation.ts");
  const seeds = Array.from({ length: most }, (_, i) => i + 1);
  if (shownBy !== undefined) seeds.unshift(shownBy);
  for (const seed of seeds) {
    try {
      simulate(seed);
    } catch (error) {
      return { seed, error: String(error) };
    }
  }
  return {};
}

console.log(JSON.stringify({ script: await failingScript(), ...(await failingSeed(Number(seeds))) }));
