// What the tests are worth: a mistake in our source has to change what a script
// says, and to break an invariant in some simulated history. Mistakes that only
// one history in hundreds shows: `bun run sim --mutants`.
import { expect, test } from "bun:test";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { type Mutant, mutants } from "./mutants.ts";

const SEEDS = 250;

/** What lies in the core, and not in what the simulation does to it, scripts show too. */
const isCore = (m: Mutant) => m.edits.every((e) => !e.file.startsWith("sim/"));

async function run(index: number): Promise<{ script?: string; seed?: number }> {
  const seeds = mutants[index]!.rare ? 0 : SEEDS;
  const p = Bun.spawn([process.execPath, join(import.meta.dirname, "mutant.ts"), `${index}`, `${seeds}`], {
    stdout: "pipe",
    stderr: "inherit",
  });
  return JSON.parse(await new Response(p.stdout).text());
}

test("each mistake is noticed: by a script if it is one of the core, and by a history if it is not rare", async () => {
  const queue = [...mutants.entries()];
  const missed: string[] = [];
  const worker = async () => {
    for (let next = queue.shift(); next; next = queue.shift()) {
      const [index, mutant] = next;
      const { script, seed } = await run(index);
      if (isCore(mutant) && script === undefined) missed.push(`no script: ${mutant.name}`);
      if (!mutant.rare && seed === undefined) missed.push(`no history: ${mutant.name}`);
    }
  };
  expect(queue.filter(([, m]) => !m.rare).length).toBeGreaterThan(9);
  await Promise.all(Array.from({ length: Math.min(4, availableParallelism()) }, worker));
  expect(missed).toEqual([]);
}, 600_000);
