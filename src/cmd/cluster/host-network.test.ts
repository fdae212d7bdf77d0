import { expect, test } from "bun:test";
import { parseCidr } from "./cidr.ts";
import { checkPodNetwork, chooseHostNetwork, hostNetwork, takenNetworks } from "./host-network.ts";

const taken = (cidr: string, kubun = false, link = "eth0") => ({ link, cidr: parseCidr(cidr), kubun });

test("the id leads to a network, so that clusters seldom want the same", () => {
  expect(chooseHostNetwork("00000000", undefined, [])).toBe("100.64.0.0/24");
  expect(chooseHostNetwork("e424e47e", undefined, [])).toBe("100.100.126.0/24");
  expect(chooseHostNetwork("ffffffff", undefined, [])).toBe("100.127.255.0/24");
});

test("another cluster's network is stepped over, around the end of the range too", () => {
  expect(chooseHostNetwork("ffffffff", undefined, [taken("100.127.255.0/24", true)])).toBe("100.64.0.0/24");
});

test("a range that a VPN has an address in is left to it", () => {
  expect(chooseHostNetwork("00000001", undefined, [taken("100.101.102.103/32")])).toBe("198.18.1.0/24");
});

test("with both ranges in use a free network of the first is taken", () => {
  expect(chooseHostNetwork("00000000", undefined, [taken("100.64.0.9/32"), taken("198.18.0.0/16")])).toBe("100.64.1.0/24");
});

test("the stored network stays while it is free", () => {
  expect(chooseHostNetwork("00000000", "100.99.1.0/24", [])).toBe("100.99.1.0/24");
  expect(chooseHostNetwork("00000000", "100.99.1.0/24", [taken("100.99.0.0/16")])).not.toBe("100.99.1.0/24");
});

test("no free network is an error that says what to do", () => {
  expect(() => chooseHostNetwork("00000000", undefined, [taken("100.64.0.0/10"), taken("198.18.0.0/15")])).toThrow("remove routes to");
});

test("the machine has the first address, and each node one of its own", () => {
  const net = hostNetwork("100.100.126.0/24");
  expect([net.gateway, net.address(1), net.address(99)]).toEqual(["100.100.126.1", "100.100.126.2", "100.100.126.100"]);
});

test("the machine's networks are taken, but not those of a link left out", () => {
  const all = takenNetworks("");
  expect(all).toContainEqual(taken("127.0.0.0/8", false, "lo"));
  expect(takenNetworks("lo")).not.toContainEqual(taken("127.0.0.0/8", false, "lo"));
});

test("a pod network that another link leads into is refused, a wider network around it is not", () => {
  const check = (link: string, cidr: string) => checkPodNetwork("10.82.0.0/16", "0badcafe", [taken(cidr, false, link)]);
  expect(() => check("kb-e424e47e", "10.82.0.0/24")).toThrow("holds 10.82.0.0/24, which kb-e424e47e of this machine leads to");
  expect(() => check("tun0", "10.82.0.0/16")).toThrow("tun0");
  check("tun0", "10.0.0.0/8");
  check("kb-0badcafe", "10.82.0.0/24");
  check("*", "10.82.0.0/16");
  check("eth0", "10.83.0.0/24");
  expect(() => checkPodNetwork("10.82.0.0/16", undefined, [taken("10.82.1.0/24")])).toThrow("eth0");
});
