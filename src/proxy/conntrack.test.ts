import { describe, expect, test } from "bun:test";
import { isStale, parseEntry } from "./conntrack.ts";

describe("conntrack entries", () => {
  test("tell the client, what it sent to and where it went", () => {
    const line =
      "udp      17 28 src=10.244.0.5 dst=10.96.0.10 sport=41000 dport=53 src=10.244.0.9 dst=10.244.0.5 sport=5353 dport=41000 mark=0 use=1";
    expect(parseEntry(line)).toEqual({
      source: "10.244.0.5",
      sourcePort: 41000,
      destination: "10.96.0.10",
      destinationPort: 53,
      backend: "10.244.0.9",
      backendPort: 5353,
    });
    expect(parseEntry("conntrack v1.4.7 (conntrack-tools): 1 flow entries have been shown.")).toBeUndefined();
  });

  test("are stale when their backend is none of the service any more, or the service had none then", () => {
    const now = { addresses: new Map([["10.96.0.10:53", new Set(["10.244.0.9:5353"])]]), nodePorts: new Map([[30053, new Set<string>()]]) };
    const entry = (destination: string, destinationPort: number, backend: string, backendPort: number) =>
      isStale({ source: "10.244.0.5", sourcePort: 1, destination, destinationPort, backend, backendPort }, now, (ip) => ip === "192.0.2.1");
    expect(entry("10.96.0.10", 53, "10.244.0.9", 5353)).toBe(false);
    expect(entry("10.96.0.10", 53, "10.244.0.8", 5353)).toBe(true);
    expect(entry("10.96.0.10", 53, "10.96.0.10", 53)).toBe(true);
    expect(entry("10.96.0.99", 53, "10.244.0.8", 5353)).toBe(false);
    expect(entry("192.0.2.1", 30053, "10.244.0.8", 5353)).toBe(true);
    expect(entry("192.0.2.2", 30053, "10.244.0.8", 5353)).toBe(false);
  });
});
