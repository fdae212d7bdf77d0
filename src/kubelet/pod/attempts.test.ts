import { expect, test } from "bun:test";
import { WaitError } from "../images/manager.ts";
import { Attempts } from "./attempts.ts";

const c = { name: "a", image: "img:1" };

test("a container that failed is tried again later and later, until it starts", () => {
  const attempts = new Attempts();
  const before = Date.now();
  const delays = [1, 2, 3].map(() => attempts.failed(c, new Error("x")).after);
  expect(delays).toEqual([500, 1000, 2000]);
  expect(attempts.left(c, before)).toBeGreaterThanOrEqual(2000);
  attempts.started(c);
  expect([attempts.left(c, Date.now()) <= 0, attempts.reasons.size, attempts.failed(c, new Error("x")).after]).toEqual([true, 0, 500]);
});

test("a failed pull is looked at again soon, so that its backoff shows, and a backoff at its end or when its event is due again", () => {
  const attempts = new Attempts();
  expect(attempts.failed(c, new WaitError("ErrImagePull", "x", { retryAfter: 10_000 })).after).toBe(1000);
  expect(attempts.failed(c, new WaitError("ImagePullBackOff", "x", { retryAfter: 9000 })).after).toBe(9000);
  const again = attempts.failed(c, new WaitError("CrashLoopBackOff", "x", { retryAfter: 300_000 })).after;
  expect(again).toBeGreaterThanOrEqual(10_000);
  expect(again).toBeLessThanOrEqual(15_000);
});

test("a change of a referenced object forgives only what it can have caused", () => {
  const attempts = new Attempts();
  attempts.failed(c, new WaitError("CreateContainerConfigError", "no map"));
  attempts.failed({ name: "b" }, new WaitError("CrashLoopBackOff", "x", { retryAfter: 10_000 }));
  attempts.forgiveConfig();
  expect([attempts.left(c, Date.now()) <= 0, attempts.left({ name: "b" }, Date.now()) > 0]).toEqual([true, true]);
});

test("an image is asked for once until it fails or changes", async () => {
  const attempts = new Attempts();
  let asked = 0;
  const ok = () => {
    asked++;
    return Promise.resolve({ ref: "r", user: {} });
  };
  await attempts.image(c, ok);
  await attempts.image(c, ok);
  await attempts.image({ ...c, image: "img:2" }, ok);
  expect(asked).toBe(2);
  attempts.failed(c, new Error("x"));
  await attempts.image(c, ok);
  expect(asked).toBe(3);
});
