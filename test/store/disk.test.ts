// A full disk, and logs that a crash or a bad disk left damaged.
import { afterEach, describe, expect, test } from "bun:test";
import { createClient } from "../../src/rpc/client.ts";
import { AlarmRequest_AlarmAction, AlarmType, KV, Maintenance } from "../../src/rpc/gen/etcd/rpc_pb.ts";
import { Code, RpcError } from "../../src/rpc/types.ts";
import { allServing, ask, judge, sameHashes, serving } from "./support/checks.ts";
import { type ClusterOptions, type Member, StoreCluster } from "./support/cluster.ts";
import { must, until } from "./support/commands.ts";
import { Load } from "./support/load.ts";
import { TIMING } from "./support/scene.ts";
import { beginFrame, flipBit, frames, tear, truncate } from "./support/wal-damage.ts";
import { bytes, endOf, text } from "./support/watcher.ts";

const open: AsyncDisposable[] = [];
afterEach(async () => {
  for (const o of open.splice(0).reverse()) await o[Symbol.asyncDispose]();
});

async function make(options: Partial<ClusterOptions> = {}): Promise<StoreCluster> {
  const cluster = await StoreCluster.make({ kind: "kubun", members: 1, ...options });
  open.push(cluster);
  await allServing(cluster);
  return cluster;
}

const put = (m: Member, key: string, value: string) =>
  ask(m.endpoint, (c) => createClient(KV, c).put({ key: bytes(key), value: bytes(value) }, { timeout: 10_000 }));

async function all(m: Member, prefix: string): Promise<Map<string, string>> {
  const r = await ask(m.endpoint, (c) => createClient(KV, c).range({ key: bytes(prefix), rangeEnd: endOf(prefix) }, { timeout: 10_000 }));
  return new Map(r.kvs.map((kv) => [text(kv.key), text(kv.value)]));
}

/** Puts until one is refused, and tells what was acknowledged and how it was refused. */
async function fill(m: Member, acknowledged: Map<string, string>, bytesEach: number): Promise<RpcError> {
  for (let n = acknowledged.size; ; n++) {
    const key = `/fill/${n}`;
    const value = `${n} `.repeat(bytesEach / 4);
    try {
      await put(m, key, value);
    } catch (error) {
      if (error instanceof RpcError) return error;
      throw error;
    }
    acknowledged.set(key, value);
  }
}

const alarms = (m: Member) =>
  ask(m.endpoint, (c) => createClient(Maintenance, c).alarm({ action: AlarmRequest_AlarmAction.GET }, { timeout: 5000 }));
const disarm = (m: Member) =>
  ask(m.endpoint, (c) =>
    createClient(Maintenance, c).alarm({ action: AlarmRequest_AlarmAction.DEACTIVATE, alarm: AlarmType.NOSPACE }, { timeout: 5000 }),
  );

const noMounts = process.getuid?.() === 0 ? undefined : "a file system of its own needs root";
if (noMounts) console.log(`skipped: a full disk: ${noMounts}`);

