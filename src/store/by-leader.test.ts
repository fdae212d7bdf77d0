import { expect, test } from "bun:test";
import { byLeader } from "./by-leader.ts";
import { Refused } from "./mvcc/errors.ts";

/** A member that takes over while it waits for a leader. */
function successor() {
  const consensus = {
    isLeader: false,
    leader: 0n,
    async leaderKnown() {
      Object.assign(consensus, { isLeader: true, leader: 1n });
    },
  };
  return { consensus, transport: { peer: () => undefined } };
}

const nobody = () => Promise.reject(new Error("nobody is to be asked"));

test("a member that becomes the leader while it waits for one does it itself", async () => {
  expect(await byLeader(successor(), () => "done", nobody)).toBe("done");
});

test.each([
  ["no-space", 1],
  ["not-leader", 4],
] as const)("a leader that refuses it as %p is asked %d times", async (refusal, times) => {
  let tries = 0;
  const lead = () => {
    tries++;
    throw new Refused(refusal);
  };
  await expect(byLeader(successor(), lead, nobody)).rejects.toThrow(new Refused(refusal).message);
  expect(tries).toBe(times);
});
