import { expect, test } from "bun:test";
import { Shared } from "./shared.ts";

test("calls that come while the work runs share one run that begins after them", async () => {
  const runs: PromiseWithResolvers<number>[] = [];
  const shared = new Shared(() => {
    runs.push(Promise.withResolvers<number>());
    return runs.at(-1)!.promise;
  });
  const first = shared.call();
  const later = [shared.call(), shared.call()];
  expect(runs).toHaveLength(1);
  runs[0]!.resolve(1);
  expect(await first).toBe(1);
  expect(runs).toHaveLength(2);
  // The second run has begun: who comes now needs a third.
  const last = shared.call();
  runs[1]!.reject(new Error("no"));
  for (const call of later) expect(call).rejects.toThrow("no");
  await Promise.allSettled(later);
  runs[2]!.resolve(3);
  expect(await last).toBe(3);
  expect(runs).toHaveLength(3);
});
