// Members are killed, frozen and cut off while clients read and write; whatever
// the clients were told must still be true of one history.
import { afterEach, describe, expect, test } from "bun:test";
import { allServing, judge, leaderOf, serving, statusOf } from "./support/checks.ts";
import type { Member, StoreCluster } from "./support/cluster.ts";
import { until } from "./support/commands.ts";
import { noHosts } from "./support/hosts.ts";
import { elected, kind, others, SMALL_LOG, scenes } from "./support/scene.ts";

const { scene, compactedScene, end } = scenes();
afterEach(end);

describe(`three members of ${kind}`, () => {
  test("lose nothing and show one history while the leader is killed, time after time", async () => {
    const { cluster, load, watchers } = await scene();
    for (let round = 0; round < 4; round++) {
      const leader = await leaderOf(cluster);
      await leader.kill();
      await elected(cluster, others(cluster, leader));
      await load.progress(50);
      watchers[0]!.hop();
      leader.start();
      await serving(leader);
      await load.progress(20, leader.index);
    }
    await judge(cluster, load, watchers);
  });

  test("agree on what is left when clients compact while the leader is killed, or frozen, time after time", async () => {
    const { cluster, load, watchers, compaction } = await compactedScene({ flags: SMALL_LOG });
    for (const harm of ["SIGKILL", "SIGSTOP", "SIGKILL"] as const) {
      const leader = await leaderOf(cluster);
      leader.signal(harm);
      if (harm === "SIGKILL") await leader.ended();
      await elected(cluster, others(cluster, leader));
      await load.progress(50);
      await compaction.progress(2);
      watchers[0]!.hop();
      if (harm === "SIGKILL") leader.start();
      else leader.signal("SIGCONT");
      await serving(leader);
      await load.progress(20, leader.index);
    }
    await judge(cluster, load, watchers, compaction);
  });

  test("come back from being killed all at once", async () => {
    const { cluster, load, watchers } = await scene();
    for (let round = 0; round < 2; round++) {
      await Promise.all(cluster.members.map((m) => m.kill()));
      for (const m of cluster.members) m.start();
      await allServing(cluster);
      await load.progress(50);
    }
    await judge(cluster, load, watchers);
  });

  test("go on without a leader that is frozen for longer than the election timeout, and it follows when it thaws", async () => {
    const { cluster, load, watchers } = await scene();
    for (let round = 0; round < 2; round++) {
      const leader = await leaderOf(cluster);
      leader.signal("SIGSTOP");
      const next = await elected(cluster, others(cluster, leader));
      expect(next.name).not.toBe(leader.name);
      await load.progress(50);
      leader.signal("SIGCONT");
      await serving(leader);
      await load.progress(20, leader.index);
    }
    await judge(cluster, load, watchers);
  });
});

if (noHosts) console.log(`skipped: partitions: ${noHosts}`);

describe.skipIf(noHosts !== undefined)(`three members of ${kind} on hosts of their own`, () => {
  /** Isolated from both others; what they hear of it and what it hears of them. */
  const cuts: [what: string, cut: (c: StoreCluster, m: Member) => void][] = [
    [
      "is cut off",
      (c, m) =>
        c.hosts!.isolate(
          m.index,
          others(c, m).map((o) => o.index),
        ),
    ],
    ["is not heard any more", (c, m) => others(c, m).forEach((o) => c.hosts!.cutOneWay(m.index, o.index))],
    ["hears nobody any more", (c, m) => others(c, m).forEach((o) => c.hosts!.cutOneWay(o.index, m.index))],
  ];

  test("go on without a leader that is cut off in any way, and it follows when it is back", async () => {
    const { cluster, load, watchers } = await scene({ hosts: true });
    for (const [what, cut] of cuts) {
      const leader = await leaderOf(cluster);
      cut(cluster, leader);
      const next = await elected(cluster, others(cluster, leader));
      expect([what, next.name]).not.toEqual([what, leader.name]);
      await load.progress(50, next.index);
      cluster.hosts!.heal();
      await serving(leader);
      await load.progress(20, leader.index);
      watchers[0]!.hop();
    }
    await judge(cluster, load, watchers);
  });

  test("tell watches of a member that was cut off what was compacted meanwhile", async () => {
    const { cluster, load, watchers, compaction } = await compactedScene({ hosts: true, flags: SMALL_LOG });
    // The one that has a watch which stays.
    const away = cluster.members[0]!;
    const stays = watchers[1]!;
    cuts[0]![1](cluster, away);
    const rest = others(cluster, away);
    const leader = await elected(cluster, rest);
    const seen = stays.last;
    await load.progress(200, leader.index);
    await compaction.progress(2);
    await until("more to be compacted than it has seen", () => compaction.answered > seen + 1);
    cluster.hosts!.heal();
    await serving(away);
    // etcd 3.4 brings it to where the others are by its log.
    if (kind === "kubun") {
      expect(away.log).toContain("Took a snapshot of the leader's");
      await until("the watch at it to be told", () => stays.compactions.length > 0);
    }
    await load.progress(20, away.index);
    await judge(cluster, load, watchers, compaction);
  });

  test("keep their leader when a follower is cut off, and when it comes back", async () => {
    // No pause of a busy machine is to be taken for a leader's end.
    const { cluster, load, watchers } = await scene({ hosts: true, flags: ["--election-timeout", "2000"] });
    const leader = await leaderOf(cluster);
    const follower = others(cluster, leader)[0]!;
    for (const [what, cut] of cuts) {
      cut(cluster, follower);
      const missed = load.unanswered;
      await until("the follower's clients to go without answers", () => load.unanswered > missed);
      if (what !== "is not heard any more")
        await until("the follower to miss its leader", async () => (await statusOf(follower)).leader === 0n);
      await load.progress(50, leader.index);
      cluster.hosts!.heal();
      await serving(follower);
      await load.progress(20, follower.index);
    }
    expect((await leaderOf(cluster)).name).toBe(leader.name);
    await judge(cluster, load, watchers);
  });
});
