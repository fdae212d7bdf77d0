// The store beside Debian's etcd: each alone on one CPU and the load on another,
// then both with all CPUs, one run of each in turn. Writes are fsynced by both,
// on the same file system.
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { connect, createClient } from "../src/rpc/client.ts";
import { KV } from "../src/rpc/gen/etcd/rpc_pb.ts";
import { type BenchOptions, type Row, spread } from "./report.ts";
import { GET, GET_SERIALIZABLE, keyOf, PUT, TXN } from "./store/frames.ts";
import { type Loaded, load, noH2load } from "./store/h2load.ts";
import { Cluster, type Cpus, type Kind, type MemoryUse } from "./store/servers.ts";
import type { Watched } from "./store/watchers.ts";

const KINDS: readonly Kind[] = ["ours", "etcd"];
const KEYS = 10_000;
const PUT_PATH = "/etcdserverpb.KV/Put";
const GET_PATH = "/etcdserverpb.KV/Range";

/** What one run measures, on each kind in turn. */
interface Line {
  metric: string;
  unit: string;
  aim: string;
  /** More is better. Otherwise the ratio is turned round. */
  more: boolean;
  values: Record<Kind, number[]>;
}

/** The lines of one comparison, in the order in which they came up. */
class Lines {
  readonly #lines = new Map<string, Line>();
  readonly #suffix: string;
  constructor(suffix: string) {
    this.#suffix = suffix;
  }

  add(kind: Kind, value: number, metric: string, unit: string, aim: string, more = true): void {
    let line = this.#lines.get(metric);
    if (!line) {
      line = { metric, unit, aim, more, values: { ours: [], etcd: [] } };
      this.#lines.set(metric, line);
    }
    line.values[kind].push(value);
  }

  rows(peer: string): Row[] {
    return [...this.#lines.values()].map(({ metric, unit, aim, more, values }) => {
      const ours = spread(values.ours);
      const etcd = spread(values.etcd).median;
      const ratio = more ? ours.median / etcd : etcd / ours.median;
      return { name: "store", metric: `${metric}${this.#suffix}`, unit, ours, peer, peerValue: etcd, ratio, aim };
    });
  }
}

function say(text: string): void {
  console.error(`  ${text}`);
}

async function kv<T>(cluster: Cluster, run: (client: ReturnType<typeof createClient<typeof KV>>) => Promise<T>): Promise<T> {
  const [host, port] = cluster.endpoint.split(":") as [string, string];
  using channel = connect({ host, port: Number(port) });
  return await run(createClient(KV, channel));
}

const revisionOf = (cluster: Cluster) =>
  kv(cluster, async (c) => Number((await c.range({ key: keyOf(0), countOnly: true })).header!.revision));

/** Puts keys of so many bytes, 100 a transaction. */
function fill(cluster: Cluster, keys: number, bytes: number): Promise<void> {
  return kv(cluster, async (c) => {
    const batch = 100;
    const one = async (from: number) => {
      const puts = Array.from({ length: batch }, (_, i) => ({
        request: { case: "requestPut" as const, value: { key: keyOf(from + i), value: Buffer.alloc(bytes, `${from + i} `) } },
      }));
      await c.txn({ success: puts });
    };
    for (let i = 0; i < keys; i += 8 * batch) {
      await Promise.all(Array.from({ length: Math.min(8, (keys - i) / batch) }, (_, j) => one(i + j * batch)));
    }
  });
}

/** Both drop the history that a run left, so that no run pays for the one before. */
async function compact(cluster: Cluster): Promise<void> {
  const revision = await revisionOf(cluster);
  await kv(cluster, (c) => c.compact({ revision: BigInt(revision), physical: true }));
}

interface Work {
  path: string;
  body: Uint8Array;
  clients: number;
  /** Each request makes a revision, which is counted afterwards. */
  writes: boolean;
  /** Fewest bytes of a right answer; one that failed has none. */
  answer: number;
}

/** With the CPU time that the servers took for a request, in microseconds: it varies least where others use the machine too. */
type Measured = Loaded & { cpu: number };

/** Warms up, which also tells how many requests fill the time. */
async function measure(cluster: Cluster, work: Work, cpus: Cpus, seconds: number): Promise<Measured> {
  const { path, body, clients, writes, answer } = work;
  const target = { endpoint: cluster.endpoint, path, body, clients, cpus: cpus.client };
  const warm = await load({ ...target, requests: Math.max(200, clients * 30) });
  const requests = Math.max(clients * 10, Math.round(warm.perSecond * seconds));
  const before = await revisionOf(cluster);
  const cpu = cluster.cpuSeconds();
  const loaded = await load({ ...target, requests });
  const cpuEach = ((cluster.cpuSeconds() - cpu) / requests) * 1e6;
  const made = (await revisionOf(cluster)) - before;
  if (made !== (writes ? requests : 0)) throw new Error(`${cluster.kind}: ${requests} requests of ${path} made ${made} revisions`);
  if (loaded.bytes < requests * answer) throw new Error(`${cluster.kind}: ${path} answered ${loaded.bytes} bytes to ${requests} requests`);
  if (writes) await compact(cluster);
  return { ...loaded, cpu: cpuEach };
}

