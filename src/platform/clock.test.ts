import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { bootTime } from "./clock.ts";

test("the clock says how long the machine has been up, and never goes back", () => {
  const uptime = () => Number(readFileSync("/proc/uptime", "utf8").split(" ")[0]) * 1000;
  const before = uptime();
  let last = bootTime();
  // /proc/uptime counts hundredths of a second.
  expect(last).toBeGreaterThanOrEqual(before - 10);
  for (let i = 0; i < 1000; i++) {
    const now = bootTime();
    expect(now).toBeGreaterThanOrEqual(last);
    last = now;
  }
  expect(last).toBeLessThanOrEqual(uptime() + 10);
});
