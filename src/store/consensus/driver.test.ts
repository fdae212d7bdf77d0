// The shell around a real core, with the other members played by the test.
import { expect, test } from "bun:test";
import type { Host } from "../consensus.ts";
import { bootstrap } from "../raft/configuration.ts";
import type { Message, Propose } from "../raft/messages.ts";
import { type Entry, EntryType } from "../raft/types.ts";
import { command, core, sealed } from "../testing/cores.ts";

const ELECTION = 60_000;
const LEADER = { from: 1n, to: 2n, term: 2 };
const HEARTBEAT: Message = { type: "heartbeat", ...LEADER, commit: 1, round: 0, sentAt: 0 };

/** A follower of member 1, and what it sends. */
function follower(host: Partial<Host> = {}) {
  const sent: Message[] = [];
  let told = () => {};
  const send = (message: Message) => {
    sent.push(message);
    told();
  };
  const { raft, consensus } = core(2n, bootstrap([1n, 2n, 3n]), {
    host: { apply: () => "applied", ...host },
    timing: { electionMillis: ELECTION },
    electionTicks: ELECTION,
    send,
  });
  consensus.step([HEARTBEAT]);
  /** The next message of a type that goes to the leader. */
  const next = async <T extends Message["type"]>(type: T): Promise<Message & { type: T }> => {
    for (;;) {
      const at = sent.findIndex((m) => m.type === type);
      if (at >= 0) return sent.splice(at, 1)[0] as Message & { type: T };
      await new Promise<void>((resolve) => {
        told = resolve;
      });
    }
  };
  return { raft, consensus, next, proposal: () => next("propose") };
}

const entriesOf = (proposals: readonly Propose[]): Entry[] =>
  proposals.flatMap((p) => p.datas).map((data, i) => ({ index: 2 + i, term: 2, type: EntryType.normal, data }));

test("what the leader refuses is proposed again, and answered when it is applied", async () => {
  const { consensus, proposal } = follower();
  const answer = consensus.propose(command, sealed());
  const first = await proposal();
  consensus.step([{ type: "proposeRefused", ...LEADER, term: 0, context: first.context, refusal: "too-much-uncommitted" }]);
  const second = await proposal();
  expect(second.context).not.toBe(first.context);
  expect(second.datas).toEqual(first.datas);
  // Said twice, it is no other proposal's.
  consensus.step([{ type: "proposeRefused", ...LEADER, term: 0, context: first.context, refusal: "too-much-uncommitted" }]);
  const entries = entriesOf([second]);
  consensus.step([{ type: "append", ...LEADER, prevIndex: 1, prevTerm: 1, commit: 2, entries }]);
  expect((await answer) as unknown).toBe("applied");
  expect(consensus.pending).toBe(0);
  await consensus.stop();
});

test("only the proposals of the refused message go again", async () => {
  const applied: number[] = [];
  const { consensus, proposal } = follower({ apply: (entry) => applied.push(entry.index) });
  const one = consensus.propose(command, sealed());
  const first = await proposal();
  const two = consensus.propose(command, sealed());
  const second = await proposal();
  consensus.step([{ type: "proposeRefused", ...LEADER, term: 0, context: second.context, refusal: "no-leader" }]);
  const again = await proposal();
  expect(again.datas).toEqual(second.datas);
  const entries = entriesOf([first, again]);
  consensus.step([{ type: "append", ...LEADER, prevIndex: 1, prevTerm: 1, commit: 3, entries }]);
  await Promise.all([one, two]);
  expect(applied).toEqual([2, 3]);
  await consensus.stop();
});

test("what was refused and waits is told when the member stops", async () => {
  const { consensus, proposal } = follower();
  const answer = consensus.propose(command, sealed()).catch((error: Error) => error.message);
  const { context } = await proposal();
  consensus.step([{ type: "proposeRefused", ...LEADER, term: 0, context, refusal: "transferring" }]);
  await consensus.stop();
  expect((await answer) as unknown).toBe("etcdserver: server stopped");
});

test("a member that does not lead proposes no change of members", async () => {
  const { consensus } = follower();
  const change = { changes: [{ type: "addLearner", id: 4n }], transition: "auto", context: new Uint8Array(0) } as const;
  await expect(consensus.change(() => change)).rejects.toThrow("etcdserver: not leader");
  await consensus.stop();
});

test("a read that waits for an index is answered by a snapshot that brings the state there", async () => {
  const { raft, consensus, next } = follower();
  const read = consensus.readBarrier();
  const { context } = await next("readIndex");
  consensus.step([{ type: "readIndexResponse", ...LEADER, term: 0, context, index: 150 }]);
  consensus.step([{ type: "snapshot", ...LEADER, meta: { index: 150, term: 2, configuration: raft.configuration } }]);
  await read;
  await consensus.stop();
});