async function watch(cluster: Cluster, watchers: number, puts: number, cpus: Cpus): Promise<Watched> {
  const script = join(import.meta.dirname, "store/watchers.ts");
  const command = ["taskset", "-c", cpus.client, process.execPath, script, cluster.endpoint, String(watchers), String(puts)];
  const child = Bun.spawn(command, { stdout: "pipe", stderr: "inherit" });
  try {
    let said = "";
    let started: Promise<unknown> | undefined;
    for await (const chunk of child.stdout) {
      said += new TextDecoder().decode(chunk);
      if (!started && said.startsWith("ready\n")) {
        started = load({ endpoint: cluster.endpoint, path: PUT_PATH, body: PUT, clients: 64, requests: puts, cpus: cpus.client });
      }
    }
    await started;
    if ((await child.exited) !== 0) throw new Error(`the watchers of ${cluster.kind} failed`);
    await compact(cluster);
    return JSON.parse(said.split("\n")[1]!) as Watched;
  } finally {
    child.kill("SIGKILL");
  }
}

const IN_FLIGHT = [1, 64, 256, 1000];

interface Plan {
  size: number;
  rounds: number;
  seconds: number;
  inFlight: readonly number[];
  /** Puts, and gets, before anything is measured: compilers take their time. */
  warmUp: number;
  /** Watchers, and puts that they see. */
  watches: readonly [number, number][];
  cpus: Cpus;
  suffix: string;
}

async function traffic(plan: Plan, peer: string): Promise<Row[]> {
  const { size, rounds, seconds, cpus } = plan;
  const lines = new Lines(plan.suffix);
  await using ours = await Cluster.start("ours", size, cpus);
  await using etcd = await Cluster.start("etcd", size, cpus);
  const clusters = { ours, etcd };
  await Promise.all(KINDS.map((kind) => fill(clusters[kind], KEYS, 256)));
  say(`warming up: ${plan.warmUp} puts and gets each`);
  for (const kind of KINDS) {
    const { endpoint } = clusters[kind];
    await load({ endpoint, path: PUT_PATH, body: PUT, clients: 64, requests: plan.warmUp, cpus: cpus.client });
    await load({ endpoint, path: GET_PATH, body: GET, clients: 64, requests: plan.warmUp, cpus: cpus.client });
    await compact(clusters[kind]);
  }
  const each = async (work: Work, add: (kind: Kind, l: Measured) => void) => {
    for (const kind of KINDS) add(kind, await measure(clusters[kind], work, cpus, seconds));
  };
  for (let round = 1; round <= rounds; round++) {
    say(`${size} member${size > 1 ? "s" : ""}${plan.suffix}: round ${round} of ${rounds}`);
    for (const clients of plan.inFlight) {
      const aim = clients >= 64 ? "≥ 3×" : "≥ 1×";
      await each({ path: PUT_PATH, body: PUT, clients, writes: true, answer: 10 }, (kind, l) => {
        lines.add(kind, l.perSecond, `puts at ${clients} in flight`, "1/s", aim);
        lines.add(kind, l.p50, `p50 of puts at ${clients} in flight`, "ms", "≥ 1×", false);
        lines.add(kind, l.p99, `p99 of puts at ${clients} in flight`, "ms", "≥ 1×", false);
        lines.add(kind, l.cpu, `CPU time of a put at ${clients} in flight`, "µs", "≥ 1×", false);
      });
    }
    const read = { path: GET_PATH, clients: 64, writes: false, answer: 256 };
    await each({ ...read, body: GET }, (kind, l) => {
      lines.add(kind, l.perSecond, "linearizable gets, 64 in flight", "1/s", "≥ 3×");
      lines.add(kind, l.cpu, "CPU time of such a get", "µs", "≥ 1×", false);
    });
    await each({ ...read, body: GET_SERIALIZABLE }, (kind, l) =>
      lines.add(kind, l.perSecond, "serializable gets, 64 in flight", "1/s", "≥ 3×"),
    );
    await each({ path: "/etcdserverpb.KV/Txn", body: TXN, clients: 64, writes: true, answer: 10 }, (kind, l) =>
      lines.add(kind, l.perSecond, "transactions, 64 in flight", "1/s", "≥ 3×"),
    );
    for (const [watchers, puts] of plan.watches) {
      for (const kind of KINDS) {
        const w = await watch(clusters[kind], watchers, puts, cpus);
        if (w.cpu > w.seconds * 0.9) say(`the client is what is measured: ${kind}, ${watchers} watchers`);
        lines.add(kind, w.events / w.seconds, `watch events to ${watchers} watcher${watchers > 1 ? "s" : ""}`, "1/s", "≥ 1×");
      }
    }
  }
  return lines.rows(peer);
}

