// Harm of every kind at once, in an order that a seed decides. How processes
// interleave is the machine's to decide, so a seed repeats the harm, not the run.
import { afterEach, expect, test } from "bun:test";
import { judge, leadingNow } from "./support/checks.ts";
import { until } from "./support/commands.ts";
import { noHosts } from "./support/hosts.ts";
import type { Load } from "./support/load.ts";
import { moveLeader } from "./support/members.ts";
import { kind, others, type Scene, SMALL_LOG, scenes } from "./support/scene.ts";

const { compactedScene, end } = scenes();
afterEach(end);

const ROUNDS = Number(process.env.KUBUN_STORE_ROUNDS ?? 8);

type Pick = (n: number) => number;

/** What is done, and in a moment undone. */
const HARM: Record<string, (s: Scene, pick: Pick) => Promise<void> | void> = {
  async "kill one"({ cluster }, pick) {
    await cluster.members[pick(3)]!.kill();
  },
  async "kill two"({ cluster }, pick) {
    const spared = pick(3);
    await Promise.all(cluster.members.filter((_, i) => i !== spared).map((m) => m.kill()));
  },
  async "kill all"({ cluster }) {
    await Promise.all(cluster.members.map((m) => m.kill()));
  },
  "freeze one"({ cluster }, pick) {
    cluster.members[pick(3)]!.signal("SIGSTOP");
  },
  "freeze two"({ cluster }, pick) {
    const spared = pick(3);
    for (const [i, m] of cluster.members.entries()) if (i !== spared) m.signal("SIGSTOP");
  },
  "cut one off"({ cluster }, pick) {
    const m = cluster.members[pick(3)]!;
    cluster.hosts!.isolate(
      m.index,
      others(cluster, m).map((o) => o.index),
    );
  },
  "make one deaf to another"({ cluster }, pick) {
    const m = cluster.members[pick(3)]!;
    cluster.hosts!.cutOneWay(others(cluster, m)[pick(2)]!.index, m.index);
  },
  "turn the ring one way"({ cluster }) {
    for (let i = 0; i < 3; i++) cluster.hosts!.cutOneWay(i, (i + 1) % 3);
  },
  async "move the leadership"({ cluster }, pick) {
    const leader = await leadingNow(cluster.members);
    // Whom it is moved to may just be away.
    if (leader) await moveLeader(leader, others(cluster, leader)[pick(2)]!).catch(() => undefined);
  },
};

/** Resolves when clients had answers, or went without for a while: both are states to harm further in. */
const anything = (load: Load, writes: number) => {
  const missed = () => load.unanswered + load.refused;
  const [told, before] = [load.total, missed()];
  return until("clients to be told anything", () => load.total >= told + writes || missed() >= before + 4);
};

/** What linearizable reads stand on: etcd knows one way. */
const READS: readonly (readonly [string, readonly string[]])[] = [
  ["the word of a majority", []],
  ...(kind === "kubun" ? ([["the leader's lease", ["--lease-reads"]]] as const) : []),
];

if (noHosts) console.log(`skipped: harm at random: ${noHosts}`);

const whatever = `three members of ${kind} lose nothing and show one history whatever is done to them, reads standing on %s`;

test.skipIf(noHosts !== undefined).each(READS)(whatever, async (_, flags) => {
  const seed = Number(process.env.KUBUN_STORE_SEED ?? Math.floor(Math.random() * 2 ** 32));
  let state = seed >>> 0;
  const pick: Pick = (n) => {
    // Numerical Recipes' generator; its high bits are the random ones.
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * n);
  };
  const done: string[] = [];
  try {
    const s = await compactedScene({ hosts: true, flags: [...SMALL_LOG, ...flags] });
    const { cluster, load, watchers, compaction } = s;
    for (let round = 0; round < ROUNDS; round++) {
      const both = 1 + pick(2);
      for (let i = 0; i < both; i++) {
        const what = Object.keys(HARM)[pick(Object.keys(HARM).length)]!;
        done.push(what);
        await HARM[what]!(s, pick);
      }
      await anything(load, 20);
      watchers[0]!.hop();
      cluster.hosts!.heal();
      for (const m of cluster.members) {
        m.signal("SIGCONT");
        if (!m.running) m.start();
      }
      done.push("heal");
      if (pick(2) === 0) await load.progress(20);
    }
    await load.progress(50);
    await compaction.progress(2);
    expect(load.total).toBeGreaterThan(50);
    await judge(cluster, load, watchers, compaction);
  } catch (error) {
    throw new Error(`seed ${seed}: ${done.join(", ")}: ${(error as Error).message}`, { cause: error });
  }
});
