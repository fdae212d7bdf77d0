import { expect, test } from "bun:test";
import fc from "fast-check";
import { AllocationError, checkAddress, checkPort, freeAddress, freePort, reservedFor } from "./allocator.ts";
import { contains, formatAddress, parseAddress, parseNetwork } from "./ip.ts";

test("addresses are read and written in their canonical form", () => {
  for (const [text, canonical] of [
    ["10.0.0.1", "10.0.0.1"],
    ["fd00:0:0:0:0:0:0:1", "fd00::1"],
    ["::", "::"],
    ["::ffff:10.0.0.1", "::ffff:a00:1"],
    ["2001:db8:0:1:0:0:0:1", "2001:db8:0:1::1"],
  ] as const) {
    const address = parseAddress(text)!;
    expect(formatAddress(address.family, address.value)).toBe(canonical);
  }
  for (const bad of ["10.0.0", "10.0.0.256", "x", "1::2::3", "fd00::12345", ""]) expect(parseAddress(bad)).toBeUndefined();
  expect(() => parseNetwork("10.0.0.0")).toThrow(RangeError);
  expect(() => parseNetwork("10.0.0.0/33")).toThrow(RangeError);
});

test("any IPv6 address survives being written and read", () => {
  fc.assert(
    fc.property(fc.bigInt({ min: 0n, max: (1n << 128n) - 1n }), (value) => {
      expect(parseAddress(formatAddress("IPv6", value))).toEqual({ family: "IPv6", value });
    }),
  );
});

test("every address of a network but the first and the broadcast is given out once, the upper ones first", () => {
  const network = parseNetwork("10.1.0.0/27");
  const taken = new Set<string>();
  for (let i = 0; i < 30; i++) {
    const ip = freeAddress(network, (x) => taken.has(x));
    expect(taken.has(ip)).toBe(false);
    expect(contains(network, parseAddress(ip)!.value)).toBe(true);
    if (i < 14) expect(Number(ip.split(".")[3])).toBeGreaterThan(16);
    taken.add(ip);
  }
  expect(taken.has("10.1.0.0") || taken.has("10.1.0.31")).toBe(false);
  expect(() => freeAddress(network, (x) => taken.has(x))).toThrow(AllocationError);
});

test("what is asked for has to be in a network", () => {
  const networks = [parseNetwork("10.1.0.0/24"), parseNetwork("fd00::/112")];
  expect(checkAddress(networks, "10.1.0.7")).toBe("10.1.0.7");
  expect(checkAddress(networks, "fd00:0::7")).toBe("fd00::7");
  for (const bad of ["10.1.0.0", "10.1.0.255", "10.2.0.1", "fd01::1", "x"])
    expect(() => checkAddress(networks, bad)).toThrow(AllocationError);
});

test("ports come from the range, and those below it are refused in upstream's words", () => {
  const range = { from: 30_000, to: 30_003 };
  const taken = new Set<number>();
  for (let i = 0; i < 4; i++) taken.add(freePort(range, (p) => taken.has(p)));
  expect([...taken].sort()).toEqual([30_000, 30_001, 30_002, 30_003]);
  expect(() => freePort(range, () => true)).toThrow("range is full");
  expect(() => checkPort(range, 80)).toThrow("provided port is not in the valid range. The range of valid ports is 30000-30003");
});

test("the band that is left for those who ask is as wide as upstream's", () => {
  expect([8, 16, 254, 4094, 65_534].map((n) => reservedFor(n))).toEqual([0, 16, 16, 255, 256]);
});
