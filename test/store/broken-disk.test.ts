// Disks that fail underneath: EIO from the kernel, with real processes.
import { afterEach, describe, expect, test } from "bun:test";
import { createClient } from "../../src/rpc/client.ts";
import { KV, Maintenance } from "../../src/rpc/gen/etcd/rpc_pb.ts";
import type { RpcError } from "../../src/rpc/types.ts";
import { allServing, ask, judge, leaderOf, serving, statusOf } from "./support/checks.ts";
import { type Member, StoreCluster } from "./support/cluster.ts";
import { noFailingDisks } from "./support/failing-disk.ts";
import { elected, kind, others, scenes } from "./support/scene.ts";
import { bytes, endOf } from "./support/watcher.ts";

const { scene, end } = scenes();
afterEach(end);

if (noFailingDisks) console.log(`skipped: disks that fail: ${noFailingDisks}`);

const put = (m: Member, key: string) =>
  ask(m.endpoint, (c) => createClient(KV, c).put({ key: bytes(key), value: bytes(key) }, { timeout: 5000 }));
const count = async (m: Member) => {
  const range = { key: bytes("/broken/"), rangeEnd: endOf("/broken/"), countOnly: true, serializable: true };
  return Number((await ask(m.endpoint, (c) => createClient(KV, c).range(range, { timeout: 5000 }))).count);
};

describe.skipIf(noFailingDisks !== undefined || kind !== "kubun")("a disk that fails", () => {
  test("ends a follower, and then the leader, of three members, which catch up on a disk that is well", async () => {
    const { cluster, load, watchers } = await scene({ failingDisks: true });
    for (const role of ["follower", "leader"]) {
      const leader = await leaderOf(cluster);
      const victim = role === "leader" ? leader : others(cluster, leader)[0]!;
      const rest = others(cluster, victim);
      const disk = cluster.disks[cluster.members.indexOf(victim)]!;
      disk.fail();
      expect([role, await victim.ended()]).not.toEqual([role, 0]);
      expect(victim.log).toMatch(/EIO|input\/output error/);
      await elected(cluster, rest);
      await load.progress(50);
      watchers[0]!.hop();
      // What supervises it starts it again, in vain.
      victim.start();
      expect([role, await victim.ended()]).not.toEqual([role, 0]);
      await load.progress(50);

      disk.heal();
      victim.start();
      await serving(victim);
      await load.progress(20, victim.index);
      // What it found in memory when it started, it has put on the disk.
      await victim.kill();
      disk.replug();
      victim.start();
      await serving(victim);
      await load.progress(20, victim.index);
    }
    await judge(cluster, load, watchers);
  });

  test("leaves a member that is alone to answer reads, and to say why it takes no writes", async () => {
    await using cluster = await StoreCluster.make({ kind, members: 1, failingDisks: true });
    await allServing(cluster);
    const [member, disk] = [cluster.members[0]!, cluster.disks[0]!];
    let acknowledged = 0;
    while (acknowledged < 20) await put(member, `/broken/${acknowledged++}`);
    disk.fail();
    for (let n = 0; n < 3; n++) {
      const refused = (await put(member, `/refused/${n}`).catch((e: unknown) => e)) as RpcError;
      expect(refused.message).toBe("etcdserver: write-ahead log failed");
    }
    expect(await count(member)).toBe(acknowledged);
    expect((await statusOf(member)).errors.join()).toContain("EIO");
    const health = (await (await fetch(`${member.clientUrl}/health`)).json()) as { health: string };
    expect(health.health).toBe("false");
    expect((await fetch(`${member.clientUrl}/readyz`)).status).toBe(503);

    await member.stop();
    disk.heal();
    disk.replug();
    member.start();
    await serving(member);
    expect(await count(member)).toBe(acknowledged);
    await put(member, `/broken/${acknowledged++}`);
    expect((await ask(member.endpoint, (c) => createClient(Maintenance, c).alarm({}, { timeout: 5000 }))).alarms).toEqual([]);
  });
});
