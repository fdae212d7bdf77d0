// Load from h2load, a program of its own: one prepared body, so many
// connections and streams, and a line of its log for every request.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export const noH2load = Bun.which("h2load") ? undefined : "no h2load on PATH (Debian package nghttp2-client)";

export interface Load {
  endpoint: string;
  /** "/etcdserverpb.KV/Put" */
  path: string;
  body: Uint8Array;
  /** Requests in flight at any time. */
  clients: number;
  requests: number;
  /** CPUs to run on, as taskset takes them. */
  cpus: string;
}

export interface Loaded {
  perSecond: number;
  /** Milliseconds. */
  p50: number;
  p99: number;
  /** Bytes of messages that came back, their prefixes included. */
  bytes: number;
}

/** How in-flight requests are spread: many streams on few connections, as client libraries do. */
export function shape(clients: number): { connections: number; streams: number } {
  if (clients <= 1) return { connections: 1, streams: 1 };
  const connections = clients >= 1000 ? 20 : 16;
  return { connections, streams: Math.ceil(clients / connections) };
}

/** Sends the requests; throws unless each got an answer. */
export async function load(l: Load): Promise<Loaded> {
  const dir = mkdtempSync(join(tmpdir(), "kubun-h2load-"));
  try {
    const body = join(dir, "body");
    const log = join(dir, "log");
    writeFileSync(body, l.body);
    const { connections, streams } = shape(l.clients);
    const flags = [`-n${l.requests}`, `-c${connections}`, `-m${streams}`, `-d${body}`, `--log-file=${log}`];
    const headers = ["-H", "te: trailers", "-H", "content-type: application/grpc"];
    const p = Bun.spawn(["taskset", "-c", l.cpus, "h2load", ...flags, ...headers, `http://${l.endpoint}${l.path}`], {
      stdout: "pipe",
      stderr: "pipe",
    });
    const [out, err, code] = await Promise.all([new Response(p.stdout).text(), new Response(p.stderr).text(), p.exited]);
    const succeeded = Number(/(\d+) succeeded/.exec(out)?.[1]);
    if (code !== 0 || succeeded !== l.requests) throw new Error(`h2load: ${succeeded} of ${l.requests} succeeded\n${out}${err}`);
    return { ...timesOf(readFileSync(log, "utf8")), bytes: Number(/\((\d+)\) data/.exec(out)![1]) };
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

/** Lines of start in microseconds, status, duration in microseconds. */
function timesOf(log: string): { perSecond: number; p50: number; p99: number } {
  const durations: number[] = [];
  let first = Number.POSITIVE_INFINITY;
  let last = 0;
  for (const line of log.split("\n")) {
    if (!line) continue;
    const [start, , took] = line.split("\t").map(Number) as [number, number, number];
    durations.push(took);
    first = Math.min(first, start);
    last = Math.max(last, start + took);
  }
  durations.sort((a, b) => a - b);
  const at = (share: number) => durations[Math.min(durations.length - 1, Math.floor(durations.length * share))]! / 1000;
  return { perSecond: durations.length / ((last - first) / 1e6), p50: at(0.5), p99: at(0.99) };
}
