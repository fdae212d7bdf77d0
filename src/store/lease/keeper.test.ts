import { expect, test } from "bun:test";
import type { Peer } from "../../rpc/gen/kubun/store/member_pb.ts";
import type { Client } from "../../rpc/types.ts";
import type { Consensus } from "../consensus.ts";
import { StateMachine } from "../state.ts";
import { LeaseClock } from "./clock.ts";
import { LeaseKeeper } from "./keeper.ts";

const TTL = 10;

/** A leader whose lease 7 has expired, and lease 8 has not; by its first question to the others it finds out whether it leads. */
function paused(leads: boolean) {
  const state = new StateMachine();
  const now = performance.now();
  state.lessor.grant(7n, TTL, now - 2000 * TTL);
  state.lessor.grant(8n, TTL, now);
  const consensus = {
    isLeader: true,
    leader: 1n,
    leaderKnown: async () => {},
    readBarrier: async () => {
      Object.assign(consensus, leads ? {} : { isLeader: false, leader: 2n });
    },
  };
  const asked: bigint[] = [];
  const answer = async ({ id }: { id: bigint }) => {
    asked.push(id);
    return { ttl: BigInt(TTL - 1) };
  };
  const leader = { renewLease: answer, leaseTimeToLive: answer } as unknown as Client<typeof Peer>;
  const transport = { peer: (id: bigint) => (id === 2n ? leader : undefined) };
  const clock = new LeaseClock(state.lessor, async () => {});
  const keeper = new LeaseKeeper({ state, transport, consensus: consensus as unknown as Consensus }, clock);
  return { keeper, asked };
}

test("a leader that was paused asks its successor for the lease that it finds expired", async () => {
  const { keeper, asked } = paused(false);
  expect(await keeper.renew(7n)).toBe(TTL - 1);
  expect(asked).toEqual([7n]);
});

test("what was passed on to a leader that is none any more is refused, for the member that asked to ask the next", async () => {
  await expect(paused(false).keeper.renewAsLeader(7n)).rejects.toThrow("etcdserver: not leader");
});

test("a leader that still leads says that an expired lease is gone, and renews the others without asking anybody", async () => {
  const { keeper, asked } = paused(true);
  expect(await keeper.renew(7n)).toBe(0);
  expect(await keeper.renew(8n)).toBe(TTL);
  expect(await keeper.renew(9n)).toBe(0);
  expect(asked).toEqual([]);
});

test("the time that a lease has left is the new leader's to say", async () => {
  const { keeper, asked } = paused(false);
  expect(await keeper.timeToLive(8n)).toEqual({ ttl: TTL - 1, grantedTtl: TTL, keys: [] });
  expect(asked).toEqual([8n]);
});
