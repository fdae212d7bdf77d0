// Simulated histories on all cores: `bun run sim --seeds N` runs more of them,
// and `bun run sim --seed S` replays the one that failed.
import { expect, test } from "bun:test";
import { join } from "node:path";
import { simulate } from "./simulation.ts";

const sim = join(import.meta.dirname, "../../../../scripts/sim.ts");

async function run(...args: string[]): Promise<{ code: number; out: string }> {
  const p = Bun.spawn([process.execPath, sim, ...args], { stdout: "pipe", stderr: "inherit" });
  const out = await new Response(p.stdout).text();
  return { code: await p.exited, out };
}

test("every invariant holds in 2 000 histories of crashes, partitions, membership changes and clients", async () => {
  const { code, out } = await run("--seeds", "2000");
  expect({ code, out }).toEqual({ code: 0, out: expect.stringContaining("2000 histories, 0 failures") });
}, 600_000);

test("a seed is one history, the same every time", () => {
  const told = () => {
    const lines: string[] = [];
    const summary = simulate(42, { trace: (at, line) => lines.push(`${at} ${line}`) });
    return { summary, lines };
  };
  const first = told();
  expect(first.lines.length).toBeGreaterThan(20);
  expect(told()).toEqual(first);
});
