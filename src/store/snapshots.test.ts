// What compactions leave behind is freed, beside what else goes on.
import { expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Collector } from "../testing/store-contract.ts";
import { Store } from "./mod.ts";

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
