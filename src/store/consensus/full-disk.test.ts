// A lone member whose disk takes no writes.
import { expect, test } from "bun:test";
import { bootstrap } from "../raft/configuration.ts";
import { confChange, core, write } from "../testing/cores.ts";
import { WalError } from "../wal/wal.ts";

async function lone() {
  let error: WalError | undefined;
  const member = core(1n, bootstrap([1n]), {
    append: async () => {
      if (error) throw error;
    },
  });
  await write(member);
  const fail = (code: string | undefined) => {
    error = code ? new WalError("no", code !== "ENOSPC", Object.assign(new Error(code), { code })) : undefined;
  };
  const change = (id: bigint) => member.consensus.change(() => confChange("addLearner", id)).catch((e: Error) => e.message);
  return { ...member, member, fail, change };
}

test("a change that a full disk does not take is refused, and so is one that waits for it; what comes in its place is no change", async () => {
  const { member, raft, consensus, fail, change } = await lone();
  fail("ENOSPC");
  const changes = [change(2n), change(3n)];
  expect(await Promise.all(changes)).toEqual(Array(2).fill("etcdserver: mvcc: database space exceeded"));
  fail(undefined);
  await write(member);
  expect(raft.configuration.learners).toEqual([]);
  await change(4n);
  expect(raft.configuration.learners).toEqual([4n]);
  await consensus.stop();
});

test("a change that a broken disk does not take is refused", async () => {
  const { consensus, fail, change } = await lone();
  fail("EIO");
  expect(await change(2n)).toBe("etcdserver: write-ahead log failed");
  await consensus.stop();
});
