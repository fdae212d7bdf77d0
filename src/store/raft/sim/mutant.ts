// `bun mutant.ts INDEX MOST`: runs seeds on a mutant, until one fails or there
// were as many as that. Prints {"seed", "error"}, or {} if none failed.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { mutants } from "./mutants.ts";

const [, , index, most] = process.argv;
const mutant = mutants[Number(index)]!;

/** The changed sources, by path. */
const changed = new Map<string, string>();
for (const { file, find, replace } of mutant.edits) {
  const path = join(import.meta.dirname, "..", file);
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

const { simulate } = await import("./simulation.ts");
let found: { seed?: number; error?: string } = {};
for (let seed = 1; seed <= Number(most) && found.seed === undefined; seed++) {
  try {
    simulate(seed);
  } catch (error) {
    found = { seed, error: String(error) };
  }
}
console.log(JSON.stringify(found));
