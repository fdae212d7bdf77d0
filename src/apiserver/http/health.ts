// /healthz, /livez and /readyz: each a list of named checks.
import { type Reply, text } from "./reply.ts";

/** What is wrong, or undefined. */
export type Check = () => string | undefined | Promise<string | undefined>;

export interface HealthChecks {
  readonly live: ReadonlyMap<string, Check>;
  readonly ready: ReadonlyMap<string, Check>;
}

/** Answers one of the three paths, or a check below it. */
export async function health(path: string, query: URLSearchParams, checks: HealthChecks): Promise<Reply | undefined> {
  const [, kind = "", single, ...more] = path.split("/");
  const all = kind === "readyz" ? checks.ready : checks.live;
  if (single !== undefined && (more.length || !all.has(single))) return undefined;
  const excluded = query.getAll("exclude");
  const lines: string[] = [];
  let failed = 0;
  for (const [name, check] of single === undefined ? all : [[single, all.get(single)!] as const]) {
    // Stores of single resources are left out with the main one.
    if (excluded.includes(name) || excluded.includes(name.replace(/^etcd-override(-readiness)?-\d+$/, "etcd$1"))) {
      lines.push(`[+]${name} excluded: ok`);
      continue;
    }
    const problem = await check();
    // A check asked for by its name says why.
    if (problem !== undefined && single !== undefined) return text(500, `internal server error: ${problem}\n`);
    if (problem === undefined) lines.push(`[+]${name} ok`);
    else {
      failed++;
      lines.push(`[-]${name} failed: reason withheld`);
    }
  }
  const verbose = query.has("verbose");
  if (failed) return text(500, `${lines.join("\n")}\n${kind} check failed\n`);
  return text(200, verbose ? `${lines.join("\n")}\n${kind} check passed\n` : "ok");
}
