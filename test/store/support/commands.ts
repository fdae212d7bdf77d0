// Short commands of the system, run to their ends.

export interface Ran {
  code: number;
  out: string;
  err: string;
}

export function run(...command: string[]): Ran {
  const p = Bun.spawnSync(command, { stdout: "pipe", stderr: "pipe" });
  return { code: p.exitCode, out: p.stdout.toString(), err: p.stderr.toString() };
}

/** @throws Error with what it said, if it fails */
export function must(...command: string[]): string {
  const { code, out, err } = run(...command);
  if (code !== 0) throw new Error(`${command.join(" ")}: exit code ${code}: ${err}${out}`);
  return out;
}

/**
 * Asks again until the answer is true or anything else than false and undefined.
 *
 * @param what what is waited for, in the error's words
 * @param milliseconds until it gives up
 * @param evidence what the error tells besides
 */
export async function until<T>(
  what: string,
  ask: () => T | undefined | false | Promise<T | undefined | false>,
  milliseconds = 30_000,
  evidence: () => string = () => "",
): Promise<T> {
  const deadline = performance.now() + milliseconds;
  let last: unknown;
  for (;;) {
    try {
      const answer = await ask();
      if (answer !== undefined && answer !== false) return answer;
      last = answer;
    } catch (error) {
      last = error;
    }
    if (performance.now() > deadline) throw new Error(`waited ${milliseconds} ms for ${what}: ${last}\n${evidence()}`);
    await Bun.sleep(20);
  }
}
