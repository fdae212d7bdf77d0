import { expect, test } from "bun:test";
import fc from "fast-check";
import { decodeYaml, encodeYaml } from "./yaml.ts";

test("scalars read as Go's YAML reads them", () => {
  const text = 'a: yes\nb: "yes"\nc: 0644\nd: 12:30\ne: 2026-01-01\nf: 2026-01-01T00:00:00Z\ng: ~\nh: 1.5\ni: 1e3\nj: 0x10\n1: one';
  expect(decodeYaml(text).value).toEqual({
    a: true,
    b: "yes",
    c: 420,
    d: "12:30",
    e: "2026-01-01",
    f: "2026-01-01T00:00:00Z",
    g: null,
    h: 1.5,
    i: 1000,
    j: 16,
    "1": "one",
  });
});

test("anchors and merge keys are followed", () => {
  expect(decodeYaml("a: &x {b: 1}\nc:\n  <<: *x\n  d: 2").value).toEqual({ a: { b: 1 }, c: { b: 1, d: 2 } });
});

test("keys that stand twice are reported by path, the last one wins", () => {
  expect(decodeYaml("a: 1\nb:\n- c: 1\n  c: 2\n")).toEqual({ value: { a: 1, b: [{ c: 2 }] }, duplicates: ["b[0].c"] });
});

test("text that is no YAML names the line", () => {
  expect(() => decodeYaml("a: [1\nb: 2")).toThrow(/^yaml: line \d+: /);
});

test("keys and values that look like a merge are none", () => {
  for (const value of [{ "<<": [] }, { "<<": 0 }, { a: ["<<"] }, { "": { "<<": { "<<": { b: 1 } } } }])
    expect(decodeYaml(encodeYaml(value)).value).toEqual(value as never);
  expect(decodeYaml("a: &a\n  b: 1\nc:\n  <<: *a\n").value).toEqual({ a: { b: 1 }, c: { b: 1 } });
});

test("what is written is read back the same", () => {
  fc.assert(
    fc.property(fc.dictionary(fc.string(), fc.jsonValue()), (value) => {
      const clean = JSON.parse(JSON.stringify(value));
      expect(decodeYaml(encodeYaml(clean)).value).toEqual(clean);
    }),
  );
});
