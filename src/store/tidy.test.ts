import { expect, test } from "bun:test";
import { Tidy } from "./tidy.ts";

/** Writes so many bytes at a time; each resolves when it has been quiet since, with how often was collected. */
function store(collectFor: number, worth: number) {
  let written = 0;
  let collected = 0;
  let looks = 0;
  let looked = () => {};
  const tidy = new Tidy({
    written: () => {
      looks++;
      looked();
      return written;
    },
    collect: () => {
      collected++;
      for (const end = performance.now() + collectFor; performance.now() < end; );
    },
    quiet: 1,
    worth,
    longest: collectFor > 0 ? collectFor / 2 : Number.POSITIVE_INFINITY,
  });
  const write = async (bytes: number) => {
    written += bytes;
    const from = looks;
    tidy.wake();
    // The first look sees the write, the second that there was none since.
    while (looks < from + 2) await new Promise<void>((resolve) => (looked = resolve));
    await Bun.sleep(0);
    return collected;
  };
  return { write, tidy };
}

test("a quiet store is collected once it has written enough, and not again before it has written as much", async () => {
  const { write } = store(0, 100);
  expect([await write(60), await write(60), await write(60), await write(60)]).toEqual([0, 1, 1, 2]);
});

test("where a collection takes long, there are fewer", async () => {
  const { write } = store(25, 100);
  expect([await write(100), await write(100), await write(100), await write(200), await write(200)]).toEqual([1, 1, 2, 2, 3]);
});