/** What a cluster holds once four readings, a second apart, are alike; after fifteen at the latest. */
async function settled(cluster: Cluster): Promise<MemoryUse> {
  let last = cluster.memory();
  for (let i = 0, alike = 0; i < 15 && alike < 3; i++) {
    await Bun.sleep(1000);
    const now = cluster.memory();
    alike = Math.abs(now.pss - last.pss) < 1 ? alike + 1 : 0;
    last = now;
  }
  return last;
}

/** 100 000 keys of 1 KB: what they cost, and how long a start with them takes. */
async function hundredThousand(rounds: number, cpus: Cpus, peer: string): Promise<Row[]> {
  const lines = new Lines("");
  await using ours = await Cluster.start("ours", 1, cpus);
  await using etcd = await Cluster.start("etcd", 1, cpus);
  const clusters = { ours, etcd };
  say("100 000 keys of 1 KB");
  for (const kind of KINDS) {
    await fill(clusters[kind], 100_000, 1024);
    const { rss, pss } = await settled(clusters[kind]);
    lines.add(kind, rss, "RSS with 100 000 keys of 1 KB, written before", "MiB", "≥ 1×", false);
    lines.add(kind, pss, "PSS with 100 000 keys of 1 KB, written before", "MiB", "≥ 1×", false);
  }
  for (let round = 0; round < rounds; round++) {
    for (const kind of KINDS) {
      const cluster = clusters[kind];
      await cluster.down();
      const begun = performance.now();
      await cluster.up();
      lines.add(kind, performance.now() - begun, "start with them, until a linearizable read", "ms", "≥ 1×", false);
      const count = await kv(cluster, async (c) =>
        Number((await c.range({ key: keyOf(0), rangeEnd: Buffer.from("bench0"), countOnly: true })).count),
      );
      if (count !== 100_000) throw new Error(`${kind} has ${count} keys after its start`);
      const { rss, pss } = cluster.memory();
      lines.add(kind, rss, "RSS after that start", "MiB", "≥ 1×", false);
      lines.add(kind, pss, "PSS after that start", "MiB", "≥ 1×", false);
    }
  }
  return lines.rows(peer);
}

export default async function store({ quick }: BenchOptions): Promise<Row[]> {
  const missing = noH2load ?? (Bun.which("etcd") ? undefined : "no etcd on PATH (Debian package etcd-server)");
  if (missing) {
    say(`skipped: ${missing}`);
    return [];
  }
  const peer = `etcd ${/Version: (\S+)/.exec(Bun.spawnSync(["etcd", "--version"]).stdout.toString())![1]}`;
  const count = availableParallelism();
  const one: Cpus = count > 1 ? { server: "0", client: count > 2 ? `1-${count - 1}` : "1" } : { server: "0", client: "0" };
  const all: Cpus = { server: `0-${count - 1}`, client: one.client };
  say(
    `${peer}; the server on CPU ${one.server}, the load (h2load, watchers) on ${one.client}. Go's etcd can use more: see the lines "all CPUs".`,
  );
  say("n in flight: 1 = 1 connection; 64 and 256 = 16 connections; 1000 = 20. Values of 256 bytes. The revisions made are counted.");
  const watches: [number, number][] = quick
    ? [
        [1, 4000],
        [100, 1000],
        [1000, 100],
      ]
    : [
        [1, 20_000],
        [100, 5000],
        [1000, 500],
      ];
  // Of three members on two CPUs, the engine goes on compiling up to here: a sixth of all CPU time after 40 000 puts.
  const warmUp = 120_000;
  const single = { size: 1, rounds: quick ? 1 : 5, seconds: quick ? 0.5 : 2, inFlight: IN_FLIGHT, watches, warmUp };
  const rows = await traffic({ ...single, cpus: one, suffix: "" }, peer);
  rows.push(...(await hundredThousand(quick ? 1 : 5, one, peer)));
  if (!quick) rows.push(...(await traffic({ ...single, cpus: all, suffix: " (all CPUs)" }, peer)));
  const three = { ...single, size: 3, inFlight: quick ? [64] : IN_FLIGHT, watches: quick ? [] : watches };
  try {
    rows.push(...(await traffic({ ...three, cpus: all, suffix: " (3 members, all CPUs)" }, peer)));
  } catch (error) {
    say(`3 members: not possible: ${(error as Error).message}`);
  }
  return rows;
}
