// Changes of the members on a leader with a disk that the test holds up.
import { expect, test } from "bun:test";
import { Refused } from "../mvcc/errors.ts";
import { bootstrap } from "../raft/configuration.ts";
import { StateMachine } from "../state.ts";
import { core, write } from "../testing/cores.ts";
import { MembershipChanger } from "./changer.ts";
import type { MemberChange } from "./operations.ts";

const own = { id: 1n, name: "a", peerUrls: ["http://127.0.0.1:1"], clientUrls: [] };
const learner = (...ports: number[]): MemberChange => ({
  kind: "addLearner",
  id: 0n,
  peerUrls: ports.map((port) => `http://127.0.0.1:${port}`),
});

function leader() {
  const initial = bootstrap([own.id]);
  const state = new StateMachine();
  state.membership.restore({ members: [own], removed: [], configuration: initial.base.configuration, version: undefined });
  let disk = Promise.resolve();
  const hold = () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    disk = promise;
    return resolve;
  };
  const lone = core(own.id, initial, { append: () => disk, host: { changed: (_, change) => state.membership.apply(change) } });
  const identity = { memberId: own.id, clusterId: 1n };
  const full = () => Promise.reject(new Refused("no-space"));
  const host = { transport: { connected: [], peer: () => undefined }, changeMembers: full };
  const changer = new MembershipChanger({ consensus: lone.consensus, state, identity, ...host }, {});
  const change = (c: MemberChange) => changer.changeAsLeader(c).catch((error: Error) => error.message);
  return { lone, state, changer, change, hold };
}

test.each([
  [[2, 4], "etcdserver: Peer URLs already exists"],
  [[3], "etcdserver: too many learner members in cluster"],
])("a change that waits for another is checked again when that one is applied: a learner at %p", async (ports, refusal) => {
  const { lone, state, change, hold } = leader();
  await write(lone);
  const release = hold();
  const first = change(learner(2));
  const second = change(learner(...ports));
  release();
  expect(await first).toMatchObject({ id: expect.any(BigInt) });
  expect(await second).toBe(refusal);
  expect(state.membership.members).toHaveLength(2);
  await lone.consensus.stop();
});

test("a leader that takes no writes refuses what it is asked itself as what others ask of it", async () => {
  const { lone, changer } = leader();
  await expect(changer.change(learner(2))).rejects.toThrow("etcdserver: mvcc: database space exceeded");
  await lone.consensus.stop();
});
