import { expect, test } from "bun:test";
import { MemoryStore } from "../../testing/memory-store.ts";
import { Compactor } from "./compactor.ts";

const key = Buffer.from("/registry/a");
const put = (store: MemoryStore) => store.txn([], [{ type: "put", key, value: Buffer.from("x") }]);

test("history goes one round after it was made", async () => {
  const store = new MemoryStore();
  const compactor = new Compactor(store);
  const first = (await put(store)).revision;
  await compactor.run();
  expect((await store.range(key, { revision: first })).kvs).toHaveLength(1);
  await put(store);
  await compactor.run();
  expect(store.range(key, { revision: first })).rejects.toThrow("compacted");
  expect((await store.range(key)).kvs).toHaveLength(1);
});

test("of two servers one compacts in a round", async () => {
  const store = new MemoryStore();
  const compacted: number[] = [];
  const compact = store.compact.bind(store);
  store.compact = (revision) => {
    compacted.push(revision);
    return compact(revision);
  };
  const [a, b] = [new Compactor(store), new Compactor(store)];
  for (let i = 0; i < 3; i++) {
    await put(store);
    await a.run();
    await b.run();
  }
  expect(compacted.length).toBe(2);
});
