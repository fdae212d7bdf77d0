import { expect, test } from "bun:test";
import { Backoff } from "./backoff.ts";

test("the delay doubles up to its maximum, counted from the failure", () => {
  const b = new Backoff(10, 35);
  const delays: number[] = [];
  for (let i = 0; i < 4; i++) {
    b.next("k", 0);
    delays.push(b.get("k"));
  }
  expect(delays).toEqual([10, 20, 35, 35]);
  expect([b.remaining("k", 5, 10), b.remaining("k", 5, 40), b.remaining("other", 5, 6)]).toEqual([30, 0, 0]);
});

test("the delay starts over after twice the maximum without a failure", () => {
  const b = new Backoff(10, 100);
  b.next("k", 0);
  b.next("k", 10);
  expect(b.remaining("k", 211, 211)).toBe(0);
  b.next("k", 211);
  expect(b.get("k")).toBe(10);
});

test("what begins with a prefix is forgotten", () => {
  const b = new Backoff(10, 100);
  b.next("pod_a", 0);
  b.next("other_a", 0);
  b.forget("pod_");
  expect([b.get("pod_a"), b.get("other_a")]).toEqual([0, 10]);
});
