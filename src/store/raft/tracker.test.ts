import { expect, test } from "bun:test";
import { Tracker } from "./tracker.ts";

test("a follower that was heard from is active for the leader's next check of its quorum too, and no longer", () => {
  const configuration = { voters: [1n, 2n, 3n], outgoing: [], learners: [], learnersNext: [], autoLeave: false };
  const tracker = new Tracker({ id: 1n, maxInflight: 1, maxInflightBytes: 1 }, configuration, 1);
  const active = () => tracker.status().map((f) => f.active);
  expect(tracker.checkQuorum()).toBe(true);
  // Members are changed and handed over to at any moment, also before anyone can have answered again.
  expect(active()).toEqual([true, true]);
  tracker.get(3n)!.active = true;
  expect(tracker.checkQuorum()).toBe(true);
  expect(active()).toEqual([false, true]);
  expect(tracker.checkQuorum()).toBe(false);
  expect(active()).toEqual([false, false]);
});
