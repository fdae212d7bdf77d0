// Members that stop: the leader lets another lead first, unless there is none.
import { expect, test } from "bun:test";
import { Members, until } from "./testing/members.ts";

/** Milliseconds; a leader that waits in vain for another waits for twice as long. */
const ELECTION = 2000;

test("a leader that stops has handed over when it has stopped", async () => {
  await using members = await Members.start(["a", "b", "c"], { electionTimeout: ELECTION });
  const leader = await members.leader();
  const name = [...members.stores].find(([, s]) => s === leader)![0];
  await members.stop(name);
  expect([...members.stores.values()].some((s) => s.member.consensus.isLeader)).toBe(true);
}, 60_000);

test("members that stop together do not wait for one another to lead", async () => {
  await using members = await Members.start(["a", "b", "c"], { electionTimeout: ELECTION });
  await members.leader();
  const start = performance.now();
  await members.stopAll();
  expect(performance.now() - start).toBeLessThan(2 * ELECTION);
}, 60_000);

test("a leader hands over to the one that goes on, not to the one that has said that it stops", async () => {
  await using members = await Members.start(["a", "b", "c"], { electionTimeout: ELECTION });
  const leader = await members.leader();
  const [first, second] = [...members.stores.values()].filter((s) => s !== leader);
  for (const stays of [first!, second!]) {
    const stops = stays === first ? second! : first!;
    // It has said so, and is still there.
    leader.member.stoppingAt(stops.member.identity.memberId);
    await leader.member.consensus.handOver();
    expect(stays.member.consensus.isLeader).toBe(true);
    await stays.member.consensus.transfer(leader.member.identity.memberId);
    await until("it leads again", () => leader.member.consensus.isLeader);
    leader.member.transport.links.get(stops.member.identity.memberId)!.stopping = false;
  }
}, 60_000);
