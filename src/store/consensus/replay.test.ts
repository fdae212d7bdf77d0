// What a log says is committed, without anybody else to ask.
import { expect, test } from "bun:test";
import { NO_MEMBERS } from "../membership/members.ts";
import { NOBODY } from "../raft/configuration.ts";
import { EntryType } from "../raft/types.ts";
import { SnapshotPace } from "../snapshot/pace.ts";
import { StateMachine } from "../state.ts";
import { Replay } from "./replay.ts";

test.each([
  [2n, "of the only member", 6],
  [1n, "of a member that was removed, and left only one", 5],
])("what the log of %d holds behind a snapshot is committed if it is that %s", (memberId, _, applied) => {
  const state = new StateMachine();
  state.membership.restore({ ...NO_MEMBERS, removed: [1n], configuration: { ...NOBODY, voters: [2n] } });
  state.pass(5, 2);
  const replay = new Replay(state, new SnapshotPace(10_000), 0, 5000);
  replay.identity({ clusterId: 9n, memberId });
  replay.entry({ index: 6, term: 2, type: EntryType.empty, data: new Uint8Array(0) });
  expect(replay.stored().applied).toBe(applied);
  expect(replay.stored().entries.length).toBe(6 - applied);
});
