// The stores that are compared, each a process of its own on given CPUs.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Subprocess } from "bun";
import { connect, createClient } from "../../src/rpc/client.ts";
import { KV, Maintenance } from "../../src/rpc/gen/etcd/rpc_pb.ts";
import { freePort } from "../../src/testing/ports.ts";

const main = join(import.meta.dirname, "../../src/main.ts");

export type Kind = "ours" | "etcd";

export interface Cpus {
  server: string;
  client: string;
}

/** Polls until an answer comes. */
async function until<T>(what: string, seconds: number, ask: () => Promise<T | undefined>): Promise<T> {
  for (const deadline = performance.now() + seconds * 1000; ; await Bun.sleep(1)) {
    const answer = await ask();
    if (answer !== undefined) return answer;
    if (performance.now() > deadline) throw new Error(`${what} within ${seconds} s`);
  }
}

export interface MemoryUse {
  /** MiB. */
  rss: number;
  pss: number;
}

interface MemberProcess {
  name: string;
  client: number;
  peer: number;
  dir: string;
  process?: Subprocess;
}

/** A cluster of one or more members of one kind. */
export class Cluster implements AsyncDisposable {
  readonly kind: Kind;
  readonly #cpus: Cpus;
  readonly #dir = mkdtempSync(join(tmpdir(), "kubun-bench-store-"));
  readonly #members: MemberProcess[];
  #leader = 0;

  private constructor(kind: Kind, cpus: Cpus, members: MemberProcess[]) {
    this.kind = kind;
    this.#cpus = cpus;
    this.#members = members;
    for (const m of members) m.dir = join(this.#dir, m.name);
  }

  /** Starts the members; resolves when the leader serves. */
  static async start(kind: Kind, size: number, cpus: Cpus): Promise<Cluster> {
    const members: MemberProcess[] = [];
    for (let i = 0; i < size; i++) members.push({ name: `m${i}`, client: freePort(), peer: freePort(), dir: "" });
    const cluster = new Cluster(kind, cpus, members);
    try {
      await cluster.up();
    } catch (error) {
      await cluster[Symbol.asyncDispose]();
      throw error;
    }
    return cluster;
  }

  /** host:port of the leader. */
  get endpoint(): string {
    return `127.0.0.1:${this.#members[this.#leader]!.client}`;
  }

  /** Starts what is down; resolves when the leader has answered a linearizable read. */
  async up(): Promise<void> {
    for (const m of this.#members) m.process ??= this.#spawn(m);
    const deadline = 60;
    await until(`${this.kind} does not serve`, deadline, async () => {
      for (const [i, m] of this.#members.entries()) {
        if (m.process?.exitCode !== null) throw new Error(`${this.kind} ended: ${readFileSync(join(this.#dir, `${m.name}.log`), "utf8")}`);
        const status = await this.#ask(i, (c) => createClient(Maintenance, c).status({}, { timeout: 1000 }));
        if (!status || status.leader === 0n || status.leader !== status.header!.memberId) continue;
        this.#leader = i;
        return this.#ask(i, (c) => createClient(KV, c).range({ key: Buffer.from("bench/ready") }, { timeout: 1000 }));
      }
      return undefined;
    });
  }

  /** SIGTERM, and waits for the end. */
  async down(): Promise<void> {
    for (const m of this.#members) {
      m.process?.kill("SIGTERM");
      await m.process?.exited;
      m.process = undefined;
    }
  }

  /** What all members hold together. */
  memory(): MemoryUse {
    const sum = { rss: 0, pss: 0 };
    for (const m of this.#members) {
      const rollup = readFileSync(`/proc/${m.process!.pid}/smaps_rollup`, "utf8");
      sum.rss += Number(/^Rss:\s+(\d+)/m.exec(rollup)![1]) / 1024;
      sum.pss += Number(/^Pss:\s+(\d+)/m.exec(rollup)![1]) / 1024;
    }
    return sum;
  }

  /** Seconds of CPU time that all members have taken, in ticks of 10 ms. */
  cpuSeconds(): number {
    let ticks = 0;
    for (const m of this.#members) {
      // Behind the name, which is in parentheses: state is the third field, user and system time the 14th and 15th.
      const fields = readFileSync(`/proc/${m.process!.pid}/stat`, "utf8").split(") ")[1]!.split(" ");
      ticks += Number(fields[11]) + Number(fields[12]);
    }
    return ticks / 100;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const m of this.#members) {
      m.process?.kill("SIGKILL");
      await m.process?.exited;
    }
    rmSync(this.#dir, { recursive: true, force: true });
  }

  #spawn(m: MemberProcess): Subprocess {
    const client = `http://127.0.0.1:${m.client}`;
    const peers = this.#members.map((p) => `${p.name}=http://127.0.0.1:${p.peer}`).join(",");
    const flags = [`--name=${m.name}`, `--data-dir=${m.dir}`, `--listen-client-urls=${client}`, `--advertise-client-urls=${client}`];
    const peer = `http://127.0.0.1:${m.peer}`;
    const clustered = [`--listen-peer-urls=${peer}`, `--initial-advertise-peer-urls=${peer}`, `--initial-cluster=${peers}`];
    const command =
      this.kind === "etcd"
        ? ["etcd", ...flags, ...clustered, "--logger=zap", "--log-level=error"]
        : [process.execPath, main, "store", ...flags, ...clustered];
    const log = Bun.file(join(this.#dir, `${m.name}.log`));
    return Bun.spawn(["taskset", "-c", this.#cpus.server, ...command], { stdout: log, stderr: log });
  }

  async #ask<T>(member: number, run: (channel: ReturnType<typeof connect>) => Promise<T>): Promise<T | undefined> {
    using channel = connect({ host: "127.0.0.1", port: this.#members[member]!.client });
    return await run(channel).catch(() => undefined);
  }
}
