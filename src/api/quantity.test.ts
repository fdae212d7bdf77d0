import { expect, test } from "bun:test";
import fc from "fast-check";
import {
  addQuantity,
  canonicalQuantity,
  compareQuantity,
  formatQuantity,
  fromMilli,
  parseQuantity,
  subtractQuantity,
  toMilli,
  toValue,
} from "./quantity.ts";

test("quantities take upstream's canonical form", () => {
  const cases: [string | number, string][] = [
    [1, "1"],
    ["0.5", "500m"],
    ["1024Mi", "1Gi"],
    ["1.5Gi", "1536Mi"],
    ["1.5", "1500m"],
    ["1000m", "1"],
    ["1000", "1k"],
    ["1500", "1500"],
    ["100M", "100M"],
    ["1024", "1024"],
    ["1Ki", "1Ki"],
    ["512Ki", "512Ki"],
    ["1000Ki", "1000Ki"],
    ["0Mi", "0"],
    ["-0", "0"],
    ["1e3", "1e3"],
    ["1000e3", "1e6"],
    ["1.3Gi", "1395864371200m"],
    ["0.5Ki", "512"],
    ["8Ei", "9223372036854775807"],
    ["1000E", "1e21"],
    ["0.9n", "1n"],
    ["100m", "100m"],
    [0.1, "100m"],
  ];
  for (const [text, want] of cases) expect(`${text} ${canonicalQuantity(text)}`).toBe(`${text} ${want}`);
});

test("what is no quantity is refused in upstream's words", () => {
  expect(() => canonicalQuantity("abc")).toThrow("quantities must match the regular expression");
  expect(() => canonicalQuantity("")).toThrow("quantities must match the regular expression");
  expect(() => canonicalQuantity("1Kib")).toThrow("quantities must match the regular expression");
  expect(() => canonicalQuantity("1kk")).toThrow("unable to parse quantity's suffix");
});

test("values round away from zero", () => {
  expect(toMilli("0.0001")).toBe(1);
  expect(toValue("1.1")).toBe(2);
  expect(toValue("1Gi")).toBe(1073741824);
  expect(toMilli("2")).toBe(2000);
  expect(fromMilli(1500)).toBe("1500m");
});

test("sums keep the suffix family of the first that is not zero", () => {
  expect(addQuantity("1Gi", "512Mi")).toBe("1536Mi");
  expect(addQuantity("0", "1Gi")).toBe("1Gi");
  expect(subtractQuantity("1", "1500m")).toBe("-500m");
  expect(compareQuantity("1000m", "1")).toBe(0);
  expect(compareQuantity("1Gi", "1G")).toBe(1);
});

test("a canonical quantity parses to the same amount", () => {
  fc.assert(
    fc.property(
      fc.bigInt({ min: -(10n ** 24n), max: 10n ** 24n }),
      fc.constantFrom("BinarySI" as const, "DecimalSI" as const, "DecimalExponent" as const),
      (nano, format) => {
        fc.pre(format !== "BinarySI" || (nano < 2n ** 63n && nano > -(2n ** 63n)));
        const text = formatQuantity({ nano, format });
        expect(parseQuantity(text).nano).toBe(nano);
      },
    ),
  );
});
