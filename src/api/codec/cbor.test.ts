import { expect, test } from "bun:test";
import fc from "fast-check";
import { decodeCbor, decodeCborSequence, encodeCbor } from "./cbor.ts";

const hex = (text: string) => Uint8Array.from(Buffer.from(text.replaceAll(" ", ""), "hex"));

test("bodies begin with the tag of self-described CBOR", () => {
  expect(Buffer.from(encodeCbor({ a: 1 })).toString("hex")).toBe("d9d9f7a1616101");
});

test("strings may come as bytes, and bytes tagged for base64 become base64", () => {
  // {'kind': 'Pod', "data": 22(h'0102')} with byte strings for keys and values, as client-go writes them.
  expect(decodeCbor(hex("d9d9f7 a2 446b696e64 43506f64 4464617461 d6 420102"))).toEqual({ kind: "Pod", data: "AQI=" });
});

test("a sequence holds one event after the other", () => {
  const bytes = Buffer.concat([encodeCbor({ type: "ADDED" }), encodeCbor({ type: "DELETED" })]);
  expect(decodeCborSequence(bytes)).toEqual([{ type: "ADDED" }, { type: "DELETED" }]);
});

test("what is no CBOR of ours is refused", () => {
  expect(() => decodeCbor(hex("a1 01 02"))).toThrow("the keys of a CBOR map have to be strings");
  expect(() => decodeCbor(hex("a2 61"))).toThrow();
  expect(() => decodeCbor(hex("d8 64 01"))).toThrow("unexpected CBOR tag 100");
});

test("any JSON value comes back as it was", () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      const clean = JSON.parse(JSON.stringify(value));
      expect(decodeCbor(encodeCbor(clean))).toEqual(clean);
    }),
  );
});
