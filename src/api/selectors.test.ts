import { expect, test } from "bun:test";
import fc from "fast-check";
import { everything, formatLabelSelector, labelSelectorAsSelector, parseFieldSelector, parseLabelSelector } from "./selectors.ts";

test("label selectors match as upstream's do", () => {
  const labels = { app: "web", tier: "front", n: "5", empty: "" };
  const cases: [string, boolean][] = [
    ["", true],
    ["app=web", true],
    ["app==web,tier!=back", true],
    ["app!=web", false],
    ["missing!=x", true],
    ["app in (web, api)", true],
    ["app notin (web)", false],
    ["missing notin (web)", true],
    ["app", true],
    ["!app", false],
    ["!missing", true],
    ["n>4,n<6", true],
    ["n > 5", false],
    ["empty=", true],
    ["app=", false],
    ["in in (in)", false],
    ["toString", false],
  ];
  for (const [text, want] of cases) expect(`${text}: ${parseLabelSelector(text).matches(labels)}`).toBe(`${text}: ${want}`);
});

test("label selectors print in canonical form", () => {
  expect(parseLabelSelector("b notin (z,y), a=1,!c , d").toString()).toBe("a=1,b notin (y,z),!c,d");
});

test("text that is no label selector is refused in upstream's words", () => {
  const cases: [string, string][] = [
    ["a=b,", "found '', expected: identifier after ','"],
    [",a", "found ',', expected: !, identifier, or 'end of string'"],
    ["a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"],
    ["a in b", "unable to parse requirement: found 'b' expected: '('"],
    ["a in (b c)", "unable to parse requirement: found 'c', expected: ',' or ')'"],
    ["a=b=c", "found '=', expected: ',' or 'end of string'"],
    ["-a=b", 'unable to parse requirement: key: Invalid value: "-a": name part must consist of alphanumeric characters'],
    ["a=b_", 'unable to parse requirement: values[0][a]: Invalid value: "b_": a valid label must be an empty string'],
    ["a>b", "for 'Gt', 'Lt' operators, the value must be an integer"],
  ];
  for (const [text, error] of cases) expect(() => parseLabelSelector(text)).toThrow(error);
});

test("a LabelSelector object selects nothing when absent and everything when empty", () => {
  expect(labelSelectorAsSelector(undefined).matches({})).toBe(false);
  expect(labelSelectorAsSelector({})).toBe(everything);
  const s = labelSelectorAsSelector({ matchLabels: { a: "b" }, matchExpressions: [{ key: "c", operator: "NotIn", values: ["d"] }] });
  expect(s.matches({ a: "b" })).toBe(true);
  expect(s.matches({ a: "b", c: "d" })).toBe(false);
  expect(() => labelSelectorAsSelector({ matchExpressions: [{ key: "a", operator: "Is" as "In" }] })).toThrow(
    '"Is" is not a valid label selector operator',
  );
  expect(formatLabelSelector({ matchLabels: { b: "1", a: "2" } })).toBe("a=2,b=1");
});

test("field selectors match, escape and print", () => {
  const s = parseFieldSelector("spec.nodeName=n1,status.phase!=Running,metadata.name==a\\,b");
  expect(s.requiresExact("spec.nodeName")).toBe("n1");
  expect(s.requiresExact("metadata.name")).toBe("a,b");
  expect(s.toString()).toBe("spec.nodeName=n1,status.phase!=Running,metadata.name=a\\,b");
  expect(s.matches((f) => ({ "spec.nodeName": "n1", "metadata.name": "a,b" })[f] ?? "")).toBe(true);
  expect(() => parseFieldSelector("abc")).toThrow("invalid selector: 'abc'; can't understand 'abc'");
});

test("any field value survives printing and parsing", () => {
  fc.assert(
    fc.property(fc.string(), (value) => {
      const text = parseFieldSelector("").toString() + `a=${value.replace(/[\\,=]/g, "\\$&")}`;
      expect(parseFieldSelector(text).requirements).toEqual([{ field: "a", operator: "=", value }]);
    }),
  );
});
