import { expect, test } from "bun:test";
import { deepFreeze } from "../equal.ts";
import { applyJsonPatch } from "./json.ts";
import { applyMergePatch } from "./merge.ts";
import { applyStrategicMergePatch } from "./strategic.ts";

const pod = (original: unknown, patch: unknown) =>
  applyStrategicMergePatch(deepFreeze(original), deepFreeze(patch), "k8s.io.api.core.v1.Pod") as Record<string, never>;
const deployment = (original: unknown, patch: unknown) =>
  applyStrategicMergePatch(deepFreeze(original), deepFreeze(patch), "k8s.io.api.apps.v1.Deployment") as Record<string, never>;

test("RFC 7386's examples merge as the RFC says", () => {
  const cases: [unknown, unknown, unknown][] = [
    [{ a: "b" }, { a: "c" }, { a: "c" }],
    [{ a: "b" }, { b: "c" }, { a: "b", b: "c" }],
    [{ a: "b" }, { a: null }, {}],
    [{ a: ["b"] }, { a: "c" }, { a: "c" }],
    [{ a: { b: "c" } }, { a: { b: "d", c: null } }, { a: { b: "d" } }],
    [{ a: [{ b: "c" }] }, { a: [1] }, { a: [1] }],
    [
      ["a", "b"],
      ["c", "d"],
      ["c", "d"],
    ],
    [{ a: "foo" }, null, null],
    [[1, 2], { a: "b", c: null }, { a: "b" }],
    [{}, { a: { bb: { ccc: null } } }, { a: { bb: {} } }],
  ];
  for (const [original, patch, want] of cases) expect(applyMergePatch(deepFreeze(original), patch)).toEqual(want);
});

test("JSON patch operations apply in order", () => {
  const doc = deepFreeze({ a: { b: [1, 2] }, "x/y": 1 });
  const cases: [unknown[], unknown][] = [
    [[{ op: "add", path: "/a/b/-", value: 3 }], { a: { b: [1, 2, 3] }, "x/y": 1 }],
    [[{ op: "add", path: "/a/b/0", value: 0 }], { a: { b: [0, 1, 2] }, "x/y": 1 }],
    [[{ op: "remove", path: "/x~1y" }], { a: { b: [1, 2] } }],
    [[{ op: "replace", path: "/a/b/1", value: 9 }], { a: { b: [1, 9] }, "x/y": 1 }],
    [[{ op: "move", from: "/a/b", path: "/c" }], { a: {}, "x/y": 1, c: [1, 2] }],
    [[{ op: "copy", from: "/a/b/0", path: "/c" }], { a: { b: [1, 2] }, "x/y": 1, c: 1 }],
    [[{ op: "test", path: "/a/b", value: [1, 2] }], doc],
    [[{ op: "test", path: "/none", value: null }], doc],
    [[{ op: "replace", path: "", value: 1 }], 1],
  ];
  for (const [patch, want] of cases) expect(applyJsonPatch(doc, patch)).toEqual(want);
});

test("a JSON patch that does not apply says why in upstream's words", () => {
  const cases: [unknown, string][] = [
    [[{ op: "test", path: "/a", value: 2 }], "testing value /a failed: test failed"],
    [[{ op: "replace", path: "/b", value: 2 }], "replace operation does not apply: doc is missing key: /b: missing value"],
    [[{ op: "add", path: "/b/c", value: 2 }], 'add operation does not apply: doc is missing path: "/b/c": missing value'],
    [[{ op: "remove", path: "/b" }], "error in remove for path: '/b': Unable to remove nonexistent key: b: missing value"],
    [[{ op: "spin", path: "/b" }], "Unexpected kind: spin"],
    [{}, "json: cannot unmarshal object into Go value of type jsonpatch.Patch"],
  ];
  for (const [patch, error] of cases) expect(() => applyJsonPatch({ a: 1 }, patch)).toThrow(error);
});

