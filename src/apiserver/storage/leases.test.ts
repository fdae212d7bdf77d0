import { expect, test } from "bun:test";
import { Leases } from "./leases.ts";

const counted = (fails = 0) => {
  const granted: number[] = [];
  const grant = async (ttl: number) => {
    granted.push(ttl);
    if (granted.length <= fails) throw new Error("no quorum");
    return { id: BigInt(granted.length) };
  };
  return { granted, grant };
};

test("objects that live equally long share a lease that outlives them, up to a thousand of them", async () => {
  const { granted, grant } = counted();
  const leases = new Leases(grant);
  const ids = new Set(await Promise.all(Array.from({ length: 1001 }, () => leases.of(3600))));
  expect([...ids]).toEqual([1n, 2n]);
  expect(await leases.of(15)).toBe(3n);
  expect(await leases.of(3600)).toBe(2n);
  expect(granted).toEqual([3660, 3660, 15]);
});

test("a lease that could not be had, or that is gone, is asked for anew", async () => {
  const { grant } = counted(1);
  const leases = new Leases(grant);
  expect(leases.of(3600)).rejects.toThrow("no quorum");
  await leases.of(3600).catch(() => {});
  expect(await leases.of(3600)).toBe(2n);
  leases.forget();
  expect(await leases.of(3600)).toBe(3n);
});
