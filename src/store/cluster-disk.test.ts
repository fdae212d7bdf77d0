// A member of several whose disk fills up or breaks.
import { expect, test } from "bun:test";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { StoreClient } from "../client/etcd.ts";
import { Members, until } from "./testing/members.ts";
import { WalError } from "./wal/wal.ts";

const bytes = (s: string) => new TextEncoder().encode(s);
const put = (client: StoreClient, key: string, value: Uint8Array) => client.txn([], [{ type: "put", key: bytes(key), value }]);
const count = async (client: StoreClient) => (await client.range(Uint8Array.of(0), { end: Uint8Array.of(0), countOnly: true })).count;

const noMount = process.getuid?.() === 0 && Bun.which("mount") ? undefined : "needs root and mount(8)";
if (noMount) console.log(`skipped: a leader with a full disk: ${noMount}`);

test.skipIf(noMount !== undefined)(
  "a leader whose disk is full hands over, has the alarm raised everywhere, loses nothing, and follows again when there is room",
  async () => {
    const run = (...argv: string[]) => expect(Bun.spawnSync(argv).exitCode).toBe(0);
    const members = new Members({ segmentBytes: 256 * 1024 });
    for (const name of ["a", "b", "c"]) members.peerUrl(name);
    const disk = join(members.dir, "a");
    mkdirSync(disk);
    run("mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", disk);
    try {
      const filler = join(disk, "filler");
      writeFileSync(filler, new Uint8Array(1024 * 1024));
      await Promise.all(["a", "b", "c"].map((name) => members.start(name)));
      const leader = await members.leader();
      const a = members.get("a");
      if (leader !== a) await leader.member.consensus.transfer(members.id("a"));
      await until("a leads", () => a.member.consensus.isLeader);
      let written = 0;
      // What it can't write, others may have: the outcome of those writes is unknown.
      await until("the disk is full", async () => {
        const done = put(members.get("b").client(), `k${written++}`, new Uint8Array(30_000));
        await Promise.race([done.catch(() => {}), until("it says so", () => a.member.failure, 10_000)]);
        done.catch(() => {});
        return a.member.failure;
      });
      await until(
        "another leads",
        () => members.get("b").member.consensus.leader !== members.id("a") && members.get("b").member.consensus.leader !== 0n,
      );
      const alarm = { memberId: members.id("a"), kind: "nospace" as const };
      for (const name of ["a", "b", "c"]) {
        const { member } = members.get(name);
        await until(`${name} knows of the alarm`, () => member.alarms.length > 0);
        expect([name, member.alarms]).toEqual([name, [alarm]]);
        const refused = await put(members.get(name).client(), "x", new Uint8Array(1)).catch((e: Error) => e.message);
        expect([name, refused]).toEqual([name, "etcdserver: mvcc: database space exceeded"]);
      }
      // Deleting is allowed, and needs only a majority.
      const b = members.get("b");
      expect((await b.client().txn([], [{ type: "delete", key: bytes("k0") }])).succeeded).toBe(true);
      // Disarmed too early, it comes back.
      await b.member.alarm(false, alarm);
      await until("it is raised again", () => b.member.alarms.length > 0);
      rmSync(filler);
      await until("it takes writes again", () => a.member.failure === undefined);
      await b.member.alarm(false, alarm);
      for (let i = 0; i < 20; i++) await put(b.client(), `more${i}`, new Uint8Array(30_000));
      await until("it has what it missed", () => a.member.state.mvcc.revision === members.get("b").member.state.mvcc.revision);
      expect([a.member.failure, a.member.alarms]).toEqual([undefined, []]);
      expect(await count(a.client())).toBe(await count(members.get("c").client()));
    } finally {
      await members.stopAll();
      run("umount", disk);
      rmSync(members.dir, { recursive: true, force: true });
    }
  },
  60_000,
);

test("a disk that broke is told to whoever asks only later, if there are others that serve meanwhile", async () => {
  const told = async (names: string[]) => {
    await using members = await Members.start(names);
    const { member } = members.get("a");
    member.failed(new WalError("it broke", true, undefined));
    let error: Error | undefined;
    member.onBroken = (why) => {
      error = why;
    };
    return error?.message;
  };
  expect(await told(["a", "b"])).toBe("it broke");
  expect(await told(["a"])).toBeUndefined();
}, 30_000);