test("lists merge by their merge key; what is new comes first, the rest keeps its order", () => {
  const original = {
    spec: {
      containers: [
        { name: "a", image: "1" },
        { name: "b", image: "1" },
      ],
    },
  };
  expect(pod(original, { spec: { containers: [{ name: "b", image: "2" }] } })).toEqual({
    spec: {
      containers: [
        { name: "a", image: "1" },
        { name: "b", image: "2" },
      ],
    },
  } as never);
  expect(pod(original, { spec: { containers: [{ name: "c", image: "3" }] } }).spec).toEqual({
    containers: [
      { name: "c", image: "3" },
      { name: "a", image: "1" },
      { name: "b", image: "1" },
    ],
  } as never);
  expect(pod(original, { spec: { containers: [{ name: "a", $patch: "delete" }] } }).spec).toEqual({
    containers: [{ name: "b", image: "1" }],
  } as never);
  expect(pod(original, { spec: { containers: [{ name: "z" }, { $patch: "replace" }] } }).spec).toEqual({
    containers: [{ name: "z" }],
  } as never);
});

test("atomic lists and fields with strategy replace are replaced", () => {
  const original = { spec: { containers: [{ name: "a", command: ["x", "y"], args: ["1"] }], tolerations: [{ key: "a" }] } };
  expect(pod(original, { spec: { containers: [{ name: "a", command: ["z"] }], tolerations: [{ key: "b" }] } }).spec).toEqual({
    containers: [{ name: "a", command: ["z"], args: ["1"] }],
    tolerations: [{ key: "b" }],
  } as never);
});

test("lists of strings with strategy merge unite, and $deleteFromPrimitiveList takes out", () => {
  const original = { metadata: { finalizers: ["a", "b"] } };
  expect(pod(original, { metadata: { finalizers: ["c", "a"] } }).metadata).toEqual({ finalizers: ["c", "a", "b"] } as never);
  expect(pod(original, { metadata: { "$deleteFromPrimitiveList/finalizers": ["a"] } }).metadata).toEqual({ finalizers: ["b"] } as never);
});

test("$setElementOrder sorts what it names and leaves the server's own where they stood", () => {
  const original = { spec: { containers: [{ name: "a" }, { name: "server" }, { name: "b" }] } };
  const patch = {
    spec: {
      $setElementOrder: 1,
      "$setElementOrder/containers": [{ name: "b" }, { name: "c" }, { name: "a" }],
      containers: [{ name: "c" }],
    },
  };
  Reflect.deleteProperty(patch.spec, "$setElementOrder");
  expect(pod(original, patch).spec).toEqual({ containers: [{ name: "server" }, { name: "b" }, { name: "c" }, { name: "a" }] } as never);
});

test("$retainKeys clears the members it does not name", () => {
  const original = { spec: { strategy: { type: "RollingUpdate", rollingUpdate: { maxSurge: 1 } } } };
  expect(deployment(original, { spec: { strategy: { $retainKeys: ["type"], type: "Recreate" } } }).spec).toEqual({
    strategy: { type: "Recreate" },
  } as never);
});

test("$patch replaces or empties a map", () => {
  const original = { metadata: { labels: { a: "1", b: "2" } } };
  expect(pod(original, { metadata: { labels: { $patch: "replace", c: "3" } } }).metadata).toEqual({ labels: { c: "3" } } as never);
  expect(pod(original, { metadata: { labels: { $patch: "delete" } } }).metadata).toEqual({ labels: {} } as never);
  expect(() => pod(original, { metadata: { labels: { $patch: "spin" } } })).toThrow("unknown patch type");
});

test("nulls delete, and are nothing where there is nothing to delete", () => {
  expect(
    pod({ metadata: { labels: { a: "1" } } }, { metadata: { labels: { a: null }, annotations: { x: null, y: "1" } } }).metadata,
  ).toEqual({
    labels: {},
    annotations: { y: "1" },
  } as never);
});

test("an element without its merge key is refused", () => {
  expect(() => pod({ spec: { containers: [{ name: "a" }] } }, { spec: { containers: [{ image: "x" }] } })).toThrow(
    'map: {"image":"x"} does not contain declared merge key: name',
  );
});
