import { expect, test } from "bun:test";
import fc from "fast-check";
import { PortBitmap } from "./port-bitmap.ts";

const range = { from: 30_000, to: 32_767 };

test("ports are written as upstream writes them: a big number, its highest byte first", () => {
  const bitmap = new PortBitmap(range);
  expect(bitmap.encode()).toEqual({ range: "30000-32767", data: "" });
  bitmap.set(30_000);
  bitmap.set(30_009);
  // 1 + 2^9
  expect(Buffer.from(bitmap.encode().data, "base64")).toEqual(Buffer.of(0x02, 0x01));
  bitmap.clear(30_009);
  expect(Buffer.from(bitmap.encode().data, "base64")).toEqual(Buffer.of(0x01));
});

test("any set of ports is read as it was written, and is the number that Go's big.Int makes of it", () => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.integer({ min: range.from, max: range.to })), (ports) => {
      const bitmap = new PortBitmap(range);
      for (const port of ports) bitmap.set(port);
      const stored = bitmap.encode();
      const number = ports.reduce((n, port) => n | (1n << BigInt(port - range.from)), 0n);
      const hex = Buffer.from(stored.data, "base64").toString("hex");
      expect(hex).toBe(number === 0n ? "" : number.toString(16).padStart(2 * Math.ceil(number.toString(16).length / 2), "0"));
      expect([...PortBitmap.decode(range, stored).ports()]).toEqual([...ports].sort((a, b) => a - b));
    }),
  );
});

test("of another range what lies in this one stays taken, and what is outside is nobody's", () => {
  const wide = new PortBitmap({ from: 29_000, to: 31_000 });
  for (const port of [29_000, 30_000, 31_000]) wide.set(port);
  expect([...PortBitmap.decode(range, wide.encode()).ports()]).toEqual([30_000, 31_000]);
  wide.set(28_999);
  wide.set(31_001);
  expect(wide.has(28_999) || wide.has(31_001)).toBe(false);
  expect(() => PortBitmap.decode(range, { range: "10.0.0.0/8", data: "" })).toThrow("is not a range of ports");
});
