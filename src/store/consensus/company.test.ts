// A member that was alone and gets company.
import { expect, test } from "bun:test";
import { bootstrap } from "../raft/configuration.ts";
import { confChange, core, write } from "../testing/cores.ts";
import { until } from "../testing/members.ts";

/** Milliseconds that a request may take with the timing of the cores. */
const OLDEST = 5100;

test("what a lone member has in flight has its full time when another voter comes", async () => {
  // A time of 0 would be too long ago.
  await until("the clock is far enough", () => performance.now() > OLDEST);
  let disk = Promise.resolve();
  let heartbeats = 0;
  const lone = core(1n, bootstrap([1n]), {
    append: () => disk,
    send: ({ type }) => {
      if (type === "heartbeat") heartbeats++;
    },
  });
  await write(lone);
  const held = Promise.withResolvers<void>();
  disk = held.promise;
  const change = lone.consensus.change(() => confChange("addVoter", 2n));
  const written = write(lone).catch((error: Error) => error.message);
  held.resolve();
  await change;
  await until("time has passed", () => heartbeats > 3);
  expect(lone.consensus.pending).toBe(1);
  const { raft, consensus } = lone;
  const answer = { from: 2n, to: 1n, term: raft.status.term, index: raft.lastIndex, rejected: false, hintIndex: 0, hintTerm: 0 };
  consensus.step([{ type: "appendResponse", ...answer }]);
  expect(await written).toBe(raft.lastIndex);
  await consensus.stop();
}, 30_000);
