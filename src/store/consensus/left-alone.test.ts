// A member that a change leaves as the only one.
import { expect, test } from "bun:test";
import type { Host } from "../consensus.ts";
import { bootstrap } from "../raft/configuration.ts";
import type { Message } from "../raft/messages.ts";
import { EntryType } from "../raft/types.ts";
import { type Core, confChange, core, write } from "../testing/cores.ts";
import { until } from "../testing/members.ts";

/** Member 1 leads 2; what `lost` names between them does not arrive. */
async function pair(lost: (message: Message) => boolean, host: Partial<Host> = {}): Promise<[Core, Core]> {
  const cores = new Map<bigint, Core>();
  const send = (message: Message) => {
    if (!lost(message)) setImmediate(() => cores.get(message.to)!.consensus.step([message]));
  };
  const initial = bootstrap([1n, 2n]);
  const [a, b] = [core(1n, initial, { send }), core(2n, initial, { send, host })];
  cores.set(1n, a).set(2n, b);
  a.raft.campaign();
  a.consensus.step([]);
  await until("member 1 leads", () => b.consensus.leader === 1n);
  await write(a);
  return [a, b];
}

const removeFirst = ({ consensus }: Core) => consensus.change(() => confChange("remove", 1n)).catch(() => {});

test("a follower that is left as the only voter leads, though the leader that left died before it could say so", async () => {
  let dead = false;
  const [a, b] = await pair((m) => {
    dead ||= m.type === "timeoutNow";
    return dead;
  });
  removeFirst(a);
  await until("the other one is the only voter", () => b.raft.configuration.voters.length === 1);
  expect(b.consensus.alone).toBe(false);
  // It goes to the leader that is gone.
  const forwarded = write(b).catch((error: Error) => error.message);
  await until("it leads", () => b.consensus.isLeader);
  expect(b.consensus.alone).toBe(true);
  await write(b);
  expect(await forwarded).toStartWith("etcdserver: request timed out");
  await Promise.all([a, b].map((c) => c.consensus.stop()));
}, 30_000);

test("who is left alone reads nothing before it has applied what was acknowledged by the leader that left", async () => {
  let change = Number.POSITIVE_INFINITY;
  let barrier: Promise<void> | undefined;
  // All but that what comes behind the change is committed, too.
  const lost = (m: Message) => {
    if (m.type === "append") for (const e of m.entries) if (e.type === EntryType.confChange) change = e.index;
    return "commit" in m && m.commit > change;
  };
  let applied = 0;
  const [a, b] = await pair(lost, {
    status({ role }) {
      if (role === "leader") barrier = b.consensus.readBarrier();
    },
    apply(entry) {
      applied = entry.index;
    },
  });
  removeFirst(a);
  const written = await write(a);
  await until("the other one leads", () => b.consensus.isLeader);
  expect(b.consensus.alone).toBe(true);
  expect(barrier).toBeDefined();
  await barrier;
  expect(applied).toBeGreaterThanOrEqual(written);
  expect(b.consensus.readBarrier()).toBeUndefined();
  await Promise.all([a, b].map((c) => c.consensus.stop()));
}, 30_000);
