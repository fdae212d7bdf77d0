import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { Output } from "../output.ts";
import { HpackDecoder } from "./decoder.ts";
import { HpackEncoder } from "./encoder.ts";
import * as huffman from "./huffman.ts";

const hex = (text: string) => new Uint8Array(Buffer.from(text.replace(/\s/g, ""), "hex"));
const latin1 = fc.string({ unit: fc.integer({ min: 0, max: 255 }).map((c) => String.fromCharCode(c)), maxLength: 200 });

function encodeBlock(encoder: HpackEncoder, fields: string[]): Uint8Array {
  const out = new Output(16);
  encoder.encode(fields, out);
  return out.bytes.slice(out.start, out.end);
}

describe("Huffman", () => {
  test("text comes back as it was", () => {
    fc.assert(
      fc.property(latin1, (text) => {
        const bytes = new Uint8Array(huffman.encodedLength(text));
        expect(huffman.encode(text, bytes, 0)).toBe(bytes.length);
        const out = new Uint8Array(bytes.length * 2 + 1);
        const length = huffman.decode(bytes, 0, bytes.length, out);
        expect(Buffer.from(out.subarray(0, length)).toString("latin1")).toBe(text);
      }),
    );
  });

  test("padding that is no prefix of EOS, or a byte of it, is refused", () => {
    const out = new Uint8Array(16);
    expect(huffman.decode(hex("00"), 0, 1, out)).toBe(-1);
    expect(huffman.decode(hex("1fff"), 0, 2, out)).toBe(-1);
    expect(huffman.decode(hex("ffffffff"), 0, 4, out)).toBe(-1);
  });
});

describe("the examples of RFC 7541", () => {
  test("requests with Huffman code fill the table (C.4)", () => {
    const decoder = new HpackDecoder();
    const base = [":method", "GET", ":scheme", "http", ":path", "/", ":authority", "www.example.com"];
    expect(decoder.decode(hex("828684418cf1e3c2e5f23a6ba0ab90f4ff")).fields).toEqual(base);
    expect(decoder.decode(hex("828684be5886a8eb10649cbf")).fields).toEqual([...base, "cache-control", "no-cache"]);
    expect(decoder.decode(hex("828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf")).fields).toEqual([
      ":method",
      "GET",
      ":scheme",
      "https",
      ":path",
      "/index.html",
      ":authority",
      "www.example.com",
      "custom-key",
      "custom-value",
    ]);
  });

  test("the encoder writes the same bytes (C.4.1, C.4.2)", () => {
    const encoder = new HpackEncoder();
    const base = [":method", "GET", ":scheme", "http", ":path", "/", ":authority", "www.example.com"];
    expect(encodeBlock(encoder, base)).toEqual(hex("828684418cf1e3c2e5f23a6ba0ab90f4ff"));
    expect(encodeBlock(encoder, [...base, "cache-control", "no-cache"])).toEqual(hex("828684be5886a8eb10649cbf"));
  });

  test("entries are evicted from a table of 256 bytes (C.6)", () => {
    const decoder = new HpackDecoder(256);
    const first = decoder.decode(
      hex("488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8e9ae82ae43d3"),
    ).fields;
    expect(first).toEqual([
      ":status",
      "302",
      "cache-control",
      "private",
      "date",
      "Mon, 21 Oct 2013 20:13:21 GMT",
      "location",
      "https://www.example.com",
    ]);
    const second = decoder.decode(hex("4883640effc1c0bf")).fields;
    expect(second.slice(0, 2)).toEqual([":status", "307"]);
    expect(second.slice(2)).toEqual(first.slice(2));
  });
});

describe("encoder and decoder", () => {
  const name = fc.oneof(
    fc.constantFrom("content-type", ":status", "grpc-status", "authorization", "date", "x-a", "x-b"),
    fc.string({ unit: fc.constantFrom(..."abcxyz019-_"), minLength: 1, maxLength: 30 }),
  );
  const value = fc.oneof(
    fc.constantFrom("200", "application/grpc", "0", ""),
    fc.string({ unit: fc.integer({ min: 32, max: 255 }).map((c) => String.fromCharCode(c)), maxLength: 300 }),
  );
  const fields = fc.array(fc.tuple(name, value), { maxLength: 20 }).map((pairs) => pairs.flat());
  const step = fc.record({ fields, tableSize: fc.option(fc.integer({ min: 0, max: 4096 }), { freq: 5 }) });

  test("agree over any sequence of blocks and table sizes", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
        const encoder = new HpackEncoder();
        const decoder = new HpackDecoder(4096, 1 << 20);
        for (const { fields, tableSize } of steps) {
          if (tableSize !== null) encoder.resize(tableSize);
          expect(decoder.decode(encodeBlock(encoder, fields))).toEqual({ fields, tooLarge: false, malformed: false });
        }
      }),
    );
  });

  test("any bytes are decoded or refused, without another error", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 60 })), (blocks) => {
        const decoder = new HpackDecoder();
        for (const block of blocks) {
          try {
            decoder.decode(block);
          } catch (error) {
            expect((error as Error).name).toBe("Http2Error");
            return;
          }
        }
      }),
      { numRuns: 1000 },
    );
  });

  test("a list over the limit is dropped, and the table is right behind it", () => {
    const encoder = new HpackEncoder();
    const decoder = new HpackDecoder(4096, 200);
    expect(decoder.decode(encodeBlock(encoder, ["x-a", "1", "x-b", "y".repeat(180)]))).toEqual({
      fields: [],
      tooLarge: true,
      malformed: false,
    });
    expect(decoder.decode(encodeBlock(encoder, ["x-a", "1"])).fields).toEqual(["x-a", "1"]);
  });

  test("names in upper case and values with line breaks are malformed", () => {
    const block = (fields: string[]) => encodeBlock(new HpackEncoder(), fields);
    expect(new HpackDecoder().decode(block(["X-A", "1"])).malformed).toBe(true);
    expect(new HpackDecoder().decode(block(["x-a", "1\r\nx-b: 2"])).malformed).toBe(true);
  });
});
