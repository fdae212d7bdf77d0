import { expect, test } from "bun:test";
import fc from "fast-check";
import { Lessor, MIN_TTL } from "./lessor.ts";

test("leases expire when their time is over and no sooner, however they are renewed", () => {
  const step = fc.record({
    id: fc.bigInt(1n, 6n),
    ttl: fc.integer({ min: 0, max: 8 }),
    what: fc.constantFrom("grant", "renew", "wait", "remove"),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const lessor = new Lessor();
      const expiry = new Map<bigint, { at: number; ttl: number }>();
      let now = 0;
      for (const { id, ttl, what } of steps) {
        const known = expiry.get(id);
        if (what === "grant" && !known) {
          const granted = lessor.grant(id, ttl, now).ttl;
          expect(granted).toBe(Math.max(ttl, MIN_TTL));
          expiry.set(id, { at: now + granted * 1000, ttl: granted });
        } else if (what === "renew") {
          expect(lessor.renew(id, now) !== undefined).toBe(known !== undefined);
          if (known) known.at = now + known.ttl * 1000;
        } else if (what === "remove") {
          expect(lessor.remove(id) !== undefined).toBe(known !== undefined);
          expiry.delete(id);
        } else if (what === "wait") {
          now += ttl * 1000;
          const due = [...expiry].filter(([, e]) => e.at <= now).map(([i]) => i);
          const found = lessor.expired(now, 100).map((l) => l.id);
          expect(found.sort()).toEqual(due.sort());
          for (const i of due) {
            lessor.remove(i);
            expiry.delete(i);
          }
          const next = Math.min(...[...expiry.values()].map((e) => e.at));
          // May be early for a renewed lease, never late.
          if (expiry.size > 0) expect(lessor.nextExpiry()).toBeLessThanOrEqual(next);
        }
      }
    }),
  );
});

test("an expired lease is not renewed any more, and is looked at again when its revocation failed", () => {
  const lessor = new Lessor();
  const lease = lessor.grant(1n, 5, 0);
  expect(lessor.expired(5000, 10)).toEqual([lease]);
  expect(lessor.renew(1n, 5000)).toBeUndefined();
  lessor.requeue(lease, 5500);
  expect(lessor.expired(5400, 10)).toEqual([]);
  expect(lessor.expired(5500, 10)).toEqual([lease]);
});

test("after a restart every lease begins again", () => {
  const lessor = new Lessor();
  const lease = lessor.grant(1n, 5, 0);
  lessor.renewAll(100_000);
  expect(lessor.expired(104_999, 10)).toEqual([]);
  expect(lessor.expired(105_000, 10)).toEqual([lease]);
});
