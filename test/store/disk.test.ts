// A full disk, and logs that a crash or a bad disk left damaged.
import { afterEach, describe, expect, test } from "bun:test";
import { createClient } from "../../src/rpc/client.ts";
import { AlarmRequest_AlarmAction, AlarmType, KV, Maintenance } from "../../src/rpc/gen/etcd/rpc_pb.ts";
import { Code, RpcError } from "../../src/rpc/types.ts";
import { allServing, ask, judge, sameHashes, serving } from "./support/checks.ts";
import { type ClusterOptions, type Member, StoreCluster } from "./support/cluster.ts";
import { must, until } from "./support/commands.ts";
import { Load } from "./support/load.ts";
import { idOf } from "./support/members.ts";
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

/** Puts until one is refused for want of room, and tells what was acknowledged, what had no answer, and how it was refused. */
async function fill(m: Member, acknowledged: Map<string, string>, unknown: Set<string>, bytesEach: number): Promise<RpcError> {
  for (let n = 0; ; n++) {
    const key = `/fill/${n}`;
    const value = `${n} `.repeat(bytesEach / 4);
    try {
      await put(m, key, value);
    } catch (error) {
      if (!(error instanceof RpcError)) throw error;
      if (error.code === Code.ResourceExhausted) return error;
      // Of several, the one that leads may just be another.
      unknown.add(key);
      continue;
    }
    acknowledged.set(key, value);
  }
}

/** All below a prefix but what nobody knows of. */
async function known(m: Member, prefix: string, unknown: ReadonlySet<string>): Promise<Map<string, string>> {
  return new Map([...(await all(m, prefix))].filter(([key]) => !unknown.has(key)));
}

const alarms = (m: Member) =>
  ask(m.endpoint, (c) => createClient(Maintenance, c).alarm({ action: AlarmRequest_AlarmAction.GET }, { timeout: 5000 }));
/** Ends the alarm of a member, by default that of the one that is asked. */
const disarm = (m: Member, memberID = 0n) =>
  ask(m.endpoint, (c) =>
    createClient(Maintenance, c).alarm(
      { action: AlarmRequest_AlarmAction.DEACTIVATE, alarm: AlarmType.NOSPACE, memberID },
      { timeout: 5000 },
    ),
  );

const remove = (m: Member, key: string) =>
  ask(m.endpoint, (c) => createClient(KV, c).deleteRange({ key: bytes(key) }, { timeout: 10_000 }));

const noMounts = process.getuid?.() === 0 ? undefined : "a file system of its own needs root";
if (noMounts) console.log(`skipped: a full disk: ${noMounts}`);

describe.skipIf(noMounts !== undefined)("a member whose disk is full", () => {
  const MIB = 1024 * 1024;

  test("says so, keeps all it acknowledged and answers reads, over a kill -9 too, and goes on when there is room", async () => {
    const cluster = await make({ diskBytes: 6 * MIB });
    const member = cluster.members[0]!;
    const acknowledged = new Map<string, string>();
    const refused = await fill(member, acknowledged, new Set(), 100_000);
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

  test("is known to all of its cluster by the alarm, which goes when it is disarmed and there is room", async () => {
    const cluster = await make({ members: 3, diskBytes: 128 * MIB, flags: TIMING });
    const full = cluster.members[2]!;
    must("mount", "-o", `remount,size=${MIB}`, full.dataDir);
    const other = cluster.members[0]!;
    const acknowledged = new Map<string, string>();
    const unknown = new Set<string>();
    const refused = await fill(other, acknowledged, unknown, 100_000);
    expect([refused.code, refused.message]).toEqual([Code.ResourceExhausted, "etcdserver: mvcc: database space exceeded"]);
    const id = await idOf(full);
    for (const m of cluster.members) {
      await until(
        `${m.name} to say so`,
        async () => (await alarms(m)).alarms.length > 0,
        30_000,
        () => cluster.logs(),
      );
      expect((await alarms(m)).alarms).toMatchObject([{ memberID: id, alarm: AlarmType.NOSPACE }]);
    }
    // What makes room is allowed, and takes a majority alone.
    const [key] = acknowledged.keys();
    expect((await remove(other, key!)).deleted).toBe(1n);
    acknowledged.delete(key!);
    expect(await known(other, "/fill/", unknown)).toEqual(acknowledged);
    // Killed, it finds its disk as full as it was.
    await full.kill();
    must("mount", "-o", `remount,size=${128 * MIB}`, full.dataDir);
    full.start();
    await serving(full);
    expect(await known(full, "/fill/", unknown)).toEqual(acknowledged);
    // Room does not end an alarm; an operator does.
    expect((await alarms(full)).alarms).toHaveLength(1);
    await disarm(full, id);
    const end = await until("puts to be taken again", () => put(full, "/after", "x"));
    await allServing(cluster);
    for (const m of cluster.members) expect((await alarms(m)).alarms).toEqual([]);
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
