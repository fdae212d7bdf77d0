import { describe, expect, test } from "bun:test";
import { checkNetworks, formatIp, nthAddress, overlaps, parseCidr, parseIp } from "./cidr.ts";

test("addresses are read and written", () => {
  expect(formatIp(parseIp("10.244.1.255"))).toBe("10.244.1.255");
  expect(() => parseIp("10.244.1")).toThrow("not an IPv4 address");
  expect(() => parseIp("10.244.1.256")).toThrow("not an IPv4 address");
});

test("a network with host bits set is refused with the one that was meant", () => {
  expect(() => parseCidr("10.1.2.3/16")).toThrow("did you mean 10.1.0.0/16?");
  expect(parseCidr("10.96.0.0/12")).toEqual({ base: parseIp("10.96.0.0"), bits: 12 });
});

test("the tenth address of a service network is the name server's", () => {
  expect(nthAddress(parseCidr("10.96.0.0/12"), 10)).toBe("10.96.0.10");
  expect(() => nthAddress(parseCidr("10.96.0.0/30"), 4)).toThrow("no address 4");
});

describe("networks that collide are refused", () => {
  test("two networks overlap when one holds the other", () => {
    expect(overlaps(parseCidr("10.0.0.0/8"), parseCidr("10.244.0.0/16"))).toBe(true);
    expect(overlaps(parseCidr("10.96.0.0/12"), parseCidr("10.244.0.0/16"))).toBe(false);
  });
  test("pods and services", () => {
    expect(() => checkNetworks("10.96.0.0/16", "10.96.0.0/12", undefined)).toThrow("overlap");
  });
  test("the machine's own address", () => {
    expect(() => checkNetworks("10.244.0.0/16", "10.96.0.0/12", "10.244.7.7")).toThrow("holds this machine's own address 10.244.7.7");
  });
  test("pod networks without room for a node", () => {
    expect(() => checkNetworks("10.244.0.0/25", "10.96.0.0/12", undefined)).toThrow("must be a /24 or larger");
  });
});
