// What is decided of nodes and the pods on them.
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type * as coreV1 from "../api/gen/core/v1.ts";
import { CidrSet, formatAddress, formatCidr, parseAddress, parseCidr } from "./nodeipam/cidr.ts";
import { evictionRate, hasSpoken, hear, nextTaints, silenced, zoneState } from "./nodelifecycle/core.ts";
import { evictAt, tolerates } from "./nodelifecycle/eviction.ts";
import { collect, quarantine } from "./podgc/core.ts";

const now = Date.UTC(2026, 0, 1);
const node = (ready?: "True" | "False" | "Unknown", taints: coreV1.Taint[] = [], more: Partial<coreV1.Node> = {}): coreV1.Node => ({
  metadata: { name: "n", creationTimestamp: new Date(now - 5000).toISOString() },
  spec: { taints },
  status: { conditions: ready ? [{ type: "Ready", status: ready, lastHeartbeatTime: "t0", lastTransitionTime: "t0" }] : [] },
  ...more,
});
const keys = (taints: readonly coreV1.Taint[] | undefined) => taints?.map((t) => `${t.key.replace("node.kubernetes.io/", "")}:${t.effect}`);

describe("the taints of a node", () => {
  const registered: coreV1.Taint = { key: "node.kubernetes.io/not-ready", effect: "NoSchedule" };
  const own: coreV1.Taint = { key: "dedicated", value: "x", effect: "NoSchedule" };
  const cases: [name: string, node: coreV1.Node, evict: boolean, taints: string[] | undefined][] = [
    ["stay before its first word", node(undefined, [registered]), true, undefined],
    ["go when it is ready", node("True", [registered, own]), false, ["dedicated:NoSchedule"]],
    ["say that it is not ready", node("False", [registered]), true, ["not-ready:NoSchedule", "not-ready:NoExecute"]],
    ["say that it can't be reached", node("Unknown", [registered]), true, ["unreachable:NoSchedule", "unreachable:NoExecute"]],
    ["evict nothing while the rate does not let it", node("Unknown"), false, ["unreachable:NoSchedule"]],
    [
      "change from one kind of lost to the other",
      node("False", [{ key: "node.kubernetes.io/unreachable", effect: "NoExecute" }]),
      false,
      ["not-ready:NoSchedule", "not-ready:NoExecute"],
    ],
    ["follow what is cordoned", node("True", [], { spec: { unschedulable: true } }), false, ["unschedulable:NoSchedule"]],
    ["are left alone when they are right", node("True", [own]), false, undefined],
  ];
  for (const [name, n, evict, expected] of cases) test(name, () => expect(keys(nextTaints(n, evict, now))).toEqual(expected as string[]));
});

test("a silent node is heard of from its lease or its status, and its own verdict is no sign of life", () => {
  let h = hear(undefined, node("True"), "r1", now);
  expect(h.at).toBe(now);
  h = hear(h, node("True"), "r2", now + 10_000);
  expect(h.at).toBe(now + 10_000);
  h = hear(h, node("True"), "r2", now + 40_000);
  expect(h.at).toBe(now + 10_000);
  h = hear(h, node("Unknown"), "r2", now + 60_000);
  expect(h.at).toBe(now + 10_000);
  h = hear(h, node("True"), "r2", now + 61_000);
  expect(h.at).toBe(now + 61_000);
  const never = hear(undefined, node(), undefined, now);
  expect([never.at, hasSpoken(never)]).toEqual([now - 5000, false]);
});

test("a silent node's conditions are unknown, and tell whether it ever spoke", () => {
  const next = silenced(node("True"), now)!;
  expect(next.map((c) => [c.type, c.status, c.reason])).toEqual([
    ["Ready", "Unknown", "NodeStatusUnknown"],
    ["MemoryPressure", "Unknown", "NodeStatusNeverUpdated"],
    ["DiskPressure", "Unknown", "NodeStatusNeverUpdated"],
    ["PIDPressure", "Unknown", "NodeStatusNeverUpdated"],
  ]);
  expect(silenced({ ...node(), status: { conditions: next } }, now)).toBeUndefined();
});

test("many nodes lost at once slow eviction down", () => {
  expect([zoneState(3, 1), zoneState(1, 3), zoneState(0, 1), zoneState(1, 2)]).toEqual([
    "Normal",
    "PartialDisruption",
    "FullDisruption",
    "Normal",
  ]);
  expect(evictionRate("Normal", 100, false)).toBe(0.1);
  expect(evictionRate("PartialDisruption", 100, false)).toBe(0.01);
  expect(evictionRate("PartialDisruption", 10, false)).toBe(0);
  expect(evictionRate("FullDisruption", 10, true)).toBe(0);
});