describe.skipIf(noMounts !== undefined)("a member whose disk is full", () => {
  const MIB = 1024 * 1024;

  test("says so, keeps all it acknowledged and answers reads, over a kill -9 too, and goes on when there is room", async () => {
    const cluster = await make({ diskBytes: 6 * MIB });
    const member = cluster.members[0]!;
    const acknowledged = new Map<string, string>();
    const refused = await fill(member, acknowledged, 100_000);
    expect([refused.code, refused.message]).toEqual([Code.ResourceExhausted, "etcdserver: mvcc: database space exceeded"]);
    expect(acknowledged.size).toBeGreaterThan(10);
    expect((await alarms(member)).alarms.map((a) => a.alarm)).toEqual([AlarmType.NOSPACE]);
    expect(await all(member, "/fill/")).toEqual(acknowledged);

    await member.kill();
    member.start();
    await serving(member);
    const found = await all(member, "/fill/");
    for (const [key, value] of acknowledged) expect(found.get(key)).toBe(value);
    // A write that was refused at its end may have reached the disk, but no other.
    expect(found.size - acknowledged.size).toBeLessThanOrEqual(1);

    must("mount", "-o", `remount,size=${32 * MIB}`, member.dataDir);
    await disarm(member);
    await until("room to be noticed", () => put(member, "/after", "x"));
    expect((await alarms(member)).alarms).toEqual([]);
    expect(await all(member, "/after")).toEqual(new Map([["/after", "x"]]));
  });

  test("does not keep the others of its cluster from going on, and catches up when there is room", async () => {
    const cluster = await make({ members: 3, diskBytes: 8 * MIB, flags: TIMING });
    const full = cluster.members[2]!;
    must("mount", "-o", `remount,size=${MIB}`, full.dataDir);
    const other = cluster.members[0]!;
    const acknowledged = new Map<string, string>();
    for (let n = 0; n < 30; n++) {
      const value = `${n} `.repeat(25_000);
      await until("a write to be taken", async () => {
        await put(other, `/fill/${n}`, value);
        return true;
      });
      acknowledged.set(`/fill/${n}`, value);
    }
    expect(await all(other, "/fill/")).toEqual(acknowledged);
    await until(
      "the full one to say so",
      async () => (await alarms(full)).alarms.some((a) => a.alarm === AlarmType.NOSPACE),
      30_000,
      () => full.log,
    );
    must("mount", "-o", `remount,size=${64 * MIB}`, full.dataDir);
    if (!full.running) full.start();
    await until(
      "it to catch up",
      async () => (await all(full, "/fill/")).size === acknowledged.size,
      30_000,
      () => cluster.logs(),
    );
    expect(await all(full, "/fill/")).toEqual(acknowledged);
    await disarm(other);
    const end = await put(full, "/after", "x");
    await allServing(cluster);
    await sameHashes(cluster, Number(end.header!.revision));
  });
});

describe("a log that is damaged", () => {
  /** A member that was killed under load, and all that clients were told. */
  async function killed(): Promise<{ cluster: StoreCluster; member: Member; load: Load }> {
    const cluster = await make();
    const load = new Load(cluster.endpoints, { clients: 6 });
    await load.progress(200);
    const member = cluster.members[0]!;
    await member.kill();
    await load.stop();
    return { cluster, member, load };
  }

  test("by a write that a crash cut short is cut off there, and nothing acknowledged is lost", async () => {
    const { cluster, member, load } = await killed();
    const last = frames(member).at(-1)!;
    beginFrame(last);
    member.start();
    await serving(member);
    expect(member.log).toContain("Cut off a write that a crash had left unfinished");
    expect(member.log).toContain(String(last.offset + last.bytes));
    await judge(cluster, load, []);
  });

  test("by the loss of its end loses that end and no more", async () => {
    const cluster = await make();
    const member = cluster.members[0]!;
    const kept = new Map<string, string>();
    for (const damage of [truncate, tear]) {
      for (let i = 0; i < 10; i++) {
        const [key, value] = [`/kept/${damage.name}/${i}`, "x".repeat(3000)];
        await put(member, key, value);
        kept.set(key, value);
      }
      await put(member, "/kept/lost", "y".repeat(3000));
      await member.kill();
      damage(frames(member).at(-1)!);
      member.start();
      await serving(member);
      expect(member.log).toContain("Cut off a write that a crash had left unfinished");
      expect(await all(member, "/kept/")).toEqual(kept);
    }
  });

  test("in its middle makes the member refuse to start, and name the file and the offset", async () => {
    const { member } = await killed();
    const all = frames(member);
    const hurt = all[Math.floor(all.length / 2)]!;
    flipBit(hurt);
    member.start();
    expect(await member.ended()).not.toBe(0);
    expect(member.log).toContain(`${hurt.file}: corrupt at offset ${hurt.offset}`);
    // Turned back, nothing is wrong any more.
    flipBit(hurt);
    member.start();
    await serving(member);
  });
});
