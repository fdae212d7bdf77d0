import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { KubeObject } from "../../api/object.ts";
import { Bucket } from "./bucket.ts";
import { type Change, Entry } from "./entry.ts";

const pod = (namespace: string, name: string, node: string, rv: number) =>
  ({ metadata: { namespace, name, resourceVersion: String(rv) }, spec: { nodeName: node } }) as unknown as KubeObject;
const nodeOf = (e: Entry) => (e.object as unknown as { spec: { nodeName: string } }).spec.nodeName;
const bucket = () => new Bucket("pods", { "spec.nodeName": nodeOf });

test("a change is told to those who listen to its namespace, its name, its old and its new node, and nobody else", () => {
  const b = bucket();
  b.reset([new Entry("a/x", 1, pod("a", "x", "n1", 1))], 1);
  const heard: string[] = [];
  const listen = (index: string, value: string) => b.listen((c) => heard.push(`${index}=${value} ${c.type}`), { index, value });
  for (const [index, value] of [
    ["namespace", "a"],
    ["namespace", "b"],
    ["name", "x"],
    ["name", "y"],
    ["spec.nodeName", "n1"],
    ["spec.nodeName", "n2"],
    ["spec.nodeName", "n3"],
  ] as const)
    listen(index, value);
  b.listen((c) => heard.push(`all ${c.type}`));
  b.apply("a/x", 2, pod("a", "x", "n2", 2), 0);
  expect(heard.sort()).toEqual([
    "all MODIFIED",
    "name=x MODIFIED",
    "namespace=a MODIFIED",
    "spec.nodeName=n1 MODIFIED",
    "spec.nodeName=n2 MODIFIED",
  ]);
});

test("a deletion carries the last state under its own revision", () => {
  const b = bucket();
  b.reset([new Entry("a/x", 1, pod("a", "x", "n", 1))], 1);
  const change = b.apply("a/x", 7, undefined, 0)!;
  expect(change.type).toBe("DELETED");
  expect(change.entry.object.metadata).toEqual({ namespace: "a", name: "x", resourceVersion: "7" });
  expect(b.size).toBe(0);
  expect(b.apply("a/x", 8, undefined, 0)).toBeUndefined();
});

describe("history", () => {
  test("gives the changes after a revision, and says when it no longer can", () => {
    const b = bucket();
    b.reset([], 10);
    for (let rv = 11; rv <= 20; rv++) b.apply(`a/p${rv}`, rv, pod("a", `p${rv}`, "n", rv), 0);
    expect(b.after(17)?.map((c) => c.revision)).toEqual([18, 19, 20]);
    expect(b.after(10)).toHaveLength(10);
    expect(b.after(20)).toEqual([]);
    expect(b.after(9)).toBeUndefined();
  });

  test("forgets what is older than 75 s, but keeps a hundred changes", () => {
    const b = bucket();
    b.reset([], 0);
    for (let rv = 1; rv <= 300; rv++) b.apply("a/p", rv, pod("a", "p", "n", rv), 0);
    expect(b.after(0)).toHaveLength(300);
    b.apply("a/p", 301, pod("a", "p", "n", 301), 80_000);
    expect(b.since).toBe(201);
    expect(b.after(201)).toHaveLength(100);
    expect(b.after(200)).toBeUndefined();
  });
});

test("who applies every change it hears has what a list gives, by every index", () => {
  const step = fc.record({
    ns: fc.constantFrom("a", "b"),
    name: fc.constantFrom("p", "q", "r"),
    node: fc.constantFrom("n1", "n2", ""),
    gone: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), fc.integer({ min: 0, max: 59 }), (steps, from) => {
      const b = bucket();
      b.reset([], 0);
      const mirror = new Map<string, Entry>();
      const apply = (c: Change) => void (c.type === "DELETED" ? mirror.delete(c.entry.key) : mirror.set(c.entry.key, c.entry));
      steps.forEach((s, i) => {
        if (i === Math.min(from, steps.length - 1)) {
          for (const e of b.all()) mirror.set(e.key, e);
          b.listen(apply);
        }
        b.apply(`${s.ns}/${s.name}`, i + 1, s.gone ? undefined : pod(s.ns, s.name, s.node, i + 1), i);
      });
      const sorted = [...mirror.values()].sort((x, y) => (x.key < y.key ? -1 : 1));
      if (steps.length) expect(b.all()).toEqual(sorted);
      for (const ns of ["a", "b"]) expect(b.by("namespace", ns)).toEqual(sorted.filter((e) => e.object.metadata.namespace === ns));
      for (const node of ["n1", "n2", ""]) expect(b.by("spec.nodeName", node)).toEqual(sorted.filter((e) => nodeOf(e) === node));
    }),
  );
});
