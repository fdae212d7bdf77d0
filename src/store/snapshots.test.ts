// What compactions leave behind is freed, and received snapshots are put in place, beside what else goes on.
import { expect, test } from "bun:test";
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { Collector } from "../testing/store-contract.ts";
import { MemberMetrics } from "./metrics.ts";
import { Store } from "./mod.ts";
import { receivedPath, snapshotPath } from "./snapshot/file.ts";
import { Snapshots } from "./snapshots.ts";
import { StateMachine } from "./state.ts";

const bytes = (s: string) => new TextEncoder().encode(s);

async function open() {
  const dataDir = mkdtempSync(join(tmpdir(), "kubun-compacted-"));
  const store = new Store({ dataDir });
  await store.start();
  const client = store.client();
  return {
    member: store.member,
    client,
    put: (value: string) => client.txn([], [{ type: "put", key: bytes("k"), value: bytes(value) }]),
    async [Symbol.asyncDispose]() {
      await store.stop();
      rmSync(dataDir, { recursive: true, force: true });
    },
  };
}

test("every compaction frees what it left behind, the tenth as the first", async () => {
  await using store = await open();
  const { mvcc } = store.member.state;
  await store.put("0");
  const { size } = mvcc;
  for (let round = 0; round < 10; round++) {
    for (let i = 0; i < 20; i++) await store.put(String(i % 10));
    await store.member.compact(mvcc.revision, true);
    expect([round, mvcc.size, mvcc.log.first]).toEqual([round, size, mvcc.revision]);
  }
});

test("a watch is told what is compacted in the very batch in which it happened", async () => {
  await using store = await open();
  const { mvcc } = store.member.state;
  const seen = new Collector();
  store.client.watch(bytes("k"), {}, seen);
  await store.put("0");
  await seen.until((s) => s.seen.length === 1);
  // In one turn of the event loop, so that they go through the log together.
  const puts = [1, 2, 3, 4].map((n) => store.put(String(n)));
  const compacted = store.member.compact(mvcc.revision + 4, true);
  await Promise.all(puts);
  await compacted;
  await seen.until((s) => s.seen.length >= 5);
  expect(seen.lines()).toEqual(["0", "1", "2", "3", "4"].map((value) => `put k=${value}`));
  expect(mvcc.compactRevision).toBe(mvcc.revision);
});

test("the state before is there, with turns for others, until all of a received snapshot takes its place", async () => {
  const dir = mkdtempSync(join(tmpdir(), "kubun-installed-"));
  try {
    const leader = new StateMachine();
    const KEYS = 10_000;
    for (let i = 0; i < KEYS; i++) leader.mvcc.write(() => leader.mvcc.put(`k${i}`, bytes(String(i)), 0n));
    leader.lessor.grant(7n, 60, 0);
    leader.index = KEYS;
    leader.term = 1;
    const { path, meta } = await new Snapshots(mkdirIn(dir, "leader"), leader, 512, new MemberMetrics()).take();

    const own = new StateMachine();
    own.mvcc.write(() => own.mvcc.put("before", bytes("x"), 0n));
    const snapshots = new Snapshots(mkdirIn(dir, "own"), own, 512, new MemberMetrics());
    copyFileSync(path, receivedPath(snapshots.dir, meta));
    const seen = new Set<string>();
    let turns = 0;
    let installed = false;
    const installing = snapshots.install(meta).then(() => {
      installed = true;
    });
    while (!installed) {
      seen.add(`${own.mvcc.revision} ${own.mvcc.get("before") !== undefined} ${own.mvcc.get("k0") !== undefined} ${own.lessor.has(7n)}`);
      turns++;
      await new Promise((resolve) => setImmediate(resolve));
    }
    await installing;
    seen.add(`${own.mvcc.revision} ${own.mvcc.get("before") !== undefined} ${own.mvcc.get("k0") !== undefined} ${own.lessor.has(7n)}`);
    expect([...seen]).toEqual(["2 true false false", `${KEYS + 1} false true true`]);
    // A chunk has at most some 500 versions.
    expect(turns).toBeGreaterThan(KEYS / 1000);
    expect([own.index, own.term]).toEqual([KEYS, 1]);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});

test("a snapshot that comes in while an older one is put in place waits for its turn, whole", async () => {
  const dir = mkdtempSync(join(tmpdir(), "kubun-installed-"));
  try {
    const leader = new StateMachine();
    leader.term = 1;
    const written = new Snapshots(mkdirIn(dir, "leader"), leader, 512, new MemberMetrics());
    const own = new StateMachine();
    const snapshots = new Snapshots(mkdirIn(dir, "own"), own, 512, new MemberMetrics());
    const receive = async () => {
      leader.mvcc.write(() => leader.mvcc.put("k", bytes(String(++leader.index)), 0n));
      const { path, meta } = await written.take();
      copyFileSync(path, receivedPath(snapshots.dir, meta));
      return meta;
    };
    const first = await receive();
    const installing = snapshots.install(first);
    const second = await receive();
    await installing;
    expect([own.index, own.mvcc.revision]).toEqual([1, 2]);
    await snapshots.install(second);
    expect([own.index, own.mvcc.revision]).toEqual([2, 3]);
    expect(readdirSync(snapshots.dir)).toEqual([basename(snapshotPath(snapshots.dir, second))]);

    // An older one that nobody asks for any more goes with the next that is written.
    writeFileSync(receivedPath(snapshots.dir, first), "");
    own.index = 3;
    const { path } = await snapshots.take();
    expect(readdirSync(snapshots.dir)).toEqual([basename(path)]);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});

function mkdirIn(dir: string, name: string): string {
  mkdirSync(join(dir, name));
  return join(dir, name);
}
