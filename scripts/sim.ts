// `bun run sim --seeds N [--from S]`: simulated histories of Raft, each of a
// seed, on all cores. `bun run sim --seed S` replays one and tells what happens.
// `bun run sim --mutants [--seeds N]`: which of the mistakes of mutants.ts are found.
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { mutants } from "../src/store/raft/sim/mutants.ts";
import { simulate } from "../src/store/raft/sim/simulation.ts";

const usage = `Simulated histories of the store's Raft: each seed drives clocks, disks, network, faults and clients.

Usage:
  bun run sim [--seeds N] [--from S] [--workers N]   so many seeds; a failure prints its own
  bun run sim --seed S                               one history, with what happens in it
  bun run sim --mutants [--seeds N]                  whether the checks catch known mistakes`;

function flags() {
  return parseArgs({
    options: {
      help: { type: "boolean", short: "h", default: false },
      seeds: { type: "string", default: "2000" },
      from: { type: "string" },
      seed: { type: "string" },
      mutants: { type: "boolean", default: false },
      workers: { type: "string", default: `${availableParallelism()}` },
      /** Internal: run these seeds in this process. */
      part: { type: "string" },
    },
  }).values;
}

function read(): ReturnType<typeof flags> {
  try {
    return flags();
  } catch (error) {
    console.error(`${(error as Error).message}\n\n${usage}`);
    process.exit(2);
  }
}

const values = read();
if (values.help) {
  console.log(usage);
  process.exit(0);
}

const whole = (flag: string, text: string) => {
  if (/^\d{1,15}$/.test(text)) return Number(text);
  console.error(`--${flag}=${text}: not a whole number`);
  process.exit(2);
};

if (values.seed !== undefined) replay(whole("seed", values.seed));
else if (values.part !== undefined) runPart(values.part);
else if (values.mutants) process.exit(await runMutants(whole("seeds", values.seeds), Math.max(1, whole("workers", values.workers))));
else
  process.exit(
    await runAll(whole("seeds", values.seeds), whole("from", values.from ?? "1"), Math.max(1, whole("workers", values.workers))),
  );

function replay(seed: number): void {
  const trace = (at: number, line: string) => console.log(`${at.toFixed(1).padStart(9)}  ${line}`);
  try {
    console.log(JSON.stringify(simulate(seed, { trace })));
  } catch (error) {
    console.log(`seed ${seed}: ${(error as Error).stack}`);
    process.exit(1);
  }
}

interface Sums {
  histories: number;
  failures: number;
  answered: number;
  entries: number;
  /** Of virtual time. */
  millis: number;
}

type Line = { seed: number; error: string } | Sums;

/** Lines of JSON: how far it is now and then, a failure each, then the sums. */
function runPart(part: string): void {
  const [from, step, to] = part.split(",").map(Number) as [number, number, number];
  const sums: Sums = { histories: 0, failures: 0, answered: 0, entries: 0, millis: 0 };
  for (let seed = from; seed < to; seed += step) {
    if (sums.histories % 100 === 0) console.log(JSON.stringify({ begun: sums.histories }));
    sums.histories++;
    try {
      const { answered, entries, millis } = simulate(seed);
      sums.answered += answered;
      sums.entries += entries;
      sums.millis += millis;
    } catch (error) {
      sums.failures++;
      console.log(JSON.stringify({ seed, error: String(error) }));
    }
  }
  console.log(JSON.stringify(sums));
}

async function runAll(seeds: number, from: number, workers: number): Promise<number> {
  const started = performance.now();
  const begun = Array<number>(workers).fill(0);
  let told = started;
  const tell = (worker: number, count: number) => {
    begun[worker] = count;
    if (performance.now() - told < 2000) return;
    told = performance.now();
    console.error(`${begun.reduce((sum, n) => sum + n)} of ${seeds} ...`);
  };
  const parts = await Promise.all(
    Array.from({ length: workers }, async (_, i) => {
      const args = [process.execPath, import.meta.path, "--part", `${from + i},${workers},${from + seeds}`];
      const p = Bun.spawn(args, { stdout: "pipe", stderr: "inherit" });
      const lines: Line[] = [];
      let rest = "";
      for await (const text of p.stdout.pipeThrough(new TextDecoderStream())) {
        const whole = (rest + text).split("\n");
        rest = whole.pop() ?? "";
        for (const line of whole.map((l) => JSON.parse(l))) {
          if ("begun" in line) tell(i, line.begun);
          else lines.push(line);
        }
      }
      if ((await p.exited) !== 0) throw new Error(`a worker ended with exit code ${p.exitCode}`);
      return lines;
    }),
  );
  const sums: Sums = { histories: 0, failures: 0, answered: 0, entries: 0, millis: 0 };
  for (const line of parts.flat()) {
    if ("seed" in line) console.log(`seed ${line.seed} fails: ${line.error}\n  bun run sim --seed ${line.seed}`);
    else for (const key of Object.keys(sums) as (keyof Sums)[]) sums[key] += line[key];
  }
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  const minutes = (sums.millis / 60_000).toFixed(0);
  console.log(
    `${sums.histories} histories, ${sums.failures} failures: ${minutes} minutes of virtual time, ${sums.entries} entries, ${sums.answered} answers, in ${seconds} s`,
  );
  return sums.failures > 0 ? 1 : 0;
}

/** The first seed that shows each mistake, or that none does. */
async function runMutants(seeds: number, workers: number): Promise<number> {
  const queue = [...mutants.entries()];
  let missed = 0;
  const worker = async () => {
    for (let next = queue.shift(); next; next = queue.shift()) {
      const [index, { name }] = next;
      const script = join(import.meta.dirname, "../src/store/raft/sim/mutant.ts");
      const p = Bun.spawn([process.execPath, script, `${index}`, `${seeds}`], { stdout: "pipe", stderr: "inherit" });
      const { seed, error } = JSON.parse(await new Response(p.stdout).text());
      if (seed === undefined) missed++;
      console.log(seed === undefined ? `missed    ${name}` : `${`seed ${seed}`.padEnd(10)}${name}\n          ${error.split("\n", 1)[0]}`);
    }
  };
  await Promise.all(Array.from({ length: workers }, worker));
  console.log(`${mutants.length} mistakes, ${missed} missed within ${seeds} seeds`);
  return missed > 0 ? 1 : 0;
}
