import { expect, test } from "bun:test";
import { SimulatedClock } from "../../client/clock.ts";
import { compareVersions, Unseen } from "./seen.ts";

const object = (uid: string, resourceVersion: string) => ({ metadata: { uid, resourceVersion } });

test("a cache is behind until it shows what was written, also when it was ahead of the answer", () => {
  const clock = new SimulatedClock();
  const unseen = new Unseen(clock);
  expect(unseen.behind("g", [])).toBeUndefined();
  unseen.wrote("g", object("a", "9"));
  expect(unseen.behind("g", [])).toBe(10_000);
  expect(unseen.behind("g", [object("a", "8")])).toBe(10_000);
  expect(unseen.behind("g", [object("a", "10")])).toBeUndefined();
  unseen.wrote("g", object("a", "11"));
  expect(unseen.behind("g", [object("a", "11")])).toBeUndefined();
});

test("a deletion is seen when the object is gone, and what never comes is not waited for long", () => {
  const clock = new SimulatedClock();
  const unseen = new Unseen(clock);
  unseen.deleted("g", object("a", "1"));
  expect(unseen.behind("g", [object("a", "1")])).toBe(10_000);
  expect(unseen.behind("g", [])).toBeUndefined();
  unseen.wrote("g", object("b", "5"));
  clock.advance(10_000);
  expect(unseen.behind("g", [])).toBeUndefined();
  unseen.wrote("g", object("c", "5"));
  unseen.gone("g", object("c", "6"));
  expect(unseen.behind("g", [])).toBeUndefined();
});

test("resource versions compare as numbers of any length", () => {
  expect(["10", "9", "100", "99"].sort(compareVersions)).toEqual(["9", "10", "99", "100"]);
});
