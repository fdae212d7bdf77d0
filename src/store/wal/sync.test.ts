import { expect, test } from "bun:test";
import { DataSync } from "./sync.ts";

/** A disk whose fdatasync takes as long as it is told; counts which way each took. */
function disk() {
  const d = { millis: 0.1, here: 0, aside: 0, clock: 0 };
  const sync = new DataSync({
    now: () => d.clock,
    here: () => {
      d.here++;
      d.clock += d.millis;
    },
    aside: async () => {
      d.aside++;
    },
  });
  const run = async (times: number) => {
    d.here = d.aside = 0;
    for (let i = 0; i < times; i++) await sync.sync(3);
    return [d.here, d.aside];
  };
  return { d, run };
}

test("a quick disk is waited for on the event loop, a slow one is left to the thread pool and tried ever more rarely", async () => {
  const { d, run } = disk();
  expect(await run(1000)).toEqual([1000, 0]);
  d.millis = 10;
  const [here, aside] = await run(10_000);
  expect(here).toBeLessThan(10);
  expect(here! + aside!).toBe(10_000);
  d.millis = 0.1;
  await run(5000);
  expect(await run(1000)).toEqual([1000, 0]);
});

test("one long pause does not keep it aside for long", async () => {
  const { d, run } = disk();
  await run(100);
  d.millis = 50;
  await run(1);
  d.millis = 0.1;
  expect(await run(100)).toEqual([68, 32]);
});

test("what the system says reaches the caller, whichever way", async () => {
  const sync = new DataSync();
  await expect(sync.sync(-1)).rejects.toThrow();
});
