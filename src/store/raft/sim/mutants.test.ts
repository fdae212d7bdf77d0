// That the simulator finds mistakes: our source with one of them in it has to
// fail, within a number of seeds. `bun run sim --mutants` tries them all, also
// those that only one history in a thousand shows.
import { expect, test } from "bun:test";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { mutants } from "./mutants.ts";

const MOST_SEEDS = 1500;

async function isFound(index: number): Promise<boolean> {
  const p = Bun.spawn([process.execPath, join(import.meta.dirname, "mutant.ts"), `${index}`, `${MOST_SEEDS}`], {
    stdout: "pipe",
    stderr: "inherit",
  });
  const found = JSON.parse(await new Response(p.stdout).text());
  return found.seed !== undefined;
}

test("mistakes in Raft, in what the disk holds and in what a lease promises are found by some history", async () => {
  const queue = mutants.flatMap((m, index) => (m.rare ? [] : [index]));
  expect(queue.length).toBeGreaterThan(12);
  const missed: string[] = [];
  const worker = async () => {
    for (let index = queue.shift(); index !== undefined; index = queue.shift()) {
      if (!(await isFound(index))) missed.push(mutants[index]!.name);
    }
  };
  await Promise.all(Array.from({ length: Math.min(4, availableParallelism()) }, worker));
  expect(missed).toEqual([]);
}, 600_000);