describe("a NoExecute taint", () => {
  const taint: coreV1.Taint = { key: "node.kubernetes.io/not-ready", effect: "NoExecute", timeAdded: new Date(now).toISOString() };
  const pod = (...tolerations: coreV1.Toleration[]): coreV1.Pod => ({ metadata: {}, spec: { containers: [], tolerations } });
  test("evicts at once what does not tolerate it, later what does for a while, never what does for good", () => {
    expect(evictAt(pod(), [taint], now)).toBe(now);
    expect(evictAt(pod({ key: taint.key, operator: "Exists", effect: "NoExecute", tolerationSeconds: 300 }), [taint], now)).toBe(
      now + 300_000,
    );
    expect(evictAt(pod({ operator: "Exists" }), [taint], now)).toBeUndefined();
    expect(evictAt(pod(), [{ ...taint, effect: "NoSchedule" }], now)).toBeUndefined();
  });
  test("is tolerated by key, value and effect", () => {
    const t: coreV1.Taint = { key: "k", value: "v", effect: "NoExecute" };
    expect(tolerates({ key: "k", value: "v" }, t)).toBe(true);
    expect(tolerates({ key: "k", value: "w" }, t)).toBe(false);
    expect(tolerates({ key: "k", operator: "Exists", effect: "NoSchedule" }, t)).toBe(false);
    expect(tolerates({ value: "v" }, t)).toBe(false);
  });
});

test("pods of nodes that stay away, finished pods over the threshold and deleted pods without a node are collected", () => {
  const pod = (name: string, o: Partial<coreV1.PodSpec> = {}, status: coreV1.PodStatus = {}, deleted = false): coreV1.Pod => ({
    metadata: {
      name,
      creationTimestamp: new Date(now + Number(name.at(-1)) * 1000).toISOString(),
      ...(deleted ? { deletionTimestamp: "2026-01-01T00:00:00Z" } : {}),
    },
    spec: { containers: [], ...o },
    status,
  });
  const pods = [
    pod("orphan-1", { nodeName: "gone" }),
    pod("kept-2", { nodeName: "n" }),
    pod("unscheduled-3", {}, {}, true),
    pod("pending-4"),
    pod("done-5", { nodeName: "n" }, { phase: "Succeeded" }),
    pod("done-6", { nodeName: "n" }, { phase: "Failed" }),
    pod("done-7", { nodeName: "n" }, { phase: "Failed", reason: "Evicted" }),
  ];
  const missing = new Map<string, number>();
  const look = (at: number) => {
    const { doomed, check } = collect({ pods, nodes: [node("True")], threshold: 1, missing, now: at });
    return [doomed.map((d) => `${d.pod.metadata.name} ${d.reason}`).sort(), check];
  };
  const finished = ["done-5 terminated", "done-7 terminated"];
  expect(look(now)).toEqual([[...finished, "unscheduled-3 unscheduled"], []]);
  expect(look(now + quarantine)).toEqual([[...finished, "orphan-1 orphaned", "unscheduled-3 unscheduled"], ["gone"]]);
});

describe("ranges of addresses", () => {
  test("are read and written as the RFCs say", () => {
    for (const text of ["10.244.0.0/16", "fd00:10:244::/56", "::/0", "1::8:0:0:0/128"]) expect(formatCidr(parseCidr(text))).toBe(text);
    expect(formatCidr(parseCidr("10.1.2.3/8"))).toBe("10.0.0.0/8");
    for (const bad of ["10.0.0/8", "10.0.0.0", "10.0.0.0/33", "1::2::3/64", "10.0.0.256/8", "x/8", "10.0.0.0/8/8"])
      expect(() => parseCidr(bad)).toThrow(/invalid CIDR/);
  });

  test("addresses survive writing and reading", () => {
    fc.assert(fc.property(fc.bigInt({ min: 0n, max: (1n << 128n) - 1n }), (n) => parseAddress(formatAddress(n, 128)) === n));
  });

  test("parts are handed out once each, come back when released, and run out", () => {
    const step = fc.oneof(fc.constant("allocate" as const), fc.nat(15));
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const set = new CidrSet(parseCidr("10.244.0.0/20"), 24);
        const held = new Map<string, ReturnType<typeof parseCidr>>();
        for (const s of steps) {
          if (s === "allocate") {
            const got = set.allocate();
            if (!got) expect(held.size).toBe(16);
            else {
              expect(held.has(formatCidr(got))).toBe(false);
              held.set(formatCidr(got), got);
            }
          } else {
            const [text, cidr] = [...held][s] ?? [];
            if (text && cidr) {
              set.release(cidr);
              held.delete(text);
            }
          }
          expect(set.used).toBe(held.size);
        }
      }),
    );
  });

  test("a range that others use is left out", () => {
    const set = new CidrSet(parseCidr("10.0.0.0/22"), 24);
    expect(set.occupy(parseCidr("10.0.0.0/23"))).toBe(true);
    expect(set.occupy(parseCidr("192.168.0.0/16"))).toBe(false);
    expect([set.allocate(), set.allocate(), set.allocate()].map((c) => c && formatCidr(c))).toEqual([
      "10.0.2.0/24",
      "10.0.3.0/24",
      undefined,
    ]);
  });
});
